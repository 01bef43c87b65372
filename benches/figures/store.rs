//! What the store costs by itself, in this process: few secrets and very many, both backends, and what a
//! commit of SQLite costs beside it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::Connection;
use secretfs::secret::{Namespace, SecretBytes, SecretName};
use secretfs::store::{Access, Change, Edit, EnvKey, KeySources, NewVersion, Scrub, Stamp, Store};

use crate::common::{TestStore, stdout_of};
use crate::measure::{Samples, in_turn, time};
use crate::table::{Row, Table};

/// Secrets of one `set --from-json`.
const BATCH: usize = 100_000;
const FEW: usize = 100;
const ROUNDS: usize = 15;

/// A store with so many secrets, open.
struct Subject {
    backend: &'static str,
    secrets: usize,
    at: TestStore,
    store: Store,
    /// Where the next secret comes from, so that not always the same page is read.
    next: usize,
}

pub(crate) fn store(table: &mut Table) {
    for (backend, many) in [("sqlite", 10_000), ("file", 10_000)] {
        let mut few = Subject::filled(table, backend, FEW);
        let mut many = Subject::filled(table, backend, many);
        side_by_side(table, &mut few, &mut many);
        as_a_whole(table, &mut many);
    }
}

/// A file of so many names, as one transaction.
fn import(table: &mut Table, backend: &'static str, file: &str, content: &str) {
    let mut samples = Samples::default();
    for _ in 0..3 {
        let at = TestStore::on(backend);
        fs::write(at.folder().join(file), content).expect("a file");
        samples.push(time(|| _ = stdout_of(&at.run(&["--json", "import", file]))));
    }
    table.row(Row::new(&format!("import {BATCH} names, {backend}"), file, &samples));
}

fn env(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "TEAM_KEY{number}=value-{number:010}");
        text
    })
}

/// A million in SQLite.
pub(crate) fn million(table: &mut Table) {
    let mut few = Subject::filled(table, "sqlite", FEW);
    let mut many = Subject::filled(table, "sqlite", 1_000_000);
    side_by_side(table, &mut few, &mut many);
    as_a_whole(table, &mut many);
    import(table, "sqlite", "names.json", &batch(0, BATCH));
    import(table, "sqlite", "names.env", &env(BATCH));
}

/// As many as go into one file, and what that costs.
pub(crate) fn file(table: &mut Table) {
    let mut few = Subject::filled(table, "file", FEW);
    let mut many = Subject::filled(table, "file", 100_000);
    side_by_side(table, &mut few, &mut many);
    import(table, "file", "names.json", &batch(0, BATCH));
    fill_the_file(table);
}

impl Subject {
    fn filled(table: &mut Table, backend: &'static str, secrets: usize) -> Self {
        let at = TestStore::on(backend);
        let mut samples = Samples::default();
        for first in (0..secrets).step_by(BATCH) {
            let batch = batch(first, (first + BATCH).min(secrets));
            samples.push(time(|| _ = stdout_of(&at.run_with(&["--json", "set", "--from-json"], batch))));
        }
        let store = open(&at);
        let subject = Self { backend, secrets, at, store, next: 0 };
        let names = secrets.min(BATCH);
        table.row(Row::new(&subject.title(&format!("set {names} names at once")), "secretfs set", &samples));
        subject
    }

    fn title(&self, what: &str) -> String {
        format!("{what}, {} secrets, {}", self.secrets, self.backend)
    }

    fn get(&mut self) {
        self.next = (self.next + 7_919) % self.secrets;
        let wanted = [(name(self.next), None)];
        let reading = self.store.get(&Namespace::default(), &wanted, Timestamp::now()).expect("a reading");
        assert!(reading.answers[0].is_ok());
    }

    fn get_missing(&mut self) {
        self.next += 1;
        let wanted = [(SecretName::parse(&format!("none/{}", self.next)).expect("a name"), None)];
        let reading = self.store.get(&Namespace::default(), &wanted, Timestamp::now()).expect("a reading");
        assert!(reading.answers[0].is_err());
    }

    fn set(&mut self) {
        self.next = (self.next + 7_919) % self.secrets;
        self.put(name(self.next));
    }

    fn set_new(&mut self) {
        self.next += 1;
        self.put(SecretName::parse(&format!("new/{}", self.next)).expect("a name"));
    }

    fn put(&self, name: SecretName) {
        let value = NewVersion::of_value(SecretBytes::copy_of(b"another value"));
        let put = |change: &mut Change<'_>| change.put(&name, value, &Edit::default());
        self.store.change(&Namespace::default(), stamp(), put).expect("set");
    }

    fn bytes(&self) -> u64 {
        let files = fs::read_dir(self.at.path()).expect("the store's folder");
        files.map(|file| file.expect("a file").metadata().expect("a file").len()).sum()
    }
}

