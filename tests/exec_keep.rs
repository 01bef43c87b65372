//! `exec --file` while others are at work on the covered path: whoever renames a file over it, as
//! editors and git do, takes the cover away in every view of files, and it has to come back.

mod common;
#[path = "canary/scan.rs"]
mod scan;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::covered::{TEMPLATE, prepared, write};
use common::{Running, TestStore, USER, stdout_of, tool};
use scan::Scan;

const COVER: &[&str] = &["--file", "app.conf=t.tpl"];

/// As editors save a file.
fn rename_over(store: &TestStore, name: &str, text: &str) {
    write(store, "new", text);
    fs::rename(store.folder().join("new"), store.folder().join(name)).unwrap();
}

#[track_caller]
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < patience, "{what}");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_renamed_over_a_covered_file_is_covered() {
    for store in [TestStore::new(), TestStore::of(USER)] {
        let store = prepared(store);
        let mut running = Running::start(&store, COVER);
        running.say();
        for round in 0..20 {
            rename_over(&store, "app.conf", &format!("pw=none{round}\n"));
            soon("the cover does not come back", || running.ask("cat app.conf") == "pw=hunter2\n");
        }
        store.set("pw", "rotated");
        assert_eq!(running.ask("cat app.conf"), "pw=rotated\n", "the cover is as good as the first");
        running.end();
        assert_eq!(fs::read_to_string(store.folder().join("app.conf")).unwrap(), "pw=none19\n");
    }
}

/// The control: what becomes of a mount over a file where nobody keeps it.
#[test]
fn a_mount_that_nobody_keeps_is_gone() {
    let store = prepared(TestStore::new());
    let script = "mount --bind t.tpl app.conf; head -1 app.conf; read line; cat app.conf";
    let mut command = Command::new(tool("unshare"));
    command.args(["--mount", "sh", "-c", script]).current_dir(store.folder());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut covered = [0; TEMPLATE.len()];
    child.stdout.as_mut().unwrap().read_exact(&mut covered).unwrap();
    assert_eq!(covered, TEMPLATE.as_bytes());
    rename_over(&store, "app.conf", "renamed\n");
    drop(child.stdin.take());
    assert_eq!(stdout_of(&child.wait_with_output().unwrap()), "renamed\n");
}

/// Else the program would read the template as it is, after the first save.
#[test]
fn a_file_that_is_its_own_template_can_be_edited() {
    let store = prepared(TestStore::of(USER));
    write(&store, "own.conf", TEMPLATE);
    let mut running = Running::start(&store, &["--file", "own.conf=own.conf"]);
    running.say();
    rename_over(&store, "own.conf", "edited=<< secrets.pw >>\n");
    soon("it is not rendered", || running.ask("cat own.conf") == "edited=hunter2\n");
    running.end();
}

/// As git does it: away, and made anew.
#[test]
fn a_file_that_comes_back_is_covered() {
    for store in [TestStore::new(), TestStore::of(USER)] {
        let store = prepared(store);
        let mut running = Running::start(&store, &["--file", "app.conf=t.tpl", "--file", ".env=t.tpl"]);
        running.say();
        for name in ["app.conf", ".env"] {
            fs::remove_file(store.folder().join(name)).unwrap();
        }
        soon("a file that is gone is gone", || running.ask("cat app.conf .env").is_empty());
        write(&store, "app.conf", "pw=new\n");
        write(&store, ".env", "pw=new\n");
        let both = "pw=hunter2\npw='hunter2'\n";
        soon("the covers do not come back", || running.ask("cat app.conf .env") == both);
        running.end();
        assert_eq!(fs::read_to_string(store.folder().join(".env")).unwrap(), "pw=new\n", "it is not ours");
    }
}

/// A change of its rendering takes away what is mounted over a file of ours.
#[test]
fn a_file_of_a_mount_is_not_covered() {
    let store = prepared(TestStore::new());
    for folder in ["templates", "mnt"] {
        fs::create_dir(store.folder().join(folder)).unwrap();
    }
    write(&store, "templates/a.conf.tpl", TEMPLATE);
    let [path, key] = [store.path(), store.key_file()].map(|path| path.to_str().unwrap().to_owned());
    let inner = |file: &str| {
        let own = [env!("CARGO_BIN_EXE_secretfs"), "--store", &path, "--key-file", &key];
        let exec = ["exec", "--file", file, "--", "cat", "mnt/a.conf", "app.conf"];
        let words = [&["mount", "templates", "mnt", "--"], &own[..], &exec].concat();
        store.run(&words)
    };
    let refused = inner("mnt/a.conf=t.tpl");
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("is served by a mount of secretfs already"), "{stderr}");
    assert_eq!(stdout_of(&inner("app.conf=t.tpl")), "pw=hunter2\n".repeat(2), "beside it is well");
}

