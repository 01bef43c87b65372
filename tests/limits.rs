//! What runs out: descriptors of the daemon, and the patience of a reader.

mod common;

use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{TestDaemon, TestMount, stdout_of, tool};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// An open costs the worker no descriptor, so that it goes on where most programs would not.
#[test]
fn a_daemon_with_few_descriptors_serves_a_thousand_open_files() {
    let daemon = TestDaemon::new().secret("k", "v1").template("f.tpl", "<< secrets.k >>").start();
    let worker = daemon.worker_pid().to_string();
    let mut prlimit = Command::new(tool("prlimit"));
    stdout_of(&prlimit.args(["--pid", &worker, "--nofile=64:64"]).output().unwrap());
    let open: Vec<File> = (0..1_000).map(|_| File::open(daemon.path("f")).unwrap()).collect();
    daemon.store().set("k", "v2");
    assert_eq!(daemon.read("f"), "v2");
    for mut file in open {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "v1");
    }
    stdout_of(&daemon.run(&["status"]));
}

/// A signal does not end a reader that waits for the mount: its deadline does, and then the signal.
#[test]
fn a_reader_that_is_interrupted_waits_for_the_deadline_and_no_longer() {
    let config = "mounts:\n  - {at: mnt, templates: templates, deadline: 800ms}\n\
                  providers: {slow: {type: exec, command: [sh, -c, sleep 5], timeout: 5s}}\n";
    let slow = TestMount::new().template("slow.tpl", "<< secret('slow:k') >>\n");
    let mount = slow.config(config).start();
    let start = Instant::now();
    let mut reader = Command::new("cat").arg(mount.path("slow")).stderr(Stdio::null()).spawn().unwrap();
    sleep(Duration::from_millis(200));
    kill(Pid::from_raw(reader.id().cast_signed()), Signal::SIGINT).unwrap();
    sleep(Duration::from_millis(300));
    assert!(matches!(reader.try_wait(), Ok(None)), "the control: the signal alone does not end it");
    let status = reader.wait().unwrap();
    let waited = start.elapsed();
    assert_eq!(status.signal(), Some(libc::SIGINT));
    assert!((Duration::from_millis(800)..Duration::from_secs(3)).contains(&waited), "{waited:?}");
}
