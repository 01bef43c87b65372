//! What a daemon lives through in weeks, in seconds (minutes in the long form): readers and writers
//! that never pause, workers that are killed, reloads; and that it needs no more at the end than in
//! the middle.

#[path = "../common/mod.rs"]
mod common;
mod footprint;
mod load;

use std::fs::File;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Daemon, Writer, stdout_of, tool};
use footprint::watch;
use load::{FILES, Load};

fn minutes_or(minutes: u64, short: Duration) -> Duration {
    if common::long() { Duration::from_secs(60 * minutes) } else { short }
}

/// Each second, whatever it is doing.
#[test]
fn a_kill_each_second_fails_no_read() {
    let load = Load::start(8, 2);
    let end = Instant::now() + minutes_or(5, Duration::from_secs(12));
    let mut kills = 0;
    while Instant::now() < end {
        let next = Instant::now() + Duration::from_secs(1);
        load.daemon.kill_worker();
        kills += 1;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let (daemon, tally) = load.stop();
    println!("{kills} kills; {tally}");
    tally.expect_clean();
    assert!(kills > 10 && tally.reads > 10 * FILES && tally.rotations > kills, "too little happened");
    assert_eq!(daemon.workers().len(), 1);
    assert_eq!(daemon.mounts().len(), 1);
}

/// Neither holder nor worker grows: with readers that stay, readers that come and go, rotations, and
/// a reload each second.
#[test]
fn a_daemon_that_lives_long_needs_no_more() {
    let load = Load::start(4, 1);
    let worker = load.daemon.worker_pid();
    let end = Instant::now() + minutes_or(10, Duration::from_secs(15));
    let footprints = watch(&load.daemon, |&round| {
        run_a_reader(&load.daemon, round);
        if round % 5 == 0 {
            touch_config(&load.daemon, round);
            stdout_of(&load.daemon.run(&["reload"]));
        }
        Instant::now() < end
    });
    let (daemon, tally) = load.stop();
    println!("{tally}\n{footprints}");
    tally.expect_clean();
    assert_eq!(daemon.worker_pid(), worker, "it has lived through it");
    let grown = footprints.grown();
    assert!(grown.is_none(), "{grown:?}");
}

/// The control: who keeps open what it reads makes the daemon keep each content.
#[test]
fn what_grows_is_seen() {
    let load = Load::start(0, 0);
    let (writer, mut kept) = (Writer::of(load.daemon.store()), Vec::new());
    let footprints = watch(&load.daemon, |&round| {
        for file in (0..FILES).filter(|file| load::is_large(*file)) {
            load::rotate(&writer, file, 2 + round as u64);
            kept.push(File::open(load.daemon.path(&load::name(file))).expect("opened"));
        }
        round < 30
    });
    println!("{} files kept open\n{footprints}", kept.len());
    assert!(footprints.grown().is_some_and(|it| it.contains("memory of the worker")));
}

/// A program that reads all of it once, and ends.
fn run_a_reader(daemon: &Daemon, round: usize) {
    let mut cat = Command::new(tool("cat"));
    let files = (0..FILES).map(|file| daemon.path(&load::name(file + round)));
    let status = cat.args(files).stdout(Stdio::null()).status().expect("cat can be started");
    assert!(status.success(), "{status}");
}

/// Another config each time, of the same mount.
fn touch_config(daemon: &Daemon, round: usize) {
    let text = load::config(Duration::from_millis(4_000 + round as u64));
    daemon.config(&text);
}
