//! Changes that are cut off at any moment, mounts that come and go, and a request that kills whoever
//! is asked: what is left is in force in full, and nothing else is left.

mod common;

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::thread;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Daemon, TestDaemon, eventually, long, stdout_of};
use nix::sys::signal::Signal;

const ONE: &str = "mounts:\n- {at: mnt, templates: templates}\n";
const TWO: &str = "mounts:\n- {at: mnt, templates: templates}\n- {at: more, templates: templates}\n";

fn with_room_for_more() -> TestDaemon {
    let daemon = TestDaemon::new().secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n");
    fs::create_dir(daemon.folder().join("more")).unwrap();
    daemon
}

/// What has no path to look up goes on with what is open: so nothing may count as open that is not.
#[test]
fn what_was_closed_before_the_worker_was_killed_is_not_open_in_the_next_one() {
    let daemon = TestDaemon::new().secret("k", "first").template("f.tpl", "<< secrets.k >>");
    let daemon = daemon.env("SECRETFS_TEST_WEAKNESS", "lingering").start();
    let held = File::options().read(true).custom_flags(libc::O_PATH).open(daemon.path("f")).unwrap();
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    daemon.await_log("it lingers", 1);
    daemon.kill_worker();
    daemon.store().set("k", "the second");
    assert_eq!(fs::read_to_string(&path).unwrap(), "the second");
}

/// But for those by which the threads are known that asked last, which are as many as there have been.
fn descriptors(pid: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = open.filter_map(|it| Some(fs::read_link(it.ok()?.path()).ok()?.display().to_string()));
    let of_threads =
        |link: &String| link.contains("pidfd:") || link.contains("[pidfd]") || link.starts_with("/proc/");
    links.filter(|link| !of_threads(link)).count()
}

fn reload(daemon: &Daemon, yaml: &str) {
    daemon.config(yaml);
    stdout_of(&daemon.run(&["reload"]));
}

/// A mount is added, a file of it opened, and the mount taken away while that is open.
fn come_and_go(daemon: &Daemon) -> File {
    reload(daemon, TWO);
    let mut open = File::open(daemon.folder().join("more/f")).unwrap();
    reload(daemon, ONE);
    assert!(!daemon.folder().join("more/f").exists());
    let error = open.read(&mut [0; 8]).expect_err("it is not of the config any more");
    assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    open
}

#[test]
fn mounts_that_come_and_go_leave_nothing_behind() {
    let daemon = with_room_for_more().start();
    let processes = [daemon.pid(), daemon.worker_pid()];
    drop([come_and_go(&daemon), come_and_go(&daemon)]);
    sleep(Duration::from_secs(1));
    let before = processes.map(descriptors);
    let kept: Vec<_> = (0..20).map(|_| come_and_go(&daemon)).collect();
    assert!(descriptors(processes[0]) > before[0], "the control: who has a file open keeps its mount");
    drop(kept);
    let after = || processes.map(descriptors);
    eventually("as many descriptors as before", || (after() <= before).then_some(()));
    assert_eq!(daemon.worker_pid(), processes[1]);
    assert_eq!(daemon.read("f"), "k=v1\n");
}

/// At moments from before the new mount is made until after all is in force.
#[test]
fn a_reload_that_is_cut_off_is_in_force_in_full_in_the_next_worker() {
    let daemon = with_room_for_more().start();
    let rounds = if long() { 60 } else { 14 };
    for round in 0..rounds {
        // Who ends sooner has failed at once.
        sleep(Duration::from_millis(260));
        let (yaml, mounts) = if round % 2 == 0 { (TWO, 2) } else { (ONE, 1) };
        daemon.config(yaml);
        daemon.signal(Signal::SIGHUP);
        sleep(Duration::from_millis(round % 14));
        daemon.kill_worker();
        daemon.await_log("the worker serves", round as usize + 2);
        assert_eq!(daemon.read("f"), "k=v1\n");
        let more = fs::read_to_string(daemon.folder().join("more/f")).map_err(|error| error.raw_os_error());
        let expected = if mounts == 2 { Ok("k=v1\n".to_owned()) } else { Err(Some(libc::ENOENT)) };
        assert_eq!(more, expected, "round {round}");
        assert_eq!(daemon.mounts().len(), mounts, "round {round}");
        let status = stdout_of(&daemon.run(&["status", "--json"]));
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["mounts"].as_array().unwrap().len(), mounts, "round {round}: {status}");
    }
}

