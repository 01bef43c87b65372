//! A store moves from one backend to the other and back, through the real binary: under readers,
//! under a mount, killed on the way, and with what stands in its way.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{TestMount, TestStore, long, stdout_of, tool};
use serde_json::Value;

const BACKENDS: [(&str, &str); 2] = [("sqlite", "file"), ("file", "sqlite")];

fn filled(backend: &str) -> TestStore {
    let store = TestStore::on(backend);
    store.set("db", "one").set("db", "two").set("other/name", "x".repeat(9_000));
    stdout_of(&store.run_with(&["--namespace", "team", "set", "theirs"], "t"));
    store
}

/// All that the store says of itself but how often it was read, and all of its values.
fn content(store: &TestStore) -> Vec<String> {
    let said = [
        &["--json", "list"][..],
        &["--json", "--namespace", "team", "list"],
        &["--json", "versions", "db"],
        &["--json", "key", "status"],
        &["get", "db"],
        &["get", "db@1"],
        &["get", "other/name"],
    ];
    let said = said.map(|args| stdout_of(&store.run(args))).into_iter();
    let is_of_uses = |line: &&str| line.contains("\"use_count\"") || line.contains("\"last_used_at\"");
    said.map(|text| text.lines().filter(|line| !is_of_uses(line)).collect()).collect()
}

/// What another store than the test's own gives out.
fn gets(store: &TestStore, dir: &str, name: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.env_clear().env("HOME", store.folder()).args(["--store", dir, "--key-file"]);
    stdout_of(&command.arg(store.key_file()).args(["get", name]).output().expect("secretfs"))
}

fn migrate(store: &TestStore, to: &str) -> Value {
    let said = stdout_of(&store.run(&["--json", "store", "migrate", "--to", to]));
    serde_json::from_str(&said).expect("JSON")
}

#[track_caller]
fn assert_sound(store: &TestStore, content: &[String]) {
    assert!(self::content(store) == content, "it holds something else");
    stdout_of(&store.run(&["store", "verify"]));
}

/// Which backend its `FORMAT` names.
fn backend_of(store: &TestStore) -> String {
    let text = fs::read_to_string(store.path().join("FORMAT")).expect("a FORMAT");
    text.lines().find_map(|line| line.strip_prefix("backend ")).expect("a backend").to_owned()
}

#[test]
fn a_store_moves_and_the_old_one_is_kept() {
    for (from, to) in BACKENDS {
        let store = filled(from);
        let before = content(&store);
        let said = migrate(&store, to);
        let kept = store.path().join(format!("was-{from}"));
        assert_eq!((&said["moved"], &said["kept"]), (&true.into(), &kept.display().to_string().into()));
        assert_eq!((&said["secrets"], &said["versions"]), (&3.into(), &4.into()));
        assert_eq!(backend_of(&store), to);
        assert_sound(&store, &before);
        // What it was is a store by itself, and stays as it was.
        store.set("db", "three");
        let kept = kept.display().to_string();
        assert_eq!(gets(&store, &kept, "db"), "two");
        let said = migrate(&store, to);
        assert_eq!((&said["moved"], &said["kept"]), (&false.into(), &Value::Null));
        // And back.
        migrate(&store, from);
        assert_eq!(stdout_of(&store.run(&["get", "db"])), "three");
        let refused = store.run(&["store", "migrate", "--to", to]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(65) && said.contains(&format!("was-{from} holds")), "{said}");
        assert_eq!(backend_of(&store), from);
    }
}

/// The folder of what was put aside is removed, so that it can move again.
fn clear(store: &TestStore) {
    for (kind, _) in BACKENDS {
        let _ = fs::remove_dir_all(store.path().join(format!("was-{kind}")));
    }
}