fn open(at: &TestStore) -> Store {
    let sources = KeySources::of_process(Some(at.key_file()), EnvKey::default());
    Store::open(&at.path(), Access::Write, &sources).expect("it opens")
}

fn stamp() -> Stamp {
    Stamp { now: Timestamp::now(), by: "bench".into() }
}

fn name(number: usize) -> SecretName {
    SecretName::parse(&format!("team/key{number}")).expect("a name")
}

fn batch(first: usize, end: usize) -> String {
    let mut text = String::from("{");
    for number in first..end {
        let comma = if number == first { "" } else { "," };
        let _ = write!(text, r#"{comma}"team/key{number}":"value-{number:010}""#);
    }
    text + "}"
}

/// Each thing where there is little and where there is much.
fn side_by_side(table: &mut Table, few: &mut Subject, many: &mut Subject) {
    type Act = fn(&mut Subject);
    let reads: [(&str, u32, Act); 3] = [
        ("open the store", 5, |subject| drop(open(&subject.at))),
        ("get one", 100, Subject::get),
        ("get one that is not there", 5, Subject::get_missing),
    ];
    for (what, times, act) in reads {
        let samples = in_turn(ROUNDS, times, &mut [&mut || act(few), &mut || act(many)]);
        rows(table, what, few, many, &samples, 1.2);
    }
    let writes: [(&str, Act); 2] =
        [("set one that is there", Subject::set), ("set a new one", Subject::set_new)];
    for (what, act) in writes {
        let folder = few.at.folder().join(format!("plain-{}", what.len()));
        let mut floor = Floor::of(&folder);
        let samples = in_turn(ROUNDS, 2, &mut [&mut || floor.commit(), &mut || act(few), &mut || act(many)]);
        table.row(Row::new("a commit of one row", "SQLite, WAL, synchronous=FULL", &samples[0]));
        rows(table, what, few, many, &samples[1..], 1.2);
        let over = Row::new(&many.title(what), "over SQLite's own commit", &samples[2]);
        table.row(over.over(&samples[0], None));
    }
}

fn rows(table: &mut Table, what: &str, few: &Subject, many: &Subject, samples: &[Samples], aim: f64) {
    table.row(Row::new(&few.title(what), "the library", &samples[0]));
    table.row(Row::new(&many.title(what), "the library", &samples[1]).times(&samples[0], aim));
}

/// What the disk itself takes: a database of one row.
struct Floor(Connection, u64);

impl Floor {
    fn of(folder: &Path) -> Self {
        fs::create_dir(folder).expect("a folder");
        let database = Connection::open(folder.join("plain.db")).expect("a database");
        let make = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB);";
        database.execute_batch(make).expect("a table");
        Self(database, 0)
    }

    fn commit(&mut self) {
        self.1 += 1;
        let done = self.0.execute("INSERT OR REPLACE INTO t VALUES (1, ?1)", [self.1.to_le_bytes()]);
        done.expect("a commit");
    }
}

/// What is done to all of it.
fn as_a_whole(table: &mut Table, many: &mut Subject) {
    let per_secret = format!("{} bytes for each", many.bytes() / many.secrets as u64);
    table.row(Row::note(&many.title("on disk"), "the store's files", per_secret, String::new()));
    let mut samples = Samples::default();
    for _ in 0..3 {
        samples.push(time(|| {
            assert!(many.store.list(&Namespace::default()).expect("a list").len() >= many.secrets)
        }));
    }
    table.row(Row::new(&many.title("list all"), "the library", &samples));
    let once = |run: &mut dyn FnMut()| Samples::of([time(run)]);
    let verified = once(&mut || assert!(many.store.inspect().expect("inspected").damages.is_empty()));
    table.row(Row::new(&many.title("verify all"), "the library", &verified));
    let mut sealed = 0;
    let rotated = once(&mut || {
        let done = many.store.rotate_key(&Namespace::default(), &stamp(), &mut |_| {});
        sealed = done.expect("rotated");
    });
    let rate = format!("{:.0} secrets/s", sealed as f64 / rotated.median().as_secs_f64());
    table.row(Row::new(&many.title("rotate the key"), "the library", &rotated).aim(Some(rate)));
    let scrubbed = once(&mut || _ = many.store.scrub(Scrub::Files).expect("scrubbed"));
    table.row(Row::new(&many.title("scrub (VACUUM)"), "the library", &scrubbed));
}

/// Until it says that it is full.
fn fill_the_file(table: &mut Table) {
    let at = TestStore::on("file");
    let step = 25_000;
    for first in (0..).step_by(step) {
        let output = at.run_with(&["--json", "set", "--from-json"], batch(first, first + step));
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
            return table.row(Row::note("one file is full", "file", format!("{first} secrets"), said));
        }
    }
}
