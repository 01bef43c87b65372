//! What a daemon comes back from: a time without a worker, a successor that is not fit, a foreign
//! mount over its own, a worker or a prober that does not answer, requests that no worker survives.

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use common::{Daemon, Manager, TestDaemon, TestStore, eventually, stdout_of};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than readers are let wait, and than a worker may leave them without an answer.
const LONG: Duration = Duration::from_secs(12);
/// So many of them at once need more memory than there is.
const FILES: usize = 30;

fn one_file() -> TestDaemon {
    TestDaemon::new().secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n")
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

fn mount_foreign(at: &Path) {
    mount(Some("foreign"), at, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    fs::write(at.join("precious"), "x").unwrap();
}

/// The daemon's process that looks whether mounts answer.
fn prober(daemon: &Daemon) -> u32 {
    let path = format!("/proc/{0}/task/{0}/children", daemon.pid());
    let is_probe =
        |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"\0--probe\0"));
    eventually("a prober", || {
        let children = fs::read_to_string(&path).unwrap_or_default();
        children.split(' ').filter_map(|pid| pid.parse().ok()).find(is_probe)
    })
}

/// A control group with little memory for who is put into it, and for their children.
struct LittleMemory {
    folder: PathBuf,
    limit: &'static str,
    kills: &'static str,
}

impl LittleMemory {
    fn new() -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let (root, limit, kills) = match fs::read_to_string(root.join("cgroup.controllers")) {
            Ok(_) => {
                fs::write(root.join("cgroup.subtree_control"), "+memory").unwrap();
                (root.to_owned(), "memory.max", "memory.events")
            }
            Err(_) => (root.join("memory"), "memory.limit_in_bytes", "memory.oom_control"),
        };
        let folder = root.join(format!("secretfs-test-{}", std::process::id()));
        fs::create_dir(&folder).expect("a control group of memory: run this test as root");
        Self { folder, limit, kills }
    }

    fn limit(&self, mib: u64) {
        fs::write(self.folder.join(self.limit), (mib << 20).to_string()).unwrap();
    }

    fn add(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// How many processes were killed for want of memory.
    fn kills(&self) -> usize {
        let text = fs::read_to_string(self.folder.join(self.kills)).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"))
    }
}

impl Drop for LittleMemory {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// The manager hears all the time that the daemon lives: to start it anew would not help.
#[test]
fn after_a_long_time_without_a_worker_the_next_one_serves() {
    let manager = Manager::new();
    let daemon = one_file().of(&manager).env("WATCHDOG_USEC", "30000000").start();
    let (store, away) = (daemon.folder().join("store"), daemon.folder().join("away"));
    fs::rename(&store, &away).unwrap();
    send(daemon.worker_pid(), Signal::SIGKILL);
    let signs = manager.count("WATCHDOG=1");
    sleep(LONG);
    assert!(manager.count("WATCHDOG=1") >= signs + 2);
    assert_eq!(daemon.errno("f"), libc::ENOTCONN, "a dead mount stays one\n{}", daemon.stderr());
    fs::rename(&away, &store).unwrap();
    let start = Instant::now();
    let text = eventually("the file", || fs::read_to_string(daemon.path("f")).ok());
    assert_eq!(text, "k=v1\n");
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    sleep(LONG);
    assert_eq!(daemon.read("f"), "k=v1\n");
    assert_eq!(daemon.mounts().len(), 1);
}

#[test]
fn a_foreign_mount_over_ours_survives_the_end_of_the_connection() {
    let daemon = one_file().start();
    let (store, away) = (daemon.folder().join("store"), daemon.folder().join("away"));
    mount_foreign(&daemon.path(""));
    fs::rename(&store, &away).unwrap();
    send(daemon.worker_pid(), Signal::SIGKILL);
    daemon.await_log("who waits for an answer gets an error", 1);
    assert!(daemon.path("precious").exists(), "{}", daemon.stderr());
    umount2(&daemon.path(""), MntFlags::empty()).unwrap();
    let errno = daemon.errno("f");
    assert!(matches!(errno, libc::ENOTCONN | libc::ECONNABORTED), "{errno}");
    fs::rename(&away, &store).unwrap();
    eventually("the file", || fs::read_to_string(daemon.path("f")).ok());
}

#[test]
fn a_foreign_mount_over_ours_is_no_fault_of_the_worker() {
    let daemon = one_file().start();
    let worker = daemon.worker_pid();
    mount_foreign(&daemon.path(""));
    sleep(LONG);
    assert_eq!(daemon.worker_pid(), worker, "{}", daemon.stderr());
    assert_eq!(daemon.stderr().matches("something else is mounted over").count(), 1, "{}", daemon.stderr());
    umount2(&daemon.path(""), MntFlags::empty()).unwrap();
    assert_eq!(daemon.read("f"), "k=v1\n");
}

#[test]
fn a_mount_that_was_taken_away_while_it_is_read_is_no_fault_of_the_worker() {
    let daemon = one_file().start();
    let worker = daemon.worker_pid();
    let open = File::open(daemon.path("f")).unwrap();
    umount2(&daemon.path(""), MntFlags::MNT_DETACH).unwrap();
    sleep(LONG);
    assert_eq!(daemon.worker_pid(), worker, "{}", daemon.stderr());
    assert_eq!(std::io::read_to_string(open).unwrap(), "k=v1\n");
}

#[test]
fn a_prober_that_does_not_answer_is_no_fault_of_the_worker() {
    let daemon = one_file().start();
    let (worker, old) = (daemon.worker_pid(), prober(&daemon));
    send(old, Signal::SIGSTOP);
    sleep(LONG);
    assert_eq!(daemon.worker_pid(), worker, "{}", daemon.stderr());
    assert_ne!(prober(&daemon), old);
}

/// What it is told meanwhile must not stop who tells it.
#[test]
fn a_stopped_worker_that_is_told_much_is_replaced() {
    let mut daemon = one_file().start();
    let worker = daemon.worker_pid();
    send(worker, Signal::SIGSTOP);
    for _ in 0..1500 {
        daemon.signal(Signal::SIGHUP);
        sleep(Duration::from_micros(500));
    }
    eventually("another worker", || daemon.workers().into_iter().find(|pid| *pid != worker));
    daemon.await_log("the worker serves", 2);
    assert_eq!(daemon.read("f"), "k=v1\n");
    assert!(daemon.stop().success());
}

/// One that serves, but lacks a secret that the config waits for.
#[test]
fn a_successor_that_is_not_fit_ends_nobody_who_serves() {
    let config = "mounts:\n- {at: mnt, templates: templates}\nready: [missing]\n";
    let daemon = one_file().config(config).start_unready();
    assert_eq!(daemon.read("f"), "k=v1\n");
    let worker = daemon.worker_pid();
    let (store, away) = (daemon.folder().join("store"), daemon.folder().join("away"));
    fs::rename(&store, &away).unwrap();
    daemon.signal(Signal::SIGUSR2);
    daemon.await_log("the successor is not fit", 1);
    fs::rename(&away, &store).unwrap();
    assert_eq!(daemon.worker_pid(), worker);
    assert_eq!(daemon.read("f"), "k=v1\n");
}

#[test]
fn an_upgrade_is_to_the_program_at_the_path_of_the_first_start() {
    let store = TestStore::new();
    let program = store.copy_binary();
    let daemon = TestDaemon::on(store).secret("k", "v1").template("f.tpl", "<< secrets.k >>").start();
    for (times, aside) in ["one", "two"].into_iter().enumerate() {
        fs::rename(&program, daemon.folder().join(aside)).unwrap();
        fs::copy(daemon.folder().join(aside), &program).unwrap();
        let mut upgrade = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        upgrade.args(["upgrade", "--socket"]).arg(daemon.folder().join("run/control.sock"));
        stdout_of(&upgrade.output().unwrap());
        daemon.await_log("the worker serves", times + 2);
        let runs = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|it| it == program);
        eventually("the program on disk", || (runs(daemon.pid()) && runs(daemon.worker_pid())).then_some(()));
    }
    assert_eq!(daemon.read("f"), "v1");
}

