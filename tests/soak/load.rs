//! A daemon under load: threads that read its files one after the other, and others that rotate
//! what stands in them. Each content is judged: as new as what was written before its open, and of
//! one piece.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use secretfs::secret::SecretType;

use super::common::{Daemon, TestDaemon, TestStore, Writer};

pub(crate) const FILES: usize = 50;
/// What a large file has beside its numbers, so that it takes several READs.
const LARGE: usize = 160 << 10;
/// From one rotation of a writer to its next.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Load {
    pub(crate) daemon: Daemon,
    shared: Arc<Shared>,
    readers: Vec<JoinHandle<Tally>>,
    writers: Vec<JoinHandle<usize>>,
}

struct Shared {
    numbers: Vec<Number>,
    is_over: AtomicBool,
}

/// What stands in a file: at least what has been written, at most what is being written.
struct Number {
    written: AtomicU64,
    begun: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) reads: usize,
    pub(crate) rotations: usize,
    failures: Vec<String>,
    longest: Duration,
}

/// The name of a file; those past the last one begin again.
pub(crate) fn name(file: usize) -> String {
    format!("f{}", file % FILES)
}

pub(crate) fn is_large(file: usize) -> bool {
    file.is_multiple_of(5)
}

pub(crate) fn config(deadline: Duration) -> String {
    format!("mounts:\n- {{at: mnt, templates: templates, deadline: {}ms}}\n", deadline.as_millis())
}

impl Load {
    pub(crate) fn start(readers: usize, writers: usize) -> Self {
        let store = TestStore::new();
        let writer = Writer::of(&store);
        (0..FILES).for_each(|file| rotate(&writer, file, 1));
        let mut daemon = TestDaemon::on(store).config(&config(Duration::from_secs(4)));
        for file in 0..FILES {
            daemon = daemon.template(&format!("{}.tpl", name(file)), template(file));
        }
        let numbers = (0..FILES).map(|_| Number { written: 1.into(), begun: 1.into() }).collect();
        let shared = Arc::new(Shared { numbers, is_over: AtomicBool::new(false) });
        let daemon = daemon.start();
        let paths: Vec<_> = (0..FILES).map(|file| daemon.path(&name(file))).collect();
        let reader = |number| {
            let (shared, paths) = (shared.clone(), paths.clone());
            thread::spawn(move || shared.read_all(&paths, number))
        };
        let writer = |number| {
            let (shared, writer) = (shared.clone(), Writer::of(daemon.store()));
            thread::spawn(move || shared.rotate_all(&writer, number, writers))
        };
        Self {
            readers: (0..readers).map(reader).collect(),
            writers: (0..writers).map(writer).collect(),
            shared,
            daemon,
        }
    }

    pub(crate) fn stop(self) -> (Daemon, Tally) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let tallies = self.readers.into_iter().map(|it| it.join().expect("no reader panics"));
        let mut tally = tallies.fold(Tally::default(), Tally::and);
        tally.rotations = self.writers.into_iter().map(|it| it.join().expect("no writer panics")).sum();
        (self.daemon, tally)
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Each reader begins elsewhere.
    fn read_all(&self, paths: &[PathBuf], reader: usize) -> Tally {
        let mut tally = Tally::default();
        for file in (0..FILES).cycle().skip(reader * 7).take_while(|_| !self.is_over()) {
            let number = &self.numbers[file];
            let (least, start) = (number.written.load(Ordering::Acquire), Instant::now());
            let read = std::fs::read_to_string(&paths[file]);
            tally.longest = tally.longest.max(start.elapsed());
            tally.reads += 1;
            let most = number.begun.load(Ordering::Acquire);
            let outcome =
                read.map_err(|error| error.to_string()).and_then(|it| judge(&it, file, least..=most));
            tally.failures.extend(outcome.err().map(|why| format!("{}: {why}", name(file))));
        }
        tally
    }

    /// Each writer has files of its own.
    fn rotate_all(&self, writer: &Writer, first: usize, step: usize) -> usize {
        let mut rotations = 0;
        for file in (first..FILES).step_by(step).cycle().take_while(|_| !self.is_over()) {
            let number = &self.numbers[file];
            let next = 1 + number.begun.fetch_add(1, Ordering::AcqRel);
            rotate(writer, file, next);
            number.written.store(next, Ordering::Release);
            rotations += 1;
            thread::sleep(PAUSE);
        }
        rotations
    }
}

impl Tally {
    fn and(mut self, other: Self) -> Self {
        self.failures.extend(other.failures);
        Self { reads: self.reads + other.reads, longest: self.longest.max(other.longest), ..self }
    }

    #[track_caller]
    pub(crate) fn expect_clean(&self) {
        let few: Vec<_> = self.failures.iter().take(10).collect();
        assert!(self.failures.is_empty(), "{} of {} failed: {few:#?}", self.failures.len(), self.reads);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads, rotations, failures, longest } = self;
        write!(
            f,
            "{reads} reads, {rotations} rotations, {} failed, longest pause {longest:?}",
            failures.len()
        )
    }
}

pub(crate) fn rotate(writer: &Writer, file: usize, number: u64) {
    let (secret, value) = (format!("s{file}"), number.to_string());
    writer.put(&[(&secret, SecretType::Plain, &[("value", &value)])]);
}

fn template(file: usize) -> String {
    format!("<< secrets.s{file} >>{}<< secrets.s{file} >>", between(file))
}

fn between(file: usize) -> String {
    format!("|{}|", "-".repeat(if is_large(file) { LARGE } else { 0 }))
}

fn judge(text: &str, file: usize, numbers: RangeInclusive<u64>) -> Result<(), String> {
    let number = text.split('|').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    if text != format!("{number}{}{number}", between(file)) {
        return Err(format!("{} bytes that are not of one piece", text.len()));
    }
    match numbers.contains(&number) {
        true => Ok(()),
        false => Err(format!("{number}, but {numbers:?} was written")),
    }
}