/// Each worker that is asked is killed by the program that it runs for an answer; and what nobody
/// has answered comes again. If it ends workers before they serve, the holder has its mount made anew;
/// else one of them does not try it again.
#[test]
fn a_deadly_request_costs_its_reader_an_error_and_not_all_readers_everything() {
    let daemon = with_room_for_more();
    let program = daemon.folder().join("deadly");
    fs::write(&program, "#!/bin/sh\nkill -KILL $PPID\n").unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(daemon.folder().join("others")).unwrap();
    fs::write(daemon.folder().join("others/bad.tpl"), "<< secret('deadly:x') >>").unwrap();
    let deadly = format!("providers: {{deadly: {{type: exec, command: [{}]}}}}\n", program.display());
    let daemon = daemon.config(&format!("{}{deadly}", others())).start();
    let mut open = File::open(daemon.path("f")).unwrap();
    let bad = daemon.folder().join("more/bad");
    let start = Instant::now();
    let reader = thread::spawn(move || fs::read(bad).map_err(|error| error.raw_os_error()));
    let readers = daemon.readers(1, &["f"], |_, bytes| bytes == b"k=v1\n");
    let outcome = reader.join().unwrap();
    let is_made_anew = outcome == Err(Some(libc::ECONNABORTED));
    assert!(is_made_anew || outcome == Err(Some(libc::EIO)), "{outcome:?} {}", daemon.stderr());
    println!("the deadly request ended after {:?}", start.elapsed());
    let deaths = daemon.stderr().matches("a worker starts").count();
    assert!((3..12).contains(&deaths), "{deaths} workers\n{}", daemon.stderr());
    daemon.await_log("deadly_request", 1);
    if is_made_anew {
        daemon.await_log("stale_mount_cleaned", 1);
    }
    eventually("all of it again", || fs::read_dir(daemon.folder().join("more")).ok());
    let tally = readers.stop();
    println!("{} reads meanwhile, the longest {:?}", tally.reads, tally.longest);
    tally.expect_clean();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "k=v1\n", "the other mount was gone on with");
    assert_eq!(daemon.stderr().matches("deadly_request").count(), 1, "{}", daemon.stderr());
}

/// A fault of our own, whose words have the value. It ends the worker, as in each release build.
#[test]
fn a_panic_costs_its_reader_an_error_and_tells_nobody_the_value() {
    let value = "AJNE-7421-PQXW-0983-ZKLM";
    let daemon = with_room_for_more().secret("v", value);
    fs::create_dir(daemon.folder().join("others")).unwrap();
    fs::write(daemon.folder().join("others/bad.tpl"), "<< secrets.v >> # panic\n").unwrap();
    let daemon = daemon.config(&others()).env("SECRETFS_TEST_WEAKNESS", "panicking");
    let daemon = daemon.env("RUST_BACKTRACE", "1").env("SECRETFS_LOG", "debug").start();
    let bad = daemon.folder().join("more/bad");
    let start = Instant::now();
    let reader = thread::spawn(move || fs::read(bad).map_err(|error| error.raw_os_error()));
    let readers = daemon.readers(1, &["f"], |_, bytes| bytes == b"k=v1\n");
    let outcome = reader.join().unwrap();
    let tally = readers.stop();
    println!(
        "it ended after {:?}; {} reads meanwhile, the longest {:?}",
        start.elapsed(),
        tally.reads,
        tally.longest
    );
    tally.expect_clean();
    // As the workers end at once or after they have begun to serve; to write the trace can take longer
    // than anybody waits.
    match outcome {
        Err(Some(libc::ETIMEDOUT)) => {}
        Err(Some(libc::EIO | libc::ECONNABORTED)) => daemon.await_log("deadly_request", 1),
        other => panic!("{other:?} {}", daemon.stderr()),
    }
    let log = daemon.stderr();
    assert!(log.contains("a fault of this program at src/") && log.contains("signal: 6"), "{log}");
    assert!(value.as_bytes().windows(9).all(|part| !log.contains(str::from_utf8(part).unwrap())), "{log}");
    let names = fs::read_dir(daemon.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().starts_with("core")).count(), 0);
}

/// The second mount has files of its own.
fn others() -> String {
    TWO.replace("more, templates: templates", "more, templates: others")
}
