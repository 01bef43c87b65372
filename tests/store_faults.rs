//! The store when things go wrong around it: full disks, read-only disks, other writers, sudden
//! death, damaged and newer files. What it held before is always there afterwards.

#[macro_use]
mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{TestStore, long, stdout_of, tool};
use secretfs::secret::{Namespace, SecretName};
use secretfs::store::{Access, KeySources, Store};

on_both!(
    a_full_disk_loses_nothing,
    a_read_only_disk_can_be_read,
    a_locked_store_waits_then_says_busy_and_is_never_replaced,
    two_writers_lose_nothing,
    what_was_set_is_seen_at_once_by_other_processes,
    a_writer_may_die_at_any_moment,
);

#[track_caller]
fn assert_fails(output: &Output, status: i32, words: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(status), 0), "{stderr}");
    assert!(stderr.contains(words) && stderr.contains("  try: "), "{stderr}");
}

/// The store of this test, opened in this process as a daemon has it.
fn open(store: &TestStore) -> Store {
    let sources = KeySources { file: Some(store.key_file()), ..KeySources::default() };
    Store::open(&store.path(), Access::Read, &sources).unwrap()
}

fn value(store: &Store, name: &str) -> Vec<u8> {
    let wanted = [(SecretName::parse(name).unwrap(), None)];
    let mut reading = store.get(&Namespace::default(), &wanted, jiff::Timestamp::now()).unwrap();
    reading.answers.remove(0).ok().unwrap().fields["value"].expose().to_vec()
}

