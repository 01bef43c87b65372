//! The log as a whole: what is written can be checked, nothing of it can be changed unseen, and what
//! happens to its file is noticed.

mod denials;
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

/// A generator that a seed repeats (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((it ^ (it >> 31)) % limit as u64) as usize
    }
}

/// One change that somebody makes to a log: never only its end taken away.
fn tamper(lines: &mut Vec<Vec<u8>>, random: &mut Random) -> &'static str {
    let at = random.below(lines.len());
    match random.below(6) {
        0 => {
            let byte = random.below(lines[at].len());
            lines[at][byte] ^= 1 << random.below(8);
            "a bit"
        }
        1 => {
            let byte = random.below(lines[at].len());
            lines[at].remove(byte);
            "a byte less"
        }
        2 => {
            let (byte, new) = (random.below(lines[at].len()), random.below(256) as u8);
            lines[at].insert(byte, new);
            "a byte more"
        }
        3 => {
            lines.remove(random.below(lines.len() - 1));
            "a line less"
        }
        4 => {
            let line = lines[at].clone();
            lines.insert(random.below(lines.len() + 1), line);
            "a line more"
        }
        _ => {
            let other = (at + 1 + random.below(lines.len() - 1)) % lines.len();
            lines.swap(at, other);
            "two lines in another order"
        }
    }
}

/// Who can compute hashes makes the chain anew, and leaves the seals as they are.
fn rechain(lines: &mut [Vec<u8>]) {
    let mut before = String::from_utf8(vec![b'0'; 64]).unwrap();
    for line in lines {
        let text = String::from_utf8(line.strip_suffix(b"\n").unwrap().to_vec()).unwrap();
        let at = text.find("\"prev\":\"").unwrap() + 8;
        let text = format!("{}{before}{}", &text[..at], &text[at + 64..]);
        before = chain::hex(&chain::hash(text.as_bytes()));
        *line = (text + "\n").into_bytes();
    }
}

#[test]
fn each_of_ten_thousand_changes_is_found() {
    let place = Place::new();
    write(&place.audit(1 << 30), 0..11);
    let whole = place.lines();
    assert!(verify(&whole, true).findings.is_empty() && verify(&whole, false).findings.is_empty());
    for number in 0..10_000 {
        let mut lines = whole.clone();
        let what = tamper(&mut lines, &mut Random(number));
        let joined = lines.concat();
        let lines: Vec<_> = joined.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        assert!(!verify(&lines, true).findings.is_empty(), "seed {number}: {what}");
    }
}

#[test]
fn hashes_alone_are_no_proof() {
    let place = Place::new();
    write(&place.audit(1 << 30), 0..40);
    let mut forged = place.lines();
    let text = String::from_utf8(forged[20].clone()).unwrap().replace("\"uid\":1000", "\"uid\":1001");
    forged[20] = text.into_bytes();
    rechain(&mut forged);
    assert!(verify(&forged, false).findings.is_empty(), "the control: the chain is right");
    let report = verify(&forged, true);
    assert!(
        report.findings.iter().any(|it| matches!(it.trouble, Trouble::Changed { seq: 21 })),
        "{report:?}"
    );
}

#[test]
fn a_missing_end_is_seen_against_a_checkpoint_only() {
    let place = Place::new();
    let audit = place.audit(1 << 30);
    write(&audit, 0..20);
    let head = audit.head().unwrap();
    let lines = place.lines();
    let cut = &lines[..lines.len() - 5];
    assert!(verify(cut, true).findings.is_empty(), "the control");
    let check = |lines: &[Vec<u8>], seq: u64, hash: &str| {
        let mut verifier = Verifier::new(Some(vec![seed()]));
        verifier.witness(seq, hash);
        lines.iter().for_each(|line| verifier.take(line));
        verifier.finish().is_sound()
    };
    assert!(check(&lines, head.seq, &head.text()));
    assert!(!check(cut, head.seq, &head.text()) && !check(&lines, head.seq - 1, &head.text()));
}