#[test]
fn a_mount_goes_on() {
    for (from, to) in BACKENDS {
        let mounted = TestMount::on(filled(from)).template("f.tpl", "<< secrets.db >>").start();
        let store = mounted.store();
        assert_eq!(mounted.read("f"), "two");
        for (to, value) in [(to, "three"), (from, "four")] {
            migrate(store, to);
            store.set("db", value);
            assert_eq!(mounted.read("f"), value, "what is acknowledged is what is read");
            clear(store);
        }
    }
}

/// Writers wait, and none of what they were told is written is lost.
#[test]
fn writers_lose_nothing() {
    let store = filled("sqlite");
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..12 {
                        store.set(&format!("w{writer}/{round}"), format!("{round}"));
                    }
                })
            })
            .collect();
        for to in ["file", "sqlite", "file", "sqlite"] {
            migrate(&store, to);
            clear(&store);
        }
        writers.into_iter().for_each(|it| it.join().expect("a writer"));
    });
    for (writer, round) in (0..2).flat_map(|writer| (0..12).map(move |round| (writer, round))) {
        assert_eq!(stdout_of(&store.run(&["get", &format!("w{writer}/{round}")])), round.to_string());
    }
    stdout_of(&store.run(&["store", "verify"]));
}

#[test]
fn a_damaged_store_is_not_moved() {
    let store = filled("sqlite");
    let database = rusqlite::Connection::open(store.path().join("store.db")).expect("a database");
    let sql = "UPDATE versions SET record = zeroblob(300) WHERE version = 1";
    assert!(database.execute(sql, []).expect("rows") > 0);
    drop(database);
    let refused = store.run(&["store", "migrate", "--to", "file"]);
    assert_eq!(refused.status.code(), Some(74), "{refused:?}");
    assert_eq!(backend_of(&store), "sqlite");
    assert!(!store.path().join("store.json").exists() && !store.path().join("was-sqlite").exists());
}

/// Killed at its system call number `nth` of this name. Whether it was.
fn killed_at(store: &TestStore, to: &str, call: &str, nth: u32) -> bool {
    let plain = store.command(&["store", "migrate", "--to", to]);
    let mut command = Command::new(tool("strace"));
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:signal=KILL:when={nth}")]);
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(store.folder());
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    !status.expect("strace").success()
}

/// Afterwards the store opens with all that it held, and the next try ends the move.
fn killed_moves(from: &str, to: &str, calls: &[&str]) {
    let original = filled(from);
    let expected = content(&original);
    let (mut here, mut there) = (0, 0);
    for call in calls {
        for nth in 1.. {
            copy(&original.path(), &original.folder().join("kept"));
            let is_killed = killed_at(&original, to, call, nth);
            let is_there = backend_of(&original) == to;
            *(if is_there { &mut there } else { &mut here }) += u32::from(is_killed);
            assert_sound(&original, &expected);
            migrate(&original, to);
            assert_sound(&original, &expected);
            let kept = original.path().join(format!("was-{from}")).display().to_string();
            assert_eq!(gets(&original, &kept, "db"), "two", "{call} {nth}");
            let left = original.path().join(if from == "file" { "store.json" } else { "store.db" });
            assert!(!left.exists(), "{call} {nth}");
            fs::remove_dir_all(original.path()).expect("removed");
            fs::rename(original.folder().join("kept"), original.path()).expect("renamed");
            if !is_killed {
                break;
            }
            assert!(nth < 200, "{call}: no end");
        }
    }
    println!("{from} to {to}: {} kills, {here} before the switch and {there} after it", here + there);
    assert!(here > 0 && there > 0, "{here} {there}");
}

fn copy(from: &Path, to: &Path) {
    stdout_of(&Command::new("cp").arg("-a").args([from, to]).output().expect("cp"));
}

#[test]
fn a_killed_move_is_ended_by_the_next() {
    for (from, to) in BACKENDS {
        let all =
            ["rename", "unlink", "mkdir", "fsync", "fdatasync", "pwrite64", "write", "ftruncate", "openat"];
        killed_moves(from, to, if long() { &all } else { &all[..1] });
    }
}
