//! What finds out whether mounts answer: a file that is read from outside the daemon's processes,
//! what a worker that is there but does not answer gets, and who ends what nobody serves any more.

mod common;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Daemon, Manager, STRANGER, TestDaemon, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PROBE: &str = ".secretfs-probe";

fn started() -> Daemon {
    of(TestDaemon::new())
}

fn of(daemon: TestDaemon) -> Daemon {
    daemon.secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n").start()
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// The daemon's processes that read mounts, and how many of them are reading now.
fn probers(daemon: &Daemon) -> usize {
    let is_probe = |pid: &str| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.ends_with(b"\0--probe\0")
    };
    let children = |pid: &str| {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let probers = children(&daemon.pid().to_string()).into_iter().filter(|pid| is_probe(pid));
    probers.flat_map(|pid| children(&pid)).count()
}

#[test]
fn the_probe_file_names_the_worker_and_is_nobody_elses_business() {
    let daemon = started();
    assert_eq!(daemon.read(PROBE), format!("worker {}\n", daemon.worker_pid()));
    let new = daemon.kill_worker();
    assert_eq!(daemon.read(PROBE), format!("worker {new}\n"));
    let listed: Vec<_> = fs::read_dir(daemon.path("")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(listed, ["f"]);
    let output = Command::new("cat").arg(daemon.path(PROBE)).uid(STRANGER).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("Permission denied"), "{output:?}");
}

/// A stopped process is there, holds its descriptors, and answers nobody. The manager hears that the
/// daemon lives, but not while that is so.
#[test]
fn a_worker_that_does_not_answer_is_replaced() {
    let manager = Manager::new();
    let daemon = of(TestDaemon::new().of(&manager).env("WATCHDOG_USEC", "30000000"));
    let signs = || manager.count("WATCHDOG=1");
    eventually("signs of life", || (signs() >= 2).then_some(()));
    let worker = daemon.worker_pid();
    let readers = daemon.readers(2, &["f"], |_, bytes| bytes == b"k=v1\n");
    send(worker, Signal::SIGSTOP);
    let start = Instant::now();
    // It was asked at most so long after it was stopped, and may have been told of just before that.
    std::thread::sleep(Duration::from_secs(4));
    let last = signs();
    eventually("another worker", || daemon.workers().into_iter().find(|pid| *pid != worker));
    daemon.await_log("the worker serves", 2);
    let took = start.elapsed();
    assert_eq!(signs(), last);
    eventually("another sign of life", || (signs() > last).then_some(()));
    println!("replaced after {took:?}");
    assert!(took > Duration::from_secs(4), "a slow answer is none yet: {took:?}");
    std::thread::sleep(Duration::from_millis(200));
    readers.stop().expect_clean();
    assert_eq!(daemon.workers().len(), 1);
}

/// A request of the prober is in flight while the worker dies: that hinders nobody.
#[test]
fn a_worker_killed_with_a_probe_in_flight_is_replaced_at_once() {
    let daemon = started();
    let worker = daemon.worker_pid();
    send(worker, Signal::SIGSTOP);
    eventually("a probe in flight", || (probers(&daemon) > 0).then_some(()));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(probers(&daemon), 1, "it is answered by nobody, and not asked twice");
    let start = Instant::now();
    send(worker, Signal::SIGKILL);
    daemon.await_log("the worker serves", 2);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(daemon.read("f"), "k=v1\n");
    eventually("the probe's end", || (probers(&daemon) == 0).then_some(()));
}

/// With holder and worker stopped, only somebody else can free those who wait; no signal can.
#[test]
fn who_watches_from_outside_ends_a_mount_that_hangs() {
    let mut daemon = started();
    let worker = daemon.worker_pid();
    send(daemon.pid(), Signal::SIGSTOP);
    send(worker, Signal::SIGSTOP);
    let path = daemon.path("f");
    let reader = std::thread::spawn(move || fs::read(path).map_err(|error| error.raw_os_error().unwrap()));
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!reader.is_finished(), "the control: it waits");
    let config = daemon.folder().join("secretfs.yaml");
    let mut watch = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    watch.arg("--config").arg(config).args(["daemon", "--probe", "--patience", "1"]);
    let mut watch = watch.stdin(std::process::Stdio::null()).spawn().unwrap();
    let outcome = reader.join().unwrap();
    assert_eq!(outcome, Err(libc::ECONNABORTED));
    assert_eq!(daemon.errno("f"), libc::ENOTCONN);
    watch.kill().unwrap();
    watch.wait().unwrap();
    send(worker, Signal::SIGCONT);
    send(daemon.pid(), Signal::SIGCONT);
    eventually("a mount in its place", || fs::read(daemon.path("f")).ok());
    assert!(daemon.stop().success());
}