/// A second one goes over the first, and lasts as it does.
#[test]
fn a_covered_file_can_be_covered_again() {
    let store = prepared(TestStore::of(USER));
    write(&store, "two.tpl", "two=<< secrets.pw >>\n");
    let [path, key] = [store.path(), store.key_file()].map(|path| path.to_str().unwrap().to_owned());
    let own = [store.folder().join("secretfs").to_str().unwrap().to_owned()];
    let secretfs = [&own[0], "--store", &path, "--key-file", &key];
    let set = format!("echo rotated | {} set pw", secretfs.join(" "));
    let script = format!("cat app.conf; {set} 2>/dev/null >&2; cat app.conf");
    let inner = ["exec", "--file", "app.conf=two.tpl", "--", "sh", "-c", &script];
    let words = [&["exec"], COVER, &["--"], &secretfs[..], &inner].concat();
    assert_eq!(stdout_of(&store.run(&words)), "two=hunter2\ntwo=rotated\n");
}

/// The kernel forgets who is to be ended with whom once a process changes its user.
#[test]
fn a_killed_wrapper_ends_a_command_that_has_changed_its_user() {
    let store = prepared(TestStore::new());
    let user = USER.to_string();
    let script = "echo $$; exec sleep 60";
    let drop = ["setpriv", "--reuid", &user, "--clear-groups", "sh", "-c", script];
    let mut command = store.command(&[&["exec"], COVER, &["--"], &drop].concat());
    let mut wrapper = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut pid = [0; 16];
    let length = wrapper.stdout.as_mut().unwrap().read(&mut pid).unwrap();
    let command = format!("/proc/{}/cwd", std::str::from_utf8(&pid[..length]).unwrap().trim());
    assert!(fs::symlink_metadata(&command).is_ok());
    wrapper.kill().unwrap();
    wrapper.wait().unwrap();
    soon("the command goes on", || fs::read_link(&command).is_err());
}

/// Who keeps the files is no child of the command, and ends with it.
#[test]
fn the_command_does_not_hear_of_who_keeps_its_files() {
    let store = prepared(TestStore::new());
    let look =
        "import os\ntry: print(os.waitpid(-1, os.WNOHANG))\nexcept ChildProcessError: print('no child')";
    let output = store.run(&[&["exec"], COVER, &["--", "python3", "-c", look]].concat());
    assert_eq!(stdout_of(&output), "no child\n");
    soon("somebody stays", || !is_anybody_at(&store));
    let mut running = Running::start(&store, COVER);
    running.say();
    assert!(is_anybody_at(&store), "the control");
    running.end();
    soon("somebody stays", || !is_anybody_at(&store));
}

/// A process that was started with this store, or sees its folder's covers.
fn is_anybody_at(store: &TestStore) -> bool {
    !processes_with("cmdline", store).is_empty() || !processes_with("mountinfo", store).is_empty()
}

/// Of whom a file in /proc names the store's folder.
fn processes_with(name: &str, store: &TestStore) -> Vec<u32> {
    let folder = store.folder().to_str().unwrap().to_owned();
    let all = fs::read_dir("/proc").unwrap().filter_map(|it| it.unwrap().file_name().to_str()?.parse().ok());
    let text = |pid: u32| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    all.filter(|pid| String::from_utf8_lossy(&text(*pid)).contains(&folder)).collect()
}

/// Who keeps the files lives as long as the command, and could be looked into for as long.
#[test]
fn who_keeps_the_files_has_no_value() {
    let value = "Vk7qXw2Rz9Lm-Ht4bNc8Ys6JdQp3Fg5Tv1Ku";
    for (store, mask) in [TestStore::new(), TestStore::of(USER)].into_iter().zip([&[][..], &["--mask"]]) {
        let store = prepared(store);
        store.set("long", value);
        let options = [COVER, &["--env", "LONG=long"], mask].concat();
        let mut running = Running::start(&store, &options);
        let (_, command) = running.say();
        let is_keeper = |pid: &u32| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"secretfs\0--keep\0")
        };
        let keepers: Vec<u32> = processes_with("mountinfo", &store).into_iter().filter(is_keeper).collect();
        assert_eq!(keepers.len(), 1);
        let scan = Scan::of([("the value", value.as_bytes())]);
        let hits = scan.process(keepers[0]).unwrap();
        assert!(hits.is_empty(), "{hits:?}");
        assert_eq!(fs::read(format!("/proc/{}/environ", keepers[0])).unwrap(), b"");
        assert!(!scan.process(command).unwrap().is_empty(), "the control");
        running.end();
    }
}

/// Nothing can be made in /proc, which says so in the words of a folder that is not there.
#[test]
fn a_place_where_no_file_can_be_made_is_refused() {
    let store = prepared(TestStore::new());
    assert!(Path::new("/proc").is_dir());
    let mut command = store.command(&["exec", "--file", "/proc/x=t.tpl", "--", "true"]);
    let mut wrapper = command.stderr(Stdio::piped()).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(10);
    while wrapper.try_wait().unwrap().is_none() && Instant::now() < patience {
        sleep(Duration::from_millis(5));
    }
    let _ = wrapper.kill();
    let output = wrapper.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(73), "{stderr}");
    assert!(stderr.contains("cannot make a file to be covered at /proc/x"), "{stderr}");
}