/// A small disk in memory below a store's folder, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: &Path, size: &str) -> Self {
        fs::create_dir(at).unwrap();
        let done =
            Command::new(tool("mount")).args(["-t", "tmpfs", "-o", size, "none"]).arg(at).status().unwrap();
        assert!(done.success(), "this test mounts a tmpfs: run it as root");
        Self(at.to_owned())
    }

    fn remount(&self, how: &str) {
        let done =
            Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// `secretfs` on a second store on that disk, with the first one's key.
fn on_disk(store: &TestStore, disk: &SmallDisk, args: &[&str], stdin: &[u8]) -> Output {
    let at = disk.0.join("store").display().to_string();
    store.run_with(&[args, &["--store", &at]].concat(), stdin)
}

fn a_full_disk_loses_nothing(backend: &str) {
    let store = TestStore::on(backend);
    let disk = SmallDisk::new(&store.folder().join("disk"), "size=600k");
    stdout_of(&on_disk(&store, &disk, &["init", "--backend", backend], b""));
    stdout_of(&on_disk(&store, &disk, &["set", "kept"], b"old"));
    let mut filler = File::create(disk.0.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    for size in [10, 100_000] {
        let full = on_disk(&store, &disk, &["set", "kept"], &vec![b'x'; size]);
        assert_fails(&full, 74, "no space is left");
        assert_eq!(stdout_of(&on_disk(&store, &disk, &["get", "kept"], b"")), "old");
    }
    let second = disk.0.join("second").display().to_string();
    let init_second = || store.run(&["init", "--backend", backend, "--store", &second]);
    assert_fails(&init_second(), 74, "no space is left");
    drop(filler);
    fs::remove_file(disk.0.join("filler")).unwrap();
    stdout_of(&init_second());
    stdout_of(&on_disk(&store, &disk, &["set", "kept"], b"new"));
    assert_eq!(stdout_of(&on_disk(&store, &disk, &["get", "kept"], b"")), "new");
}

fn a_read_only_disk_can_be_read(backend: &str) {
    let store = TestStore::on(backend);
    let disk = SmallDisk::new(&store.folder().join("disk"), "size=2m");
    stdout_of(&on_disk(&store, &disk, &["init", "--backend", backend], b""));
    stdout_of(&on_disk(&store, &disk, &["set", "a"], b"v"));
    // With the files that a reader leaves behind, and without.
    for leave in [true, false] {
        if !leave {
            for file in ["store.db-wal", "store.db-shm"] {
                let _ = fs::remove_file(disk.0.join("store").join(file));
            }
        }
        disk.remount("ro");
        assert_eq!(stdout_of(&on_disk(&store, &disk, &["get", "a"], b"")), "v", "{leave}");
        assert_fails(&on_disk(&store, &disk, &["set", "a"], b"w"), 73, "read-only");
        disk.remount("rw");
        stdout_of(&on_disk(&store, &disk, &["get", "a"], b""));
    }
    stdout_of(&on_disk(&store, &disk, &["set", "a"], b"w"));
}

fn a_locked_store_waits_then_says_busy_and_is_never_replaced(backend: &str) {
    let store = TestStore::on(backend);
    store.set("a", "v");
    let lock = File::options().write(true).open(store.path().join("sequence")).unwrap();
    lock.lock().unwrap();
    let begin = Instant::now();
    assert_eq!(stdout_of(&store.run(&["get", "a"])), "v", "readers do not wait");
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_fails(&store.run_with(&["set", "a"], "w"), 75, "busy");
    assert!(begin.elapsed() > Duration::from_secs(4));
    let mut patient = store.command(&["set", "a", "--value", "w"]).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(lock);
    assert!(patient.wait().unwrap().success(), "it waits for its turn");
    // Somebody who knows nothing of that lock, and holds the backend's own.
    let held: Box<dyn std::any::Any> = match backend {
        "sqlite" => {
            let database = rusqlite::Connection::open(store.path().join("store.db")).unwrap();
            database.execute_batch("BEGIN IMMEDIATE").unwrap();
            Box::new(database)
        }
        _ => {
            let lock = File::options().write(true).open(store.path().join("store.json.lock")).unwrap();
            lock.lock().unwrap();
            Box::new(lock)
        }
    };
    assert_eq!(stdout_of(&store.run(&["get", "a"])), "w");
    assert_fails(&store.run_with(&["set", "a"], "x"), 75, "busy");
    assert_fails(&store.run(&["init"]), 73, "already a store");
    drop(held);
    assert_eq!(stdout_of(&store.run(&["get", "a"])), "w");
}

fn two_writers_lose_nothing(backend: &str) {
    let store = TestStore::on(backend);
    store.set("shared", "0");
    let rounds = if long() { 300 } else { 25 };
    std::thread::scope(|scope| {
        for writer in ["one", "two", "three"] {
            let store = &store;
            scope.spawn(move || {
                for round in 0..rounds {
                    store.set("shared", format!("{writer}-{round}"));
                    store.set(&format!("own/{writer}"), round.to_string());
                }
            });
        }
    });
    let versions = stdout_of(&store.run(&["--json", "versions", "shared"]));
    let versions: Vec<serde_json::Value> = serde_json::from_str(&versions).unwrap();
    assert_eq!(versions.len(), 1 + 3 * rounds);
    for writer in ["one", "two", "three"] {
        assert_eq!(stdout_of(&store.run(&["get", &format!("own/{writer}")])), (rounds - 1).to_string());
    }
    assert!(open(&store).inspect().unwrap().damages.is_empty());
}

/// When `set` has returned, whoever asks next sees it, and needs not ask to see that it must ask.
fn what_was_set_is_seen_at_once_by_other_processes(backend: &str) {
    let store = TestStore::on(backend);
    store.set("a", "0");
    let reader = open(&store);
    let mut before = reader.pulse().unwrap();
    for round in 1..=if long() { 2_000 } else { 60 } {
        store.set("a", round.to_string());
        let now = reader.pulse().expect("no writer is at work");
        assert!(now > before, "round {round}");
        assert_eq!(
            reader.unchanged(&Namespace::default(), &[SecretName::parse("a").unwrap()], before).unwrap(),
            None
        );
        assert_eq!(value(&reader, "a"), round.to_string().into_bytes());
        before = now;
    }
}

/// A writer is killed at each of its system calls that change something. Afterwards the old or
/// the new value is there, whole, and readers that were open find it.
fn a_writer_may_die_at_any_moment(backend: &str) {
    let strace = tool("strace");
    let store = TestStore::on(backend);
    let big = "y".repeat(20_000);
    store.set("a", "old").set("b", "old");
    let (mut kills, mut olds, mut news) = (0, 0, 0);
    let calls = match backend {
        "sqlite" => &["pwrite64", "fdatasync", "ftruncate", "unlink", "flock", "fcntl"][..],
        _ => &["write", "pwrite64", "fsync", "rename", "unlink", "flock"],
    };
    for call in calls {
        for nth in 1.. {
            let reader = open(&store);
            let plain = store.command(&["set", "--from-json"]);
            let mut command = Command::new(&strace);
            command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            command.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
            command.arg(plain.get_program()).args(plain.get_args()).current_dir(store.folder());
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let new = format!(r#"{{"a": "{big}{nth}", "b": "{call}{nth}"}}"#);
            let _ = child.stdin.take().unwrap().write_all(new.as_bytes());
            let survived = child.wait().unwrap().success();
            let (a, b) = (value(&reader, "a"), value(&reader, "b"));
            match (&a[..], &b[..]) {
                (b"old", b"old") => olds += 1,
                (a, b) => {
                    assert_eq!(a, format!("{big}{nth}").as_bytes(), "{call} {nth}");
                    assert_eq!(b, format!("{call}{nth}").as_bytes(), "{call} {nth}: two versions mixed");
                    news += 1;
                }
            }
            assert!(reader.inspect().unwrap().damages.is_empty());
            // A writer that died left the mark moving at worst; whoever rechecks puts it right.
            reader.recheck().unwrap();
            let stands = reader.pulse().expect("healed");
            store.set("a", "old").set("b", "old");
            assert!(reader.pulse().unwrap() > stands, "{call} {nth}");
            assert_eq!(value(&reader, "a"), b"old");
            if survived {
                break;
            }
            kills += 1;
            assert!(nth < 200, "{call}: no end");
        }
    }
    println!("{backend}: killed {kills} times: {olds} old, {news} new");
    assert!(kills > 10 && olds > 5 && news > 5, "{kills} kills: {olds} old, {news} new");
}

#[test]
fn damaged_and_newer_files_are_refused_and_kept() {
    let store = TestStore::new();
    store.set("a", "v");
    let database = store.path().join("store.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    for file in ["store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(store.path().join(file));
    }
    let whole = fs::read(&database).unwrap();
    let mut other_header = whole.clone();
    other_header[..16].fill(b'x');
    for (damaged, what) in
        [(&whole[..0], "empty"), (&whole[..100], "100"), (&whole[..8192], "8192"), (&other_header, "header")]
    {
        fs::write(&database, damaged).unwrap();
        for args in [&["get", "a"][..], &["list"], &["set", "b", "--value", "x"], &["rm", "--yes", "a"]] {
            assert_fails(&store.run(args), 74, "the store is damaged");
        }
        assert_fails(&store.run(&["init"]), 73, "already a store");
        assert!(fs::read(&database).unwrap() == damaged, "{what}: left as it was");
        for file in ["store.db-wal", "store.db-shm"] {
            let _ = fs::remove_file(store.path().join(file));
        }
    }
    fs::write(&database, &whole).unwrap();
    assert_eq!(stdout_of(&store.run(&["get", "a"])), "v");
    fs::remove_file(&database).unwrap();
    assert_fails(&store.run(&["get", "a"]), 74, "is gone");
    assert!(!database.exists(), "nothing empty in its place");
    fs::write(&database, &whole).unwrap();
    fs::set_permissions(&database, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::write(store.path().join("FORMAT"), "secretfs store 7\nbackend sqlite\n").unwrap();
    assert_fails(&store.run(&["get", "a"]), 69, "secretfs store 7");
}
