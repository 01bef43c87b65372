//! Where a mount can be made and by whom: what a user is told where it cannot, and that nothing
//! foreign is hidden or taken away.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use common::{TestStore, USER, stdout_of};

/// `fusermount3` wants a user who has a name.
const NOBODY: u32 = 65_534;

/// A store with one template, not mounted yet.
fn prepared() -> TestStore {
    prepared_on(TestStore::new())
}

fn prepared_on(store: TestStore) -> TestStore {
    fs::create_dir(store.folder().join("templates")).unwrap();
    fs::write(store.folder().join("templates/f.tpl"), "pw=<< secrets.key >>\n").unwrap();
    store.set("key", "value");
    store
}

/// The refusal: its exit status, and that its message says each of these.
#[track_caller]
fn refused(output: &Output, status: i32, says: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    for part in says {
        assert!(stderr.contains(part), "`{part}` is not in: {stderr}");
    }
}

#[test]
fn a_mount_point_must_be_an_empty_folder_of_its_own() {
    let store = prepared();
    let at = |name: &str| store.folder().join(name);
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full/precious"), "x").unwrap();
    fs::write(at("file"), "x").unwrap();
    fs::create_dir(at("target")).unwrap();
    symlink(at("target"), at("link")).unwrap();
    let mount = |name: &str| store.run(&["mount", "templates", name]);
    refused(&mount("missing"), 66, &["does not exist", "mkdir -p"]);
    refused(&mount("full"), 73, &["not empty", "would be hidden"]);
    refused(&mount("file"), 64, &["not a folder"]);
    refused(&mount("link"), 64, &["is a link"]);
    assert_eq!(fs::read_to_string(at("full/precious")).unwrap(), "x");
}

#[test]
fn a_foreign_mount_is_left_alone() {
    let store = prepared();
    let at = store.folder().join("mnt");
    fs::create_dir(&at).unwrap();
    stdout_of(&Command::new("mount").args(["-t", "tmpfs", "foreign"]).arg(&at).output().unwrap());
    refused(&store.run(&["mount", "templates", "mnt"]), 73, &["something is mounted", "umount"]);
    stdout_of(&Command::new("umount").arg(&at).output().unwrap());
}

#[test]
fn a_dead_mount_of_ours_is_replaced() {
    let mut dead = common::TestMount::new().template("f.tpl", "old").start();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(dead.pid() as i32), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    dead.wait();
    assert_eq!(dead.errno("f"), libc::ENOTCONN);
    let again = dead.restart();
    assert_eq!(again.read("f"), "old");
}

#[test]
fn templates_that_cannot_be_read_end_the_start() {
    let store = prepared();
    fs::create_dir(store.folder().join("mnt")).unwrap();
    refused(&store.run(&["mount", "nowhere", "mnt"]), 66, &["nowhere"]);
    refused(&store.run(&["mount"]), 64, &["nothing to mount"]);
}

#[test]
fn without_a_device_the_message_says_what_to_do() {
    let store = prepared();
    fs::create_dir(store.folder().join("mnt")).unwrap();
    let hidden = |what: &str| {
        let script = format!("mount -t tmpfs none /dev && {what} exec \"$@\"");
        let mount = store.command(&["mount", "templates", "mnt"]);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]).arg(mount.get_program()).args(mount.get_args());
        command.current_dir(store.folder()).stdin(Stdio::null()).output().unwrap()
    };
    refused(&hidden(""), 69, &["has no /dev/fuse", "modprobe fuse"]);
}

#[test]
fn a_user_without_means_is_told_what_there_is() {
    let store = prepared_on(TestStore::of(USER));
    fs::create_dir(store.folder().join("mnt")).unwrap();
    let output = store.command(&["mount", "templates", "mnt"]).env("PATH", "/nowhere").output().unwrap();
    refused(&output, 69, &["fusermount3", "-- CMD"]);
}

