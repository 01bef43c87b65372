//! Readers of every kind, all of which hold what they see against the number as it was written.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::common::Map;
use super::server::{Held, text};

/// How a reader gets at the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Read,
    Mapped,
    Sendfile,
    /// Of a file that stays open for many reads.
    Offsets,
    /// The folder, and a file below it.
    Listed,
    /// A file whose rendering takes long.
    Slow,
    /// A single file that is bound elsewhere.
    Bound,
}

/// What all readers together saw.
#[derive(Default)]
pub(crate) struct Tally {
    reads: AtomicU64,
    longest: Mutex<Duration>,
    faults: Mutex<Vec<String>>,
}

impl Tally {
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    fn fault(&self, way: Way, what: impl fmt::Display) {
        let mut faults = self.faults.lock().unwrap();
        if faults.len() < 20 {
            faults.push(format!("{way:?}: {what}"));
        }
    }

    fn took(&self, time: Duration) {
        let mut longest = self.longest.lock().unwrap();
        *longest = time.max(*longest);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = *self.longest.lock().unwrap();
        write!(f, "{} reads, {} faults, longest pause {longest:?}", self.reads(), self.faults().len())
    }
}

/// Readers, and one who turns the number, until `drive` has ended.
pub(crate) fn race(held: &Held, bound: &Path, ways: &[Way], drive: impl FnOnce()) -> Tally {
    let (tally, is_over) = (Tally::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        for (index, &way) in ways.iter().enumerate() {
            let (tally, is_over) = (&tally, &is_over);
            scope.spawn(move || {
                let mut round = index;
                while !is_over.load(Ordering::Acquire) {
                    round += 1;
                    judge(held, bound, way, round, tally);
                }
            });
        }
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                held.turn();
                thread::sleep(Duration::from_millis(3));
            }
        });
        let _end = End(held, &is_over);
        drive();
    });
    tally
}

/// Lets everybody end; if the test has failed, also those who wait for nobody.
struct End<'a>(&'a Held, &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Release);
        if thread::panicking() {
            self.0.abort();
        }
    }
}

fn judge(held: &Held, bound: &Path, way: Way, round: usize, tally: &Tally) {
    let path = held.path(&format!("f{}", round % 4));
    let (least, start) = (held.number(), Instant::now());
    let seen = match way {
        Way::Read => whole(&path),
        Way::Mapped => File::open(&path).and_then(|file| Ok(Map::of(&file, libc::MAP_SHARED)?.to_vec())),
        Way::Sendfile => File::open(&path).and_then(|file| sendfile(&file)),
        Way::Offsets => offsets(&path),
        Way::Listed => listed(held),
        Way::Slow => whole(&held.path("slow")),
        Way::Bound => whole(bound),
    };
    if !matches!(way, Way::Slow | Way::Offsets) {
        tally.took(start.elapsed());
    }
    tally.reads.fetch_add(1, Ordering::Relaxed);
    let seen = match seen {
        Ok(seen) => String::from_utf8(seen).unwrap_or_default(),
        Err(error) => return tally.fault(way, error),
    };
    let number = seen.split(['.', '|']).next().and_then(|number| number.parse().ok()).unwrap_or(0);
    if seen != text(number) {
        tally.fault(way, format!("{} bytes that are not those of {number}", seen.len()));
    } else if number < least && !matches!(way, Way::Bound) {
        tally.fault(way, format!("{number} where {least} was written"));
    }
}

fn whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(io::Error::other("another size")) }
}

/// Reads the same open file for a while, piece by piece: it never changes.
fn offsets(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut first = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut first, 0)?;
    let end = Instant::now() + Duration::from_millis(150);
    while Instant::now() < end {
        let mut again = vec![0; first.len()];
        for (at, piece) in again.chunks_mut(1_000).enumerate() {
            file.read_exact_at(piece, at as u64 * 1_000)?;
        }
        if again != first {
            return Err(io::Error::other("an open file has changed"));
        }
    }
    Ok(first)
}

fn listed(held: &Held) -> io::Result<Vec<u8>> {
    let names = fs::read_dir(held.path(""))?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    if names.len() != fs::read_dir(held.folder().join("templates"))?.count() {
        return Err(io::Error::other(format!("a folder of {names:?}")));
    }
    whole(&held.path("below/f"))
}

/// By way of the page cache, as busybox `cat` and nginx do.
fn sendfile(file: &File) -> io::Result<Vec<u8>> {
    let (mut end, pipe) = io::pipe()?;
    let file = file.try_clone()?;
    let copier = thread::spawn(move || -> io::Result<()> {
        while nix::sys::sendfile::sendfile(&pipe, &file, None, 1 << 16)? > 0 {}
        Ok(())
    });
    let mut bytes = Vec::new();
    end.read_to_end(&mut bytes)?;
    copier.join().expect("the copier does not panic")?;
    Ok(bytes)
}
