//! `exec --file`: a path that one command and its children find covered by a rendering, as a plain
//! file, while everybody else finds what was there before.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::covered::{TEMPLATE, prepared, write};
use common::{Running, STRANGER, TestStore, USER, stdout_of, tool};

fn sh(store: &TestStore, options: &[&str], script: &str) -> Output {
    store.run(&[&["exec"], options, &["--", "/bin/sh", "-c", script]].concat())
}

#[track_caller]
fn refused(output: &Output, status: i32, says: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(output.stdout.is_empty(), "something started: {}", String::from_utf8_lossy(&output.stdout));
    for words in says {
        assert!(stderr.contains(words), "no `{words}` in: {stderr}");
    }
}

fn cat_as(uid: u32, path: &str) -> Output {
    Command::new("cat").arg(path).uid(uid).gid(uid).output().unwrap()
}

#[test]
fn the_command_alone_finds_the_rendering() {
    for store in [TestStore::new(), TestStore::of(USER)] {
        let store = prepared(store);
        let path = store.folder().join("app.conf");
        let mut running = Running::start(&store, &["--file", "app.conf=t.tpl"]);
        let (_, pid) = running.say();
        assert_eq!(running.ask("cat app.conf"), "pw=hunter2\n");
        assert_eq!(running.ask("timeout 9 cat app.conf"), "pw=hunter2\n", "its children do, too");
        assert_eq!(fs::read_to_string(&path).unwrap(), "pw=none\n", "nobody else does");
        assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(path.to_str().unwrap()));
        // By way of the command's own view of files, which its user may look into.
        let uid = store.folder().metadata().unwrap().uid();
        let aside = format!("/proc/{pid}/root{}", path.display());
        for stranger in [USER, STRANGER] {
            let looked = cat_as(stranger, &aside);
            let stderr = String::from_utf8_lossy(&looked.stderr);
            assert!(looked.stdout.is_empty() && stderr.contains("Permission denied"), "{uid} {stderr}");
        }
        running.end();
        assert_eq!(fs::read_to_string(&path).unwrap(), "pw=none\n");
    }
}

/// The control beside it: what that user sees where nothing keeps him out.
#[test]
fn a_view_without_a_filesystem_of_ours_can_be_looked_into() {
    let folder = TestStore::of(USER);
    fs::write(folder.folder().join("f"), "plain\n").unwrap();
    let mut command = Command::new(tool("unshare"));
    command.args(["--user", "--mount", "sleep", "20"]).uid(USER).gid(USER);
    let mut child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let looked = cat_as(USER, &format!("/proc/{}/root{}/f", child.id(), folder.folder().display()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(stdout_of(&looked), "plain\n");
}

#[test]
fn it_looks_like_a_plain_file() {
    let store = prepared(TestStore::of(USER));
    let look = "import os, stat\np = os.path.abspath('app.conf')\ns = os.lstat(p)\n\
                f = os.open(p, os.O_RDONLY | os.O_NOFOLLOW)\n\
                print(stat.S_ISREG(s.st_mode), oct(s.st_mode & 0o7777), s.st_size, os.path.realpath(p) == p,\n\
                \x20     s.st_uid == os.getuid(), len(os.read(f, 100)), os.fstat(f).st_size)\n";
    let words = ["exec", "--file", "app.conf=t.tpl", "--", "python3", "-c", look];
    assert_eq!(stdout_of(&store.run(&words)), "True 0o444 11 True True 11 11\n");
}

#[test]
fn a_rotation_is_seen_by_the_next_open() {
    let store = prepared(TestStore::new());
    let mut running = Running::start(&store, &["--file", "app.conf=t.tpl"]);
    running.say();
    for value in ["a", "a longer one than before", "b", ""] {
        store.set("pw", value);
        assert_eq!(running.ask("cat app.conf"), format!("pw={value}\n"));
        assert_eq!(running.ask("stat -c %s app.conf"), format!("{}\n", value.len() + 4));
    }
    write(&store, "t.tpl", "edited=<< secrets.pw >>\n");
    assert_eq!(running.ask("cat app.conf"), "edited=\n");
    running.end();
}

#[test]
fn nobody_writes_to_it_and_everything_beside_it_is_the_disk() {
    let store = prepared(TestStore::new());
    let script = "echo x > app.conf; echo x >> app.conf; rm app.conf; mv t.tpl app.conf; echo kept > beside";
    let output = sh(&store, &["--file", "app.conf=t.tpl"], script);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.matches("Read-only file system").count(), 2, "{stderr}");
    assert_eq!(stderr.matches("busy").count(), 2, "{stderr}");
    assert_eq!(fs::read_to_string(store.folder().join("beside")).unwrap(), "kept\n");
    assert_eq!(fs::read_to_string(store.folder().join("app.conf")).unwrap(), "pw=none\n");
}

#[test]
fn a_file_that_is_not_there_is_there_for_the_command() {
    for store in [TestStore::new(), TestStore::of(USER)] {
        let store = prepared(store);
        let path = store.folder().join(".env");
        let mut first = Running::start(&store, &["--file", ".env=t.tpl"]);
        first.say();
        let meta = path.metadata().unwrap();
        assert_eq!((meta.len(), meta.mode() & 0o7777), (0, 0o200), "nobody takes it for settings");
        assert!(!cat_as(USER, path.to_str().unwrap()).status.success());
        // Two at a time, as developers have them.
        let mut second = Running::start(&store, &["--file", ".env=t.tpl"]);
        second.say();
        first.end();
        assert_eq!(second.ask("cat .env"), "pw='hunter2'\n", "who goes first takes nothing away");
        assert_eq!(second.ask("stat -c %a .env"), "400\n");
        second.end();
        assert!(!path.exists(), "the last one does");
        let failed = sh(&store, &["--file", ".env=t.tpl", "--env", "A=pww"], "echo started");
        refused(&failed, 66, &["`pww`"]);
        assert!(!path.exists());
    }
}

#[test]
fn what_a_killed_run_leaves_is_taken_over() {
    let store = prepared(TestStore::new());
    let path = store.folder().join(".env");
    let mut running = Running::start(&store, &["--file", ".env=t.tpl"]);
    running.say();
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o200, "a kill cannot be noticed");
    assert_eq!(stdout_of(&sh(&store, &["--file", ".env=t.tpl"], "cat .env")), "pw='hunter2'\n");
    assert!(!path.exists());
    // A file that somebody has made is no placeholder, though it is empty.
    write(&store, ".env", "");
    stdout_of(&sh(&store, &["--file", ".env=t.tpl"], "cat .env"));
    assert!(path.exists());
}

