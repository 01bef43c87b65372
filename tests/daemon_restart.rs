//! A restart by a service manager that keeps descriptors, for root and for a user without root: the
//! worker serves on without a holder until the next start takes over.

mod common;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use common::{Daemon, Manager, NAMED, Reading, TestDaemon, TestStore, eventually, stdout_of};

fn of(manager: &Manager, store: TestStore) -> TestDaemon {
    TestDaemon::on(store).of(manager).secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n")
}

/// Not if it has ended, and whose child it is has not asked for its status yet.
fn is_there(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|state| !state.is_empty() && !state.starts_with(['Z', 'X']))
}

fn read(daemon: &Daemon) -> String {
    let uid = daemon.store().user().unwrap_or(0);
    stdout_of(&Command::new("cat").arg(daemon.path("f")).uid(uid).gid(uid).output().unwrap())
}

#[test]
fn a_restart_fails_no_read() {
    for store in [TestStore::new(), TestStore::of(NAMED)] {
        let manager = Manager::new();
        let mut daemon = of(&manager, store).start();
        let reading = Reading::start(&daemon, "f");
        for number in 2..5 {
            let worker = daemon.worker_pid();
            match number {
                3 => daemon.kill(),
                _ => assert!(daemon.leave().success()),
            }
            assert!(is_there(worker), "it serves without a holder");
            assert_eq!(read(&daemon), format!("k=v{}\n", number - 1));
            daemon.start_again_by(&manager);
            eventually("the old worker's end", || (!is_there(worker)).then_some(()));
            daemon.store().set("k", format!("v{number}"));
        }
        assert_eq!(reading.end(&daemon), "0 failed, k=v1 is still open\n", "{}", daemon.stderr());
        assert_eq!(daemon.mounts().len(), 1, "{:?}", daemon.mounts());
        assert!(daemon.stop().success());
        assert!(daemon.mounts().is_empty() && manager.kept().is_empty(), "{:?}", manager.kept());
    }
}

/// The control: without a manager's copies a killed daemon is seen by its readers.
#[test]
fn without_what_was_kept_reads_fail() {
    let manager = Manager::new();
    let mut daemon = of(&manager, TestStore::new()).start();
    let reading = Reading::start(&daemon, "f");
    daemon.kill();
    manager.lose();
    sleep(Duration::from_millis(100));
    daemon.start_again_by(&manager);
    let said = reading.end(&daemon);
    assert!(!said.starts_with("0 failed") && said.ends_with("failed, nothing is still open\n"), "{said}");
}

/// Nobody would ever take over.
#[test]
fn without_a_manager_it_leaves_nothing() {
    let daemon = TestDaemon::new().secret("k", "v1").template("f.tpl", "<< secrets.k >>");
    let mut daemon = daemon.start();
    let worker = daemon.worker_pid();
    assert!(daemon.leave().success());
    assert!(!is_there(worker) && daemon.mounts().is_empty(), "{:?}", daemon.mounts());
}

/// A manager that holds the worker's link may start another holder; without anybody the worker ends.
#[test]
fn a_worker_ends_when_nobody_can_take_over() {
    let manager = Manager::new();
    let mut daemon = of(&manager, TestStore::new()).start();
    let worker = daemon.worker_pid();
    daemon.kill();
    sleep(Duration::from_secs(1));
    assert!(is_there(worker), "the control");
    manager.lose();
    eventually("its end", || (!is_there(worker)).then_some(()));
    daemon.start_again_by(&manager);
    assert_eq!(read(&daemon), "k=v1\n");
}
