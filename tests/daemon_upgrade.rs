//! An upgrade of a running daemon: worker and holder become the program that is on disk, without
//! an end of the process; or neither does, if the new one is not fit.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::thread;

use common::{Daemon, TestDaemon, TestStore, eventually, stdout_of};
use nix::sys::signal::Signal;

fn started() -> Daemon {
    let store = TestStore::new();
    store.copy_binary();
    TestDaemon::on(store).secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n").start()
}

/// The inode of the program that a process runs.
fn program(pid: u32) -> u64 {
    fs::metadata(format!("/proc/{pid}/exe")).map_or(0, |it| it.ino())
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn worker_and_holder_become_the_program_on_disk_in_the_same_process() {
    let mut daemon = started();
    let old = daemon.worker_pid();
    let new_program = inode(&daemon.store().copy_binary());
    assert_ne!(program(daemon.pid()), new_program, "the control: it runs another one until now");
    let said = stdout_of(&daemon.run(&["upgrade"]));
    assert!(said.starts_with("upgraded: "), "{said}");
    eventually("the new holder", || (program(daemon.pid()) == new_program).then_some(()));
    let new = eventually("the new worker", || daemon.workers().into_iter().find(|pid| *pid != old));
    assert_eq!(program(new), new_program);
    assert_eq!(daemon.workers().len(), 1);
    assert_eq!(daemon.read("f"), "k=v1\n");
    // It holds as before, and a signal does what the command does.
    daemon.signal(Signal::SIGUSR2);
    let newer = eventually("the newest worker", || daemon.workers().into_iter().find(|pid| *pid != new));
    daemon.await_log("the worker serves", 3);
    let new = newer;
    assert_ne!(daemon.kill_worker(), new);
    daemon.await_log("the worker serves", 4);
    assert_eq!(daemon.read("f"), "k=v1\n");
    assert!(daemon.stop().success());
    assert!(daemon.mounts().is_empty());
}

#[test]
fn a_program_that_is_not_fit_changes_nothing() {
    let daemon = started();
    let (worker, holder) = (daemon.worker_pid(), program(daemon.pid()));
    let broken = daemon.folder().join("broken");
    fs::write(&broken, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&broken, daemon.folder().join("secretfs")).unwrap();
    let ask = |command: &str| {
        let mut ask = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        ask.args([command, "--socket"]).arg(daemon.folder().join("run/control.sock")).output().unwrap()
    };
    let refused = ask("upgrade");
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("ended before it was ready"));
    assert_eq!(daemon.worker_pid(), worker);
    assert_eq!(program(daemon.pid()), holder);
    assert_eq!(daemon.read("f"), "k=v1\n");
    // A good program, but a config that cannot be served: the one in force stays so.
    daemon.store().copy_binary();
    daemon.config("mounts: []\n");
    assert!(ask("upgrade").status.success());
    assert_eq!(daemon.read("f"), "k=v1\n");
    eventually("why", || daemon.stderr().contains("nothing to mount").then_some(()));
}

/// While it is waited for, the worker is killed: the program of before serves on at once.
#[test]
fn a_program_that_never_gets_ready_costs_nobody_who_reads_anything() {
    let daemon = started();
    let hangs = daemon.folder().join("hangs");
    fs::write(&hangs, "#!/bin/sh\nexec sleep 300\n").unwrap();
    fs::set_permissions(&hangs, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&hangs, daemon.folder().join("secretfs")).unwrap();
    let mut ask = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    ask.args(["upgrade", "--socket"]).arg(daemon.folder().join("run/control.sock"));
    let asked = thread::spawn(move || ask.output().unwrap());
    daemon.await_log("a worker starts", 2);
    let readers = daemon.readers(2, &["f"], |_, bytes| bytes == b"k=v1\n");
    daemon.kill_worker();
    daemon.await_log("the worker serves", 2);
    let tally = readers.stop();
    println!("{} reads, the longest took {:?}", tally.reads, tally.longest);
    tally.expect_clean();
    let said = asked.join().unwrap();
    assert!(!said.status.success(), "{said:?}");
    assert!(String::from_utf8(said.stderr).unwrap().contains("nothing is upgraded"));
}
