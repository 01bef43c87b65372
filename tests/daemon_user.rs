//! `secretfs daemon` of a user without root: mounts by fusermount3, which nobody else may read, and
//! which outlive a worker as root's do, by descriptors that were inherited.

mod common;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use common::{Daemon, NAMED, Reading, STRANGER, TestDaemon, TestStore, eventually, stdout_of, tool};

fn one_file() -> TestDaemon {
    let daemon = TestDaemon::on(TestStore::of(NAMED));
    daemon.secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n")
}

fn cat(uid: u32, daemon: &Daemon, name: &str) -> Output {
    Command::new("cat").arg(daemon.path(name)).uid(uid).gid(uid).output().unwrap()
}

#[track_caller]
fn read(daemon: &Daemon) -> String {
    stdout_of(&cat(NAMED, daemon, "f"))
}

#[test]
fn a_user_is_served_what_nobody_else_reads() {
    let mut daemon = one_file().start();
    assert_eq!(read(&daemon), "k=v1\n");
    daemon.store().set("k", "v2");
    assert_eq!(read(&daemon), "k=v2\n");
    for uid in [0, STRANGER] {
        let refused = cat(uid, &daemon, "f");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("Permission denied"), "{refused:?}");
    }
    let said = daemon.stderr();
    assert!(!said.contains("ERROR") && !said.contains("cannot be read as it should"), "{said}");
    assert!(daemon.stop().success(), "{}", daemon.stderr());
    assert!(daemon.mounts().is_empty(), "{:?}", daemon.mounts());
    assert!(!daemon.folder().join("run/control.sock").exists());
}

/// No right to mount or to send anything again is needed but the descriptor itself.
#[test]
fn kills_and_an_upgrade_under_load_fail_no_read() {
    let daemon = one_file().start();
    let reading = Reading::start(&daemon, "f");
    for number in 2..5 {
        daemon.kill_worker();
        daemon.await_log("the worker serves", number);
        daemon.store().set("k", format!("v{number}"));
    }
    let worker = daemon.worker_pid();
    let said = stdout_of(&daemon.run(&["upgrade"]));
    assert!(said.starts_with("upgraded: "), "{said}");
    let new = eventually("another worker", || daemon.workers().into_iter().find(|pid| *pid != worker));
    daemon.await_log("the worker serves", 5);
    assert_eq!(reading.end(&daemon), "0 failed, k=v1 is still open\n");
    assert_eq!((daemon.worker_pid(), read(&daemon)), (new, "k=v4\n".to_owned()));
    assert_eq!(daemon.mounts().len(), 1, "{:?}", daemon.mounts());
    assert!(!daemon.stderr().contains("made anew"), "{}", daemon.stderr());
}

#[test]
fn a_reload_makes_and_takes_away_mounts() {
    let mut daemon = one_file().start();
    let more = daemon.folder().join("more");
    fs::create_dir(&more).unwrap();
    std::os::unix::fs::chown(&more, Some(NAMED), Some(NAMED)).unwrap();
    let one = "- {at: mnt, templates: templates, mode: \"0440\"}\n";
    daemon.config(&format!("mounts:\n{one}- {{at: more, templates: templates}}\n"));
    stdout_of(&daemon.run(&["reload"]));
    assert_eq!(stdout_of(&cat(NAMED, &daemon, "../more/f")), "k=v1\n");
    let mode = Command::new("stat").args(["-c", "%a"]).arg(daemon.path("f")).uid(NAMED).gid(NAMED).output();
    assert_eq!(stdout_of(&mode.unwrap()), "440\n");
    daemon.config(&format!("mounts:\n{one}"));
    stdout_of(&daemon.run(&["reload"]));
    assert_eq!(daemon.mounts().len(), 1, "{:?}", daemon.mounts());
    assert!(daemon.stop().success());
    assert!(daemon.mounts().is_empty(), "{:?}", daemon.mounts());
}

/// Dead mounts of a holder that was killed are replaced, by the helper, too.
#[test]
fn the_next_start_replaces_what_a_killed_holder_leaves() {
    let mut daemon = one_file().start();
    daemon.kill();
    let said = || String::from_utf8_lossy(&cat(NAMED, &daemon, "f").stderr).into_owned();
    eventually("a dead mount", || said().contains("not connected").then_some(()));
    daemon.start_again();
    assert_eq!(read(&daemon), "k=v1\n");
    assert_eq!(daemon.mounts().len(), 1, "{:?}", daemon.mounts());
}

/// Who may lock no memory leaves nothing to a successor, which makes the mount anew, by the helper.
#[test]
fn without_locked_memory_the_mount_is_made_anew() {
    let daemon = one_file().start();
    let mut prlimit = Command::new(tool("prlimit"));
    prlimit.args(["--memlock=0:0", "--pid", &daemon.pid().to_string()]).uid(NAMED).gid(NAMED);
    stdout_of(&prlimit.output().unwrap());
    let old = daemon.mounts();
    daemon.kill_worker();
    daemon.await_log("the worker serves", 2);
    assert_eq!(read(&daemon), "k=v1\n");
    assert_eq!(daemon.mounts(), old, "one, and at the same place");
    assert_eq!(daemon.stderr().matches("the mount cannot be gone on with").count(), 1, "{}", daemon.stderr());
}

/// What systemd's unit for users starts is what these tests start, and systemd knows all of its words.
#[test]
fn the_unit_for_users_is_one() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/user/secretfs.service");
    let text = fs::read_to_string(unit).unwrap();
    let command = "/usr/bin/secretfs daemon --config %E/secretfs/config.yaml";
    assert!(text.contains(&format!("\nExecStart={command}\n")));
    let verify = |text: String| {
        let folder = tempfile::tempdir().unwrap();
        let unit = folder.path().join("secretfs.service");
        fs::write(&unit, text.replace("/usr/bin/secretfs", env!("CARGO_BIN_EXE_secretfs"))).unwrap();
        let mut analyze = Command::new(tool("systemd-analyze"));
        analyze.args(["verify", "--user", "--man=no", "--recursive-errors=no"]).arg(&unit);
        analyze.env("XDG_RUNTIME_DIR", folder.path()).env("HOME", folder.path()).output().unwrap()
    };
    let verified = verify(text.clone());
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
    let wrong = verify(text.replace("KillMode=", "KilMode="));
    assert!(!wrong.stderr.is_empty(), "the control: {wrong:?}");
}
