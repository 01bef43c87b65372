//! `secretfs daemon`: holder and worker through the real binary: what is served, what happens when
//! either of them dies, and what an orderly end leaves.

mod common;

use std::fs;
use std::io::Read;
use std::process::Command;
use std::time::Duration;

use common::{Daemon, TestDaemon, eventually, stdout_of, tool};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn one_file() -> TestDaemon {
    TestDaemon::new().secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n")
}

#[test]
fn all_mounts_of_the_config_are_served_until_it_stops() {
    let daemon = one_file();
    fs::create_dir(daemon.folder().join("more")).unwrap();
    let config = "mounts:\n- {at: mnt, templates: templates}\n- {at: more, templates: templates}\n";
    let mut daemon = daemon.config(config).start();
    assert_eq!(daemon.read("f"), "k=v1\n");
    assert_eq!(fs::read_to_string(daemon.folder().join("more/f")).unwrap(), "k=v1\n");
    daemon.store().set("k", "v2");
    assert_eq!(daemon.read("f"), "k=v2\n");
    let worker = daemon.worker_pid();
    assert!(daemon.stop().success(), "{}", daemon.stderr());
    assert!(daemon.mounts().is_empty(), "{:?}", daemon.mounts());
    assert!(kill(Pid::from_raw(worker as i32), None).is_err(), "the worker is still there");
    assert!(!daemon.path("f").exists());
}

#[test]
fn a_killed_worker_is_replaced_at_once() {
    let daemon = one_file().start();
    for kills in 1..=3 {
        daemon.kill_worker();
        daemon.await_log("the worker serves", kills + 1);
        assert_eq!(daemon.read("f"), "k=v1\n");
    }
    assert_eq!(daemon.workers().len(), 1);
    assert_eq!(daemon.mounts().len(), 1, "{:?}", daemon.mounts());
}

/// Without a service manager that keeps the descriptors, what a killed holder leaves is dead; the
/// next start replaces it.
#[test]
fn what_a_killed_holder_leaves_is_replaced_by_the_next_start() {
    let mut daemon = one_file().start();
    let worker = daemon.worker_pid();
    daemon.kill();
    eventually("the end of the worker", || kill(Pid::from_raw(worker as i32), None).err());
    assert_eq!(daemon.errno("f"), libc::ENOTCONN);
    daemon.start_again();
    assert_eq!(daemon.read("f"), "k=v1\n");
    assert_eq!(daemon.mounts().len(), 1, "{:?}", daemon.mounts());
    assert_eq!(daemon.stderr().matches("stale_mount_cleaned").count(), 1, "{}", daemon.stderr());
    assert_eq!(figure(&daemon, "secretfs_dead_mounts_replaced_total"), "1");
}

/// What /metrics says of one figure.
fn figure(daemon: &Daemon, name: &str) -> String {
    let socket = daemon.folder().join("run/control.sock");
    let mut curl = Command::new(tool("curl"));
    let text = stdout_of(
        &curl.args(["-sS", "http://secretfs/metrics", "--unix-socket"]).arg(socket).output().unwrap(),
    );
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).trim().to_owned()
}