#[test]
fn a_torn_end_is_told_as_torn_and_closed() {
    let place = Place::new();
    write(&place.audit(1 << 30), 0..5);
    let whole = fs::read(place.path()).unwrap();
    for cut in [2, 40, 100] {
        fs::write(place.path(), &whole[..whole.len() - cut]).unwrap();
        assert!(matches!(place.troubles()[..], [Trouble::Torn { .. }]), "{cut}: {:?}", place.troubles());
        write(&place.audit(1 << 30), 5..8);
        let report = place.report();
        assert!(report.is_sound(), "{cut}: {report:?}");
        assert!(matches!(report.findings[..], [Finding { trouble: Trouble::Torn { .. }, .. }]), "{report:?}");
        // What was closed cannot be taken out, nor something else be put in its place.
        let mut lines = place.lines();
        let torn = lines.iter().position(|line| Record::parse(&line[..line.len() - 1]).is_none()).unwrap();
        lines[torn].insert(0, b'x');
        assert!(!verify(&lines, true).is_sound());
        lines.remove(torn);
        assert!(!verify(&lines, true).is_sound());
    }
}

#[test]
fn a_record_that_lacks_its_break_only_is_whole() {
    let place = Place::new();
    write(&place.audit(1 << 30), 0..5);
    let whole = fs::read(place.path()).unwrap();
    fs::write(place.path(), &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(place.troubles()[..], [Trouble::Torn { .. }]));
    write(&place.audit(1 << 30), 5..8);
    assert_eq!(place.report().findings, []);
}

#[test]
fn what_happens_to_the_file_meanwhile_is_noticed() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("emptied", |path| fs::write(path, "").unwrap()),
        ("cut", |path| {
            let text = fs::read(path).unwrap();
            let end = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
            fs::write(path, &text[..end]).unwrap();
        }),
        ("replaced", |path| {
            fs::rename(path, path.with_extension("old")).unwrap();
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }),
    ];
    for (what, change) in changes {
        let place = Place::new();
        let audit = place.audit(1 << 30);
        write(&audit, 0..5);
        change(&place.path());
        write(&audit, 5..8);
        let report = place.report();
        assert!(!report.is_sound(), "{what}: {report:?}");
        let lost = place
            .lines()
            .iter()
            .filter(|line| String::from_utf8_lossy(line).contains("\"log-lost\""))
            .count();
        assert_eq!(lost, 1, "{what}");
    }
}

#[test]
fn nothing_is_written_where_it_could_go_astray() {
    let place = Place::new();
    let elsewhere = place.dir.path().join("elsewhere");
    type Make = fn(&Path, &Path);
    let unfit: [(&str, Make); 5] = [
        ("symbolic link", |path, other| symlink(other, path).unwrap()),
        ("open to others", |path, _| {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("linked from elsewhere", |path, other| {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::hard_link(path, other).unwrap();
        }),
        ("no regular file", |path, _| {
            nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        }),
        ("Is a directory", |path, _| fs::create_dir(path).unwrap()),
    ];
    for (what, make) in unfit {
        make(&place.path(), &elsewhere);
        let error = place.audit(1 << 30).record(event(0)).unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
        let _ = fs::remove_file(place.path()).or_else(|_| fs::remove_dir(place.path()));
        let _ = fs::remove_file(&elsewhere);
    }
    // What was wrong is mended: the same one goes on.
    let audit = place.audit(1 << 30);
    symlink(&elsewhere, place.path()).unwrap();
    assert!(audit.record(event(0)).is_err());
    fs::remove_file(place.path()).unwrap();
    audit.record(event(1)).unwrap();
    assert_eq!(place.report().findings, []);
}

#[test]
fn what_is_not_required_does_not_keep_anybody_from_reading() {
    let config = |required| AuditConfig {
        file: Some("/nowhere/at/all/audit.log".into()),
        required: Some(required),
        ..AuditConfig::default()
    };
    assert!(Audit::new(config(false), Seed::from(|| Some(seed()))).record(event(0)).is_ok());
    let error = Audit::new(config(true), Seed::from(|| Some(seed()))).record(event(0)).unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("mkdir -p -m 700 /nowhere/at/all"));
    let locked = Audit::new(config(true), Seed::Locked).record(event(0)).unwrap_err();
    assert!(matches!(locked, AuditError::NoKey));
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
