//! Processes that write one store and processes that read it, all at once: no update is lost, no
//! reading is mixed of two commits or older than one before it, and nobody fails but for being busy.

mod common;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{TestStore, long};
use jiff::Timestamp;
use secretfs::secret::{Namespace, SecretBytes, SecretName};
use secretfs::store::{Access, Change, Edit, EnvKey, Keep, KeySources, NewVersion, Stamp, Store, StoreError};

const WRITERS: usize = 4;
const READERS: usize = 16;
/// They are counted up together, always in one change.
const COUNTERS: [&str; 2] = ["count/one", "count/two"];

#[test]
fn sqlite_loses_no_update() {
    loses_no_update("sqlite");
}

#[test]
fn a_store_in_one_file_loses_no_update() {
    loses_no_update("file");
}

fn loses_no_update(backend: &str) {
    let end = race(backend, "counts", READERS, if long() { 60 } else { 4 });
    println!("{backend}: {} written, {} times busy, {} read", end.written, end.busy, end.read);
    assert_eq!(end.counted, [end.written; 2], "updates are lost");
    assert!(end.written > 4 && end.read > 20, "next to nothing was done: {end:?}");
}

/// The control: who reads in one change and writes in the next one loses what came between.
#[test]
fn this_race_loses_updates_of_careless_writers() {
    let end = race("sqlite", "counts carelessly", 0, 1);
    assert!(end.counted[0] < end.written, "{end:?}");
}

/// What all of them together did.
#[derive(Debug)]
struct End {
    written: u64,
    busy: u64,
    read: u64,
    /// What the counters say afterwards.
    counted: [u64; 2],
}

#[track_caller]
fn race(backend: &str, writes: &str, readers: usize, seconds: u64) -> End {
    let store = TestStore::on(backend);
    COUNTERS.iter().for_each(|name| _ = store.set(name, "0"));
    let start = |role: &str| start(&store, role, seconds);
    let writers: Vec<Child> = (0..WRITERS).map(|_| start(writes)).collect();
    let readers: Vec<Child> = (0..readers).map(|_| start("reads")).collect();
    let [written, busy] = sum(writers);
    let [read, _] = sum(readers);
    let sources = KeySources::of_process(Some(store.key_file()), EnvKey::default());
    let opened = Store::open(&store.path(), Access::Read, &sources).expect("it opens");
    assert!(opened.inspect().expect("inspected").damages.is_empty());
    End { written, busy, read, counted: counts(&opened) }
}

fn start(store: &TestStore, role: &str, seconds: u64) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "one_process", "--ignored", "--nocapture", "--quiet"]).stdout(Stdio::piped());
    let of = serde_json::json!({"folder": store.folder(), "role": role, "seconds": seconds});
    child.env("ONE_PROCESS", of.to_string()).spawn().expect("this program can be started")
}

/// What the last two numbers of each say, together. One that fails has said why on its stderr.
#[track_caller]
fn sum(children: Vec<Child>) -> [u64; 2] {
    children.into_iter().fold([0; 2], |[one, two], child| {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers = said.lines().find_map(|line| line.split_once("did ")).expect("numbers").1;
        let mut numbers = numbers.split(' ').map(|number| number.parse::<u64>().expect("a number"));
        [one + numbers.next().expect("one"), two + numbers.next().expect("two")]
    })
}

#[test]
#[ignore = "one of the processes of the other tests"]
fn one_process() {
    let Ok(of) = std::env::var("ONE_PROCESS") else { return };
    let of: serde_json::Value = serde_json::from_str(&of).expect("what to do");
    let folder = std::path::PathBuf::from(of["folder"].as_str().expect("a folder"));
    let sources = KeySources::of_process(Some(folder.join("master.key")), EnvKey::default());
    let open = |access| Store::open(&folder.join("store"), access, &sources).expect("it opens");
    let default = Namespace::default();
    let end = Instant::now() + Duration::from_secs(of["seconds"].as_u64().expect("a number"));
    let [done, busy] = match of["role"].as_str().expect("a role") {
        "reads" => read(&open(Access::Read), end),
        "counts" => write(&open(Access::Write), end, |store| store.change(&default, stamp(), count_up)),
        _ => write(&open(Access::Write), end, |store| {
            let next = counts(store)[0] + 1;
            store.change(&default, stamp(), |change| put(change, next))
        }),
    };
    println!("did {done} {busy}");
}

/// How often it was done, and how often another was busy.
fn write(store: &Store, end: Instant, work: impl Fn(&Store) -> Result<(), StoreError>) -> [u64; 2] {
    let [mut done, mut busy] = [0; 2];
    while Instant::now() < end {
        match work(store) {
            Ok(()) => done += 1,
            Err(StoreError::Busy(_)) => busy += 1,
            Err(error) => panic!("{error}"),
        }
    }
    [done, busy]
}

/// Counters never go back, and are always the same.
fn read(store: &Store, end: Instant) -> [u64; 2] {
    let (mut readings, mut last) = (0, 0);
    while Instant::now() < end {
        let [one, two] = counts(store);
        assert!(one == two && one >= last, "{one} and {two} after {last}");
        (readings, last) = (readings + 1, one);
    }
    [readings, 0]
}

fn counts(store: &Store) -> [u64; 2] {
    let wanted = COUNTERS.map(|counter| (name(counter), None));
    let reading = store.get(&Namespace::default(), &wanted, Timestamp::now()).expect("a reading");
    let mut answers = reading.answers.into_iter();
    COUNTERS.map(|_| number(&answers.next().expect("an answer").expect("a version").fields["value"]))
}

fn count_up(change: &mut Change<'_>) -> Result<(), StoreError> {
    let next = number(&change.fields(&name(COUNTERS[0]))?["value"]) + 1;
    put(change, next)
}

fn put(change: &mut Change<'_>, number: u64) -> Result<(), StoreError> {
    for counter in COUNTERS {
        let value = NewVersion::of_value(SecretBytes::copy_of(number.to_string().as_bytes()));
        change.put(&name(counter), value, &Edit::default())?;
        change.prune(&name(counter), &Keep { newest: 3, since: None, pinned: Default::default() })?;
    }
    Ok(())
}

fn number(value: &SecretBytes) -> u64 {
    std::str::from_utf8(value.expose()).expect("text").parse().expect("a number")
}

fn name(name: &str) -> SecretName {
    SecretName::parse(name).expect("a name")
}

fn stamp() -> Stamp {
    Stamp { now: Timestamp::now(), by: "race".into() }
}
