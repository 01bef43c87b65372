//! What a writer has written is what the next open reads, whole, through the real mount, while
//! many read and one writes as fast as the store lets it. Two secrets change in one transaction,
//! so that a rendering made of two moments shows.

mod common;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{SharedNode, TestMount, TestStore, long};
use secretfs::secret::{Namespace, SecretBytes, SecretName};
use secretfs::store::{Access, Edit, EnvKey, KeySources, NewVersion, Stamp, Store};

/// How a reader gets at the bytes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Read,
    Mapped,
    Sendfile,
}

/// What all readers together saw.
#[derive(Default)]
struct Tally {
    written: AtomicU64,
    opens: AtomicU64,
    stale: AtomicU64,
    mixed: AtomicU64,
    sizes: AtomicU64,
    errors: AtomicU64,
}

#[test]
fn no_open_is_stale_and_no_byte_is_foreign_while_a_writer_rotates() {
    race_with_a_writer(TestStore::new(), if long() { 120 } else { 8 }, 50);
}

#[test]
fn nor_is_one_of_a_store_in_one_file() {
    // Each of its writes is two syncs and a new file: on a busy machine a few in a second.
    race_with_a_writer(TestStore::on("file"), if long() { 120 } else { 3 }, 5);
}

fn race_with_a_writer(store: TestStore, seconds: u64, writes: u64) {
    let mount = TestMount::on(store)
        .secret("a", "0")
        .secret("b", "0")
        .template("f.tpl", "<< secrets.a >>|<< secrets.b >>")
        .start();
    let store = open(mount.store());
    let ways = [Way::Read, Way::Read, Way::Mapped, Way::Sendfile];
    let tally = race(&mount.path("f"), Duration::from_secs(seconds), &ways, |number| write(&store, number));
    assert!(tally.opens() > 200 && tally.writes() > writes, "too little happened to mean anything");
    assert_eq!(tally.faults(), [0; 4]);
}

/// The control: with one node for all snapshots the same race finds foreign bytes or sizes.
#[test]
fn a_shared_node_fails_this_race() {
    let control = SharedNode::start("serve_a_shared_node");
    // No mapping: there a file that shrinks ends its reader by SIGBUS.
    let ways = [Way::Read, Way::Read, Way::Sendfile];
    let pause = |_| std::thread::sleep(Duration::from_millis(2));
    let [_, mixed, sizes, _] = race(&control.file(), Duration::from_secs(2), &ways, pause).faults();
    assert!(mixed + sizes > 0, "the control found nothing");
}

#[test]
#[ignore = "the control of `a_shared_node_fails_this_race`, which runs it in a process of its own"]
fn serve_a_shared_node() {
    let start = Instant::now();
    // Another content every 2 ms.
    common::serve(Box::new(move |_| text(1 + start.elapsed().as_millis() as u64 / 2).into_bytes()));
}

/// One writer, and readers each in its way. Prints what came of it.
fn race(path: &Path, time: Duration, ways: &[Way], write: impl Fn(u64) + Sync) -> Tally {
    let (tally, done, end) = (Tally::default(), AtomicBool::new(false), Instant::now() + time);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < end {
                let next = tally.writes() + 1;
                write(next);
                tally.written.store(next, Ordering::Release);
            }
            done.store(true, Ordering::Release);
        });
        for &way in ways {
            let (tally, done) = (&tally, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    judge(way, path, tally);
                }
            });
        }
    });
    let faults = tally.faults();
    println!(
        "{} writes, {} opens; stale, mixed, wrong size, errors: {faults:?}",
        tally.writes(),
        tally.opens()
    );
    tally
}

/// The judge itself must be able to find each fault.
#[test]
fn the_judge_finds_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let judged = |text: &str, written: u64| {
        std::fs::write(&path, text).unwrap();
        let tally = Tally { written: AtomicU64::new(written), ..Tally::default() };
        judge(Way::Read, &path, &tally);
        tally.faults()
    };
    assert_eq!(judged(&text(7), 7), [0, 0, 0, 0]);
    assert_eq!(judged(&text(6), 7), [1, 0, 0, 0]);
    assert_eq!(judged(&format!("{}|{}", value(7), value(8)), 7), [0, 1, 0, 0]);
    assert_eq!(judged("", 7), [0, 1, 0, 0]);
}

impl Tally {
    fn writes(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    fn opens(&self) -> u64 {
        self.opens.load(Ordering::Relaxed)
    }

    /// Stale, mixed, of a wrong size, failed.
    fn faults(&self) -> [u64; 4] {
        [&self.stale, &self.mixed, &self.sizes, &self.errors].map(|count| count.load(Ordering::Relaxed))
    }
}

fn open(store: &TestStore) -> Store {
    let sources = KeySources::of_process(Some(store.key_file()), EnvKey::default());
    Store::open(&store.path(), Access::Write, &sources).unwrap()
}

/// A value that tells its number and has a length of its own.
fn value(number: u64) -> String {
    format!("{number}{}", ".".repeat(number as usize * 37 % 5_000))
}

fn text(number: u64) -> String {
    format!("{}|{}", value(number), value(number))
}

fn write(store: &Store, number: u64) {
    let value = value(number);
    store
        .change(&Namespace::default(), Stamp { now: jiff::Timestamp::now(), by: "test".into() }, |change| {
            for name in ["a", "b"] {
                let version = NewVersion::of_value(SecretBytes::copy_of(value.as_bytes()));
                change.put(&SecretName::parse(name).unwrap(), version, &Edit::default())?;
            }
            Ok::<_, secretfs::store::StoreError>(())
        })
        .unwrap();
}

/// Opens once and holds what it sees against what was written before.
fn judge(way: Way, path: &Path, tally: &Tally) {
    let least = tally.writes();
    let (size, bytes) = match look(way, path) {
        Ok(seen) => seen,
        Err(error) => {
            println!("{way:?}: {error}");
            tally.errors.fetch_add(1, Ordering::Relaxed);
            return;
        }
    };
    tally.opens.fetch_add(1, Ordering::Relaxed);
    if size != bytes.len() as u64 {
        tally.sizes.fetch_add(1, Ordering::Relaxed);
    }
    let seen = String::from_utf8_lossy(&bytes);
    let number: u64 =
        seen.split('.').next().unwrap_or_default().split('|').next().unwrap_or_default().parse().unwrap_or(0);
    if *seen != text(number) {
        tally.mixed.fetch_add(1, Ordering::Relaxed);
    } else if number < least {
        tally.stale.fetch_add(1, Ordering::Relaxed);
    }
}

fn look(way: Way, path: &Path) -> std::io::Result<(u64, Vec<u8>)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    match way {
        Way::Read => drop(file.read_to_end(&mut bytes)?),
        Way::Mapped => bytes.extend_from_slice(&common::Map::of(&file, libc::MAP_SHARED)?),
        Way::Sendfile => bytes = sendfile(&file)?,
    }
    Ok((size, bytes))
}

/// By way of the page cache, as busybox `cat` and nginx do.
fn sendfile(file: &File) -> std::io::Result<Vec<u8>> {
    let (mut end, pipe) = std::io::pipe()?;
    let file = file.try_clone()?;
    let copier = std::thread::spawn(move || -> std::io::Result<()> {
        while nix::sys::sendfile::sendfile(&pipe, &file, None, 1 << 16)? > 0 {}
        Ok(())
    });
    let mut bytes = Vec::new();
    end.read_to_end(&mut bytes)?;
    copier.join().expect("the copier does not panic")?;
    Ok(bytes)
}
