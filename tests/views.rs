//! Nobody gets another reader's bytes: one file that says who reads it, read by several users at
//! once in every way that the kernel knows, each thread under a uid of its own.

mod common;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Map, SharedNode, TestMount, become_user, long};

const UIDS: [u32; 4] = [0, 64_751, 64_752, 64_753];
/// Long enough for several pages, and another length for each reader.
const PATTERN: usize = 9_000;

/// Reads, and how many of them gave foreign bytes or failed.
#[derive(Default)]
struct Tally {
    reads: AtomicU64,
    foreign: AtomicU64,
    failed: AtomicU64,
}

#[test]
fn each_reader_gets_its_own_view() {
    let config = "mounts:\n  - {at: mnt, templates: templates, mode: \"0444\"}\n";
    let filler = "x".repeat(PATTERN);
    let mount = TestMount::new()
        .template("f.tpl", format!("<< reader.uid >>|{filler}|<< reader.uid >>"))
        .config(config)
        .start();
    let (time, enough) = if long() { (3_600, 10_000_000) } else { (5, u64::MAX) };
    let tally = race(&mount.path("f"), Duration::from_secs(time), enough);
    println!("{} reads, {} foreign, {} failed", tally.0, tally.1, tally.2);
    assert!(tally.0 > 500, "too little happened to mean anything");
    assert_eq!((tally.1, tally.2), (0, 0));
}

/// The control: the same with one node for all readers.
#[test]
fn a_shared_node_hands_out_foreign_bytes() {
    let control = SharedNode::start("serve_a_shared_node");
    let (reads, foreign, _) = race(&control.file(), Duration::from_secs(2), u64::MAX);
    assert!(foreign > 0, "the control found nothing in {reads} reads");
}

#[test]
#[ignore = "the control of `a_shared_node_hands_out_foreign_bytes`, which runs it in a process of its own"]
fn serve_a_shared_node() {
    common::serve(Box::new(|uid| text(uid).into_bytes()));
}

fn text(uid: u32) -> String {
    format!("{uid}|{}|{uid}", "x".repeat(PATTERN))
}

/// Until the time is over or there were enough reads. Answers with reads, foreign ones, failed ones.
fn race(path: &Path, time: Duration, enough: u64) -> (u64, u64, u64) {
    let (tally, end) = (Tally::default(), Instant::now() + time);
    std::thread::scope(|scope| {
        for uid in UIDS {
            let tally = &tally;
            scope.spawn(move || {
                become_user(uid);
                while Instant::now() < end && tally.reads.load(Ordering::Relaxed) < enough {
                    look(uid, path, tally);
                }
            });
        }
    });
    let [reads, foreign, failed] =
        [&tally.reads, &tally.foreign, &tally.failed].map(|count| count.load(Ordering::Relaxed));
    (reads, foreign, failed)
}

/// Maps first and looks later, as who waits for another reader's bytes would.
fn look(uid: u32, path: &Path, tally: &Tally) {
    let own = text(uid);
    let outcome = (|| -> std::io::Result<bool> {
        let mut file = File::open(path)?;
        let map = Map::of(&file, libc::MAP_SHARED)?;
        let mut read = Vec::new();
        file.read_to_end(&mut read)?;
        Ok(read == own.as_bytes() && *map == *own.as_bytes())
    })();
    // A mapped one and a plain one.
    tally.reads.fetch_add(2, Ordering::Relaxed);
    match outcome {
        Ok(true) => {}
        Ok(false) => drop(tally.foreign.fetch_add(1, Ordering::Relaxed)),
        Err(_) => drop(tally.failed.fetch_add(1, Ordering::Relaxed)),
    }
}