#[test]
fn links_are_followed_and_folders_refused() {
    let store = prepared(TestStore::new());
    symlink("app.conf", store.folder().join("link")).unwrap();
    symlink("nowhere", store.folder().join("dangling")).unwrap();
    let output = sh(&store, &["--file", "link=t.tpl"], "cat link app.conf; readlink link");
    assert_eq!(stdout_of(&output), "pw=hunter2\npw=hunter2\napp.conf\n");
    let refusal = |file: &str| sh(&store, &["--file", file], "echo started");
    refused(&refusal("dangling=t.tpl"), 66, &["is a link to a file that does not exist"]);
    refused(&refusal("store=t.tpl"), 64, &["is a folder", "secretfs mount"]);
    refused(&refusal("no/such/file=t.tpl"), 66, &["there is no folder", "try: mkdir -p "]);
    refused(&refusal("/dev/null=t.tpl"), 64, &["no plain file"]);
    refused(&refusal("app.conf=nothing.tpl"), 66, &["cannot read the template nothing.tpl"]);
    refused(&refusal("=t.tpl"), 64, &["PATH=TEMPLATE"]);
    let twice = sh(&store, &["--file", "link=t.tpl", "--file", "app.conf=t.tpl"], "echo started");
    refused(&twice, 64, &["given twice"]);
}

#[test]
fn nothing_starts_unless_everything_is_there() {
    let store = prepared(TestStore::new());
    write(&store, "two.tpl", "<< secrets.pwd >> << secrets.api_key >>\n");
    let options = ["--file", "app.conf=two.tpl", "--env", "A=pw", "--env", "B=other"];
    refused(
        &sh(&store, &options, "echo started"),
        66,
        &["B=other", "`pwd`", "did you mean `pw`?", "`api_key`"],
    );
    write(&store, "broken.tpl", "<< secrets. >>\n");
    refused(&sh(&store, &["--file", "app.conf=broken.tpl"], "echo started"), 65, &["broken.tpl:1:"]);
    fs::set_permissions(store.folder().join("t.tpl"), fs::Permissions::from_mode(0o666)).unwrap();
    let untrusted = sh(&store, &["--file", "app.conf=t.tpl"], "echo started");
    refused(&untrusted, 77, &["can be written by others", "chmod go-w"]);
    let options = ["--file", "app.conf=t.tpl", "--", "no-such-command"];
    refused(&store.run(&[&["exec"], &options[..]].concat()), 127, &["no-such-command: command not found"]);
    let options = ["--file", "app.conf=t.tpl", "--", "./app.conf"];
    refused(&store.run(&[&["exec"], &options[..]].concat()), 126, &["app.conf: Permission denied"]);
}

#[test]
fn deploy_time_templates_are_not_for_workloads() {
    let store = prepared(TestStore::new());
    write(&store, ".env.deploy.tpl", TEMPLATE);
    let options = ["--file", "app.conf=.env.deploy.tpl"];
    refused(&sh(&store, &options, "echo started"), 77, &["for deployments", "--deploy"]);
    let allowed = sh(&store, &[&options[..], &["--deploy"]].concat(), "cat app.conf");
    assert_eq!(stdout_of(&allowed), "pw='hunter2'\n");
}