/// Requests that kill whoever answers them: they are asked again of each worker, until they are given
/// an error. Then everything is as before.
#[test]
fn readers_who_want_more_memory_than_there_is_get_an_error() {
    // It can be taken away once nobody is in it, so it has to be there before the daemon.
    let little = LittleMemory::new();
    let mut daemon = TestDaemon::new().secret("k", "v1").secret("big", vec![b'x'; 1 << 20]);
    for number in 0..FILES {
        let text = format!("{number}{}", "<< secrets.big >>".repeat(3));
        daemon = daemon.template(&format!("big{number}.tpl"), text);
    }
    let huge = "<< secrets.big >>".repeat(5);
    let daemon = daemon.template("huge.tpl", huge).template("f.tpl", "<< secrets.k >>").start();
    assert_eq!(daemon.errno("huge"), libc::EFBIG);
    little.add(daemon.pid());
    // Its successor is charged to the group.
    daemon.kill_worker();
    daemon.await_log("the worker serves", 2);
    assert_eq!((daemon.read("f"), little.kills()), ("v1".to_owned(), 0));
    little.limit(40);
    assert_eq!(daemon.read("big0").len(), (3 << 20) + 1, "the control: one at a time has room");
    let paths = (0..FILES).map(|number| daemon.path(&format!("big{number}")));
    let start = Instant::now();
    let open: Vec<_> = paths.map(|path| thread::spawn(move || File::open(path))).collect();
    let outcomes: Vec<_> = open.into_iter().map(|it| it.join().unwrap()).collect();
    let took = start.elapsed();
    assert!(little.kills() > 0, "{}", daemon.stderr());
    assert!(took < Duration::from_secs(15), "nobody waits for ever: {took:?}");
    println!("{} of {FILES} got an error after {took:?}", outcomes.iter().filter(|it| it.is_err()).count());
    drop(outcomes);
    assert_eq!(eventually("the file", || fs::read_to_string(daemon.path("f")).ok()), "v1");
    assert_eq!(daemon.mounts().len(), 1);
}

/// A slow start is no silence: nobody waits for a mount that is not there yet.
#[test]
fn a_first_start_may_take_its_time() {
    let daemon = one_file().start_slowly(LONG);
    assert_eq!(daemon.read("f"), "k=v1\n");
    let said = daemon.stderr();
    assert_eq!(said.matches("a worker starts").count(), 1, "{said}");
    assert!(!said.contains("ERROR") && !said.contains("gets an error"), "{said}");
}