#[test]
fn a_config_that_cannot_be_served_is_told_and_leaves_nothing() {
    let refused = |daemon: TestDaemon, words: &str, status: i32| {
        let stderr = daemon.folder().join("stderr");
        let folder = daemon.folder().to_owned();
        let kept = fs::canonicalize(&folder).unwrap();
        let output = daemon.refused();
        let said = fs::read_to_string(stderr).unwrap_or_default() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(words), "{said}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&*kept.to_string_lossy()), "{mounts}");
    };
    refused(one_file().config("mounts: []\n"), "nothing to mount", 64);
    refused(one_file().config("mounts:\n- {at: mnt, templates: nowhere}\n"), "nowhere", 66);
    refused(
        one_file().config("mounts:\n- {at: mnt, templates: templates, owner: nobody-knows}\n"),
        ":3:",
        78,
    );
    let hidden = |daemon: TestDaemon| {
        let output = daemon.refused();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let mistake = "mounts:\n- {at: mnt, templates: templates}\npasword: hunter2\n";
    refused(one_file().config(mistake), "secretfs.yaml:4:1: unknown key `pasword`", 78);
    let log = hidden(one_file().config(mistake));
    assert!(log.contains("pasword") && !log.contains("hunter2"), "no terminal, but a log: {log}");
    let spelled =
        "mounts:\n- {at: mnt, templates: templates}\n- {at: templates/../mnt, templates: templates}\n";
    refused(one_file().config(spelled), "two mounts at", 78);
    let busy = one_file();
    fs::write(busy.folder().join("mnt/own"), "x").unwrap();
    refused(busy, "not empty", 73);
}

/// Ctrl-C at a terminal reaches the whole process group: the holder decides.
#[test]
fn the_worker_ignores_what_is_meant_for_the_holder() {
    let daemon = one_file().start();
    let worker = daemon.worker_pid();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        kill(Pid::from_raw(worker as i32), signal).unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(daemon.worker_pid(), worker);
    assert_eq!(daemon.read("f"), "k=v1\n");
}

/// Readers notice a pause at most, and handles that are open go on.
#[test]
fn kills_under_load_fail_no_read() {
    let daemon = one_file().template("g.tpl", "<< secrets.k >> again").start();
    let mut open = fs::File::open(daemon.path("f")).unwrap();
    let is_right = |_: &str, bytes: &[u8]| [&b"k=v1\n"[..], b"v1 again"].contains(&bytes);
    let readers = daemon.readers(4, &["f", "g"], is_right);
    for kills in 1..=10 {
        daemon.kill_worker();
        daemon.await_log("the worker serves", kills + 1);
        std::thread::sleep(Duration::from_millis(300));
    }
    let tally = readers.stop();
    println!("{} reads over 10 kills, the longest took {:?}", tally.reads, tally.longest);
    tally.expect_clean();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "k=v1\n");
    assert_eq!(daemon.mounts().len(), 1);
}

/// The socket is what two daemons of one config meet at; a dead one's is replaced.
#[test]
fn a_second_daemon_is_refused() {
    let mut daemon = one_file().start();
    let output = daemon.run(&["daemon"]);
    assert_eq!(output.status.code(), Some(73), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("answers on") && said.contains("stop it first"), "{said}");
    assert_eq!(daemon.read("f"), "k=v1\n");
    let socket = daemon.folder().join("run/control.sock");
    daemon.kill();
    assert!(socket.exists());
    daemon.start_again();
    assert!(daemon.stop().success());
    assert!(!socket.exists());
}

#[test]
fn the_daemon_answers_on_its_socket_whichever_worker_serves() {
    let daemon = one_file().start();
    let status = || -> serde_json::Value {
        serde_json::from_str(&stdout_of(&daemon.run(&["--json", "status"]))).unwrap()
    };
    let before = status();
    assert_eq!(before["holder"], daemon.pid());
    assert_eq!(before["worker"], daemon.worker_pid());
    assert_eq!((&before["worker_starts"], &before["mounts"][0]["files"]), (&1.into(), &1.into()));
    let worker = daemon.kill_worker();
    let after = status();
    assert_eq!((&after["worker"], &after["worker_starts"]), (&worker.into(), &2.into()));
    assert_eq!(after["started_at"], before["started_at"]);
    assert_eq!(figure(&daemon, "secretfs_worker_starts_total{cause=\"start\"}"), "1");
    assert_eq!(figure(&daemon, "secretfs_worker_starts_total{cause=\"crash\"}"), "1");
    assert_eq!(figure(&daemon, "secretfs_resumes_total{outcome=\"ok\"}"), "1");
}

/// No new reader comes, since the mount is out of sight; who waits gets the file, and who only has one
/// open holds nobody up.
#[test]
fn an_orderly_end_answers_who_waits() {
    let provider = "providers: {p: {type: exec, command: [/bin/sh, -c, sleep 1; echo slow]}}\n";
    let daemon = one_file().config(&format!("{provider}mounts:\n- {{at: mnt, templates: templates}}\n"));
    let mut daemon = daemon.template("slow.tpl", "<< secret('p:a') >>").start();
    let path = daemon.path("slow");
    let reader = std::thread::spawn(move || fs::read_to_string(path).map_err(|error| error.to_string()));
    std::thread::sleep(Duration::from_millis(300));
    assert!(daemon.stop().success());
    assert!(!daemon.path("slow").exists());
    assert_eq!(reader.join().unwrap().as_deref(), Ok("slow"));
    daemon.start_again();
    let _open = fs::File::open(daemon.path("f")).unwrap();
    let start = std::time::Instant::now();
    assert!(daemon.stop().success());
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}