/// Seen from outside it is the template; seen by the command, its rendering.
#[test]
fn a_file_may_be_its_own_template() {
    let store = prepared(TestStore::new());
    write(&store, "own.conf", TEMPLATE);
    assert_eq!(stdout_of(&sh(&store, &["--file", "own.conf=own.conf"], "cat own.conf")), "pw=hunter2\n");
    assert_eq!(fs::read_to_string(store.folder().join("own.conf")).unwrap(), TEMPLATE);
}

#[test]
fn the_name_of_the_template_or_of_the_path_tells_the_format() {
    let store = TestStore::new();
    store.set("pw", "a \"b\"");
    for (template, path, rendered) in [
        ("c.tpl", "c.json", r#"["a \"b\""]"#),
        ("c.json.tpl", "settings", r#"["a \"b\""]"#),
        ("c.tpl", "settings", r#"[a "b"]"#),
    ] {
        write(&store, template, "[<< secrets.pw >>]");
        let output = sh(&store, &["--file", &format!("{path}={template}")], &format!("cat {path}"));
        assert_eq!(stdout_of(&output), rendered, "{template} at {path}");
    }
}

/// A service that root starts and that drops its privileges reads what it could read before.
#[test]
fn owner_and_mode_are_those_of_the_covered_file() {
    let store = prepared(TestStore::new());
    let path = store.folder().join("app.conf");
    let shown = || stdout_of(&sh(&store, &["--file", "app.conf=t.tpl"], "stat -c '%u %g %a' app.conf"));
    chown(&path, Some(USER), Some(STRANGER)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(shown(), format!("{USER} {STRANGER} 440\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o200)).unwrap();
    assert_eq!(shown(), format!("{USER} {STRANGER} 400\n"));
    let drop = format!("setpriv --reuid {USER} --clear-groups cat app.conf");
    assert_eq!(stdout_of(&sh(&store, &["--file", "app.conf=t.tpl"], &drop)), "pw=hunter2\n");
    let drop = format!("setpriv --reuid {STRANGER} --clear-groups cat app.conf");
    assert_eq!(sh(&store, &["--file", "app.conf=t.tpl"], &drop).status.code(), Some(1), "mode 0400");
}

#[test]
fn the_environment_is_that_of_plain_exec() {
    let store = prepared(TestStore::new());
    let environ = |options: &[&str]| {
        let words = [&["exec", "--pristine", "--env", "PW=pw"], options, &["--", "env"]].concat();
        let mut command = store.command(&words);
        command.env("OTHER", "1").env("SECRETFS_API_TOKEN", "t").env("TERM", "dumb");
        let text = stdout_of(&command.output().unwrap());
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let plain = environ(&[]);
    assert_eq!(environ(&["--file", "app.conf=t.tpl"]), plain);
    assert!(plain.contains(&"PW=hunter2".to_owned()) && !plain.iter().any(|line| line.starts_with("OTHER")));
}

#[test]
fn a_profile_has_files_too() {
    let store = prepared(TestStore::new());
    fs::create_dir(store.folder().join("sub")).unwrap();
    let config = "profiles: {web: {files: {app.conf: t.tpl, .env: t.tpl}}}\n";
    write(&store, "secretfs.yaml", config);
    write(&store, "other.tpl", "other\n");
    let run = |options: &[&str]| {
        let script = "cat ../app.conf ../.env";
        let words = [&["exec", "--profile", "web"], options, &["--", "/bin/sh", "-c", script]].concat();
        stdout_of(&store.command(&words).current_dir(store.folder().join("sub")).output().unwrap())
    };
    assert_eq!(run(&[]), "pw=hunter2\npw='hunter2'\n", "relative to the config");
    assert_eq!(run(&["--file", "../app.conf=../other.tpl"]), "other\npw='hunter2'\n", "the line wins");
}

#[test]
fn a_killed_wrapper_ends_the_command() {
    let store = prepared(TestStore::of(USER));
    let mut running = Running::start(&store, &["--file", "app.conf=t.tpl"]);
    let (_, pid) = running.say();
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let patience = Instant::now() + Duration::from_secs(5);
    while Path::new(&format!("/proc/{pid}/cwd")).exists() {
        assert!(Instant::now() < patience, "the command goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A child that outlives the command has its file no longer, and is told so at once.
#[test]
fn who_outlives_the_command_gets_an_error() {
    let store = prepared(TestStore::new());
    let late = "(sleep 0.3; cat app.conf >late 2>&1; echo done >>late) >/dev/null 2>&1 &";
    stdout_of(&sh(&store, &["--file", "app.conf=t.tpl"], late));
    let patience = Instant::now() + Duration::from_secs(10);
    let said = || fs::read_to_string(store.folder().join("late")).unwrap_or_default();
    while !said().ends_with("done\n") {
        assert!(Instant::now() < patience, "it hangs: {}", said());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(said().contains("not connected"), "{}", said());
}