#[test]
fn a_user_mounts_for_a_command_alone() {
    let store = prepared_on(TestStore::of(USER));
    let at = store.folder().join("mnt");
    fs::create_dir(&at).unwrap();
    std::os::unix::fs::chown(&at, Some(USER), Some(USER)).unwrap();
    let run = |script: &str| {
        let mut command = store.command(&["mount", "templates", "mnt", "--", "/bin/sh", "-c", script]);
        command.env("PATH", "/usr/bin:/bin").output().unwrap()
    };
    let output = run("cat mnt/f; id -u");
    let stdout = stdout_of(&output);
    assert!(stdout.contains("pw=value\n") && stdout.contains(&USER.to_string()), "{stdout}");
    assert_eq!(fs::read_dir(&at).unwrap().count(), 0, "nobody else sees it");
    let shell =
        store.command(&["mount", "templates", "mnt", "--"]).env("SHELL", "/usr/bin/id").output().unwrap();
    assert!(stdout_of(&shell).contains(&format!("uid={USER}")), "without a command it is the user's shell");
    assert_eq!(run("exit 7").status.code(), Some(7));
    assert_eq!(run("kill -TERM $$").status.code(), Some(128 + 15));
    assert_eq!(run("umount mnt 2>/dev/null; cat mnt/f").status.code(), Some(0), "the command cannot lift it");
}

#[test]
fn a_user_mounts_by_fusermount() {
    let helper = common::tool("fusermount3");
    let store = prepared_on(TestStore::of(NOBODY));
    let at = store.folder().join("mnt");
    fs::create_dir(&at).unwrap();
    std::os::unix::fs::chown(&at, Some(NOBODY), Some(NOBODY)).unwrap();
    let path = format!("{}:/usr/bin:/bin", helper.parent().unwrap().display());
    let mut child = store
        .command(&["mount", "templates", "mnt"])
        .env("PATH", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut ready)
        .unwrap();
    assert!(ready.starts_with("secretfs: ready:"), "{ready}");
    let own = Command::new("cat").arg(at.join("f")).uid(NOBODY).gid(NOBODY).output().unwrap();
    assert_eq!(stdout_of(&own), "pw=value\n");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(at.to_str().unwrap()));
}

#[test]
fn a_template_that_may_not_be_trusted_is_refused() {
    let mount = common::TestMount::new()
        .secret("key", "value")
        .template("good.tpl", "good")
        .template("link.tpl", "x")
        .template("pipe.tpl", "x")
        .template("folder.tpl/inner.tpl", "x")
        .template("open.tpl", "x")
        .template("foreign.tpl", "x")
        .template("twice.tpl", "x")
        .template("binary.tpl", [0xff, 0xfe])
        .template("huge.tpl", "x".repeat(256 * 1024 + 1))
        .start();
    let templates = mount.store().folder().join("templates");
    let path = |name: &str| templates.join(name);
    fs::remove_file(path("link.tpl")).unwrap();
    symlink(path("good.tpl"), path("link.tpl")).unwrap();
    fs::remove_file(path("pipe.tpl")).unwrap();
    nix::unistd::mkfifo(&path("pipe.tpl"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    fs::set_permissions(path("open.tpl"), fs::Permissions::from_mode(0o646)).unwrap();
    std::os::unix::fs::chown(path("foreign.tpl"), Some(USER), None).unwrap();
    fs::hard_link(path("twice.tpl"), templates.parent().unwrap().join("second")).unwrap();
    for (name, says) in [
        ("link", "is a link"),
        ("pipe", "named pipe"),
        ("open", "written by others"),
        ("foreign", "belongs to uid"),
        ("twice", "second hard link"),
        ("binary", "UTF-8"),
        ("huge", "are the most"),
    ] {
        assert_eq!(mount.errno(name), libc::EACCES, "{name}");
        let output = Command::new(common::tool("getfattr"))
            .args(["--only-values", "-n", "user.secretfs.error"])
            .arg(mount.path(name))
            .output()
            .unwrap();
        let reason = stdout_of(&output);
        assert!(reason.contains(says), "{name}: {reason}");
    }
    assert_eq!(mount.read("good"), "good");
    assert_eq!(mount.read("folder.tpl/inner"), "x");
}
