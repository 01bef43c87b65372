//! The log as a whole: what is written can be checked, by whoever has its keys, and be asked for. And what
//! the stories beside it share: a place for a log, and what to write to it.

mod changes;
mod denials;
mod file;
mod journal;
mod memory;
mod tampering;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::policy::Verdict;
use crate::secret::SecretBytes;

/// A clock that goes on by a second each time.
#[derive(Clone)]
struct Ticking(Arc<Mutex<Timestamp>>);

impl Ticking {
    fn new() -> Self {
        Self(Arc::new(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap())))
    }

    fn skip(&self, seconds: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_secs(seconds);
    }
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        self.skip(1);
        *self.0.lock().unwrap()
    }
}

struct Place {
    dir: TempDir,
    clock: Ticking,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), clock: Ticking::new() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("audit.log")
    }

    fn audit(&self, size: usize) -> Audit {
        let config = AuditConfig {
            file: Some(self.path()),
            size: Some(size),
            keep: Some(3),
            ..AuditConfig::default()
        };
        Audit::with_clock(config, Seed::from(|| Some(seed())), Box::new(self.clock.clone()))
    }

    fn lines(&self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        read(&self.path(), |line| lines.push(line.to_vec())).unwrap();
        lines
    }

    fn report(&self) -> Report {
        verify(&self.lines(), true)
    }

    fn troubles(&self) -> Vec<Trouble> {
        self.report().findings.into_iter().map(|it| it.trouble).collect()
    }
}

fn seed() -> SecretBytes {
    SecretBytes::copy_of(&[7; 32])
}

fn event(number: u64) -> Event {
    let named = Named {
        name: format!("db/{}", number % 7),
        provider: Some("store".into()),
        path: None,
        version: Some(number),
    };
    Event {
        file: Some(format!("/run/app/{number}.env")),
        secrets: vec![named],
        verdict: Some("real".into()),
        ..Event::new(Kind::Read, Who { uid: 1000, gid: 1000, pid: 42, ..Who::default() })
    }
}

fn verify(lines: &[Vec<u8>], with_keys: bool) -> Report {
    let mut verifier = Verifier::new(with_keys.then(|| vec![seed()]));
    lines.iter().for_each(|line| verifier.take(line));
    verifier.finish()
}

fn write(audit: &Audit, numbers: std::ops::Range<u64>) {
    numbers.for_each(|number| audit.record(event(number)).unwrap());
}

#[test]
fn what_was_written_is_sound_over_files_epochs_and_processes() {
    let place = Place::new();
    let first = place.audit(64 << 10);
    let other = place.audit(64 << 10);
    write(&first, 0..1500);
    write(&other, 1500..1510);
    place.clock.skip(3600);
    write(&first, 1510..1520);
    write(&place.audit(64 << 10), 1520..1530);
    assert!(files(&place.path()).len() > 2, "the control: it has more than one file");
    let report = place.report();
    assert_eq!(report.findings, [], "{report:?}");
    assert_eq!(
        report.last.as_ref().unwrap().epoch,
        3,
        "a thousand lines, a quarter of an hour, and a long pause"
    );
    assert_eq!(fs::metadata(place.path()).unwrap().mode() & 0o777, 0o600);
    assert!(report.first > Some(1), "the control: the oldest ones were let go, and it says so");
}

#[test]
fn many_at_once_are_all_written_and_share_writes() {
    let place = Place::new();
    let audit = place.audit(1 << 30);
    thread::scope(|scope| {
        for number in 0..16 {
            let audit = &audit;
            scope.spawn(move || write(audit, number * 100..(number + 1) * 100));
        }
    });
    let report = place.report();
    assert_eq!((report.findings.len(), report.records), (0, 1601));
}

#[test]
fn a_log_without_a_store_has_a_key_beside_it() {
    let place = Place::new();
    let config = AuditConfig { file: Some(place.path()), ..AuditConfig::default() };
    for number in 0..2 {
        Audit::new(config.clone(), Seed::Beside).record(event(number)).unwrap();
    }
    let key = place.dir.path().join("audit.log.key");
    assert_eq!(fs::metadata(key).unwrap().mode() & 0o777, 0o600);
    let report = |store: bool| {
        let store = store.then(seed).into_iter().collect();
        let mut verifier = Verifier::new(Some(Seeds { store, beside: beside_now(&place.path()) }));
        place.lines().iter().for_each(|line| verifier.take(line));
        verifier.finish()
    };
    assert_eq!((report(false).findings.as_slice(), report(false).beside), ([].as_slice(), 0));
    assert!(!place.report().is_sound(), "the control: by another key");
    // A store was made since: from then on, the key beside the log proves nothing.
    assert_eq!(
        (report(true).is_sound(), report(true).beside),
        (true, 3),
        "told how many are not the store's"
    );
    write(&place.audit(1 << 30), 2..4);
    assert!(report(true).is_sound());
    Audit::new(config.clone(), Seed::Beside).record(event(4)).unwrap();
    let report = report(true);
    assert!(report.findings.iter().any(|it| matches!(it.trouble, Trouble::Beside { .. })), "{report:?}");
}

#[test]
fn a_query_takes_what_fits_in_all() {
    let place = Place::new();
    write(&place.audit(1 << 30), 0..14);
    let count = |query: Query| {
        let records = place.lines();
        records
            .iter()
            .filter_map(|line| Record::parse(line.trim_ascii_end()))
            .filter(|it| query.fits(it))
            .count()
    };
    let pattern = |text: &str| crate::policy::Pattern::parse(text).ok();
    assert_eq!(count(Query { secret: pattern("db/3"), ..Query::default() }), 2);
    assert_eq!(count(Query { secret: pattern("db/*"), uid: Some(1000), ..Query::default() }), 14);
    assert_eq!(count(Query { verdict: Some(Verdict::Deny), ..Query::default() }), 0);
    assert_eq!(count(Query { file: pattern("/run/app/1*"), event: Some(Kind::Read), ..Query::default() }), 5);
    assert_eq!(count(Query { event: Some(Kind::LogBegun), ..Query::default() }), 1);
}
