//! Versions, namespaces and keys change under a mount that serves them, and a damaged store, through
//! the real binary.

mod common;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use common::{TestMount, TestStore, stdout_of};

/// What a reader gets from `mnt/f` all the while, as text or errno.
fn read_during(mounted: &common::Mounted, work: impl FnOnce()) -> (u32, Vec<String>) {
    let (is_done, count) = (AtomicBool::new(false), AtomicU32::new(0));
    let odd = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut odd = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                match fs::read_to_string(mounted.path("f")) {
                    Ok(text) if text == "value" => count.fetch_add(1, Ordering::Relaxed),
                    other => {
                        odd.push(format!("{other:?}"));
                        0
                    }
                };
            }
            odd
        });
        work();
        is_done.store(true, Ordering::Relaxed);
        reader.join().expect("a reader")
    });
    (count.into_inner(), odd)
}

#[test]
fn a_mount_serves_while_keys_rotate() {
    let mounted = TestMount::new().secret("db", "value").template("f.tpl", "<< secrets.db >>").start();
    let store = mounted.store();
    let many: Vec<String> = (0..300).map(|n| format!("\"s{n}\": \"{n}\"")).collect();
    stdout_of(&store.run_with(&["set", "--from-json"], format!("{{{}}}", many.join(", "))));
    let (count, odd) = read_during(&mounted, || {
        for _ in 0..3 {
            let said = stdout_of(&store.run(&["key", "rotate", "--all"]));
            assert_eq!(said, "default: 301 secrets under a new key\n");
        }
    });
    assert!(count > 10 && odd.is_empty(), "{count} {odd:?}");
    assert_eq!(stdout_of(&store.run(&["get", "s7"])), "7");
}

/// The key's file is one that was named: the mount asks for its key until it is in its place.
#[test]
fn a_mount_finds_the_new_master_key() {
    let mounted = TestMount::new().secret("db", "value").template("f.tpl", "<< secrets.db >>").start();
    let store = mounted.store();
    assert_eq!(mounted.read("f"), "value");
    stdout_of(&store.run(&["key", "rotate", "--master", "--to", "new.key"]));
    assert_eq!(mounted.errno("f"), libc::ENOKEY);
    fs::rename(store.folder().join("new.key"), store.key_file()).expect("in its place");
    assert_eq!(mounted.read("f"), "value");
    store.set("db", "other");
    assert_eq!(mounted.read("f"), "other");
}

#[test]
fn versions_change_what_is_read() {
    let store = TestStore::new();
    store.set("db", "one").set("db", "two");
    let mounted = TestMount::on(store)
        .template("f.tpl", "<< secrets.db >>")
        .template("pinned.tpl", "<< secret('db', version=2) >>")
        .start();
    assert_eq!((mounted.read("f"), mounted.read("pinned")), ("two".into(), "two".into()));
    stdout_of(&mounted.store().run(&["rollback", "db", "--to", "1"]));
    assert_eq!((mounted.read("f"), mounted.read("pinned")), ("one".into(), "two".into()));
    stdout_of(&mounted.store().run(&["destroy", "db", "--version", "2", "--yes"]));
    assert_eq!((mounted.read("f"), mounted.errno("pinned")), ("one".into(), libc::EKEYREVOKED));
}

#[test]
fn no_reference_leads_into_another_namespace() {
    let store = TestStore::new();
    for namespace in ["other", "user:0", "team/a"] {
        stdout_of(&store.run_with(&["--namespace", namespace, "set", "only"], "theirs"));
    }
    store.set("ours", "ours");
    for reference in [
        "only",
        "other/only",
        "other:only",
        "user:0:only",
        "user:0/only",
        "team/a/only",
        "team/a:only",
        "../other/only",
        "store:only",
        "store:other/only",
        "store:other:only",
        "./only",
        "only@1",
        "//only",
        "other\u{2215}only",
        "\u{ff4f}nly",
        "other%2fonly",
        "default/../other/only",
    ] {
        for output in [
            store.run(&["get", reference]),
            store.run(&["exec", "--env", &format!("V={reference}"), "--", "printenv", "V"]),
            store.run_with(&["render", "-"], format!("<< secret({}) >>", serde_json::json!(reference))),
        ] {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!output.status.success() && !said.contains("theirs"), "{reference}: {output:?}");
        }
    }
    let control = store.run(&["--namespace", "team/a", "exec", "--env", "V=only", "--", "printenv", "V"]);
    assert_eq!(stdout_of(&control), "theirs\n");
}

/// The namespace of a user is for that user and for root.
#[test]
fn users_name_their_own_namespace() {
    let store = TestStore::of(4_711);
    let run = |namespace: &str| store.run_with(&["--namespace", namespace, "set", "a"], "v");
    stdout_of(&run("user:4711"));
    stdout_of(&run("shared"));
    let refused = run("user:4712");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(77), "{said}");
    assert!(said.contains("belongs to another user") && said.contains("user:4711"), "{said}");
}

#[test]
fn no_command_prints_a_key() {
    let store = TestStore::new();
    store.set("db", "one").set("db", "two");
    let mut said = Vec::new();
    let mut keys = vec![fs::read_to_string(store.key_file()).expect("a key")];
    for line in [
        "key status",
        "--json key status",
        "key rotate",
        "--json key rotate --all",
        "namespace list",
        "store verify",
        "--json store verify",
        "store repair --to copy",
        "--json store repair --to another",
        "prune --keep 1 --yes",
        "key rotate --master --to new.key",
    ] {
        let output = store.run(&line.split(' ').collect::<Vec<_>>());
        stdout_of(&output);
        said.push(format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    keys.push(fs::read_to_string(store.folder().join("new.key")).expect("a key"));
    for key in keys.iter().map(|key| key.trim()) {
        assert_eq!(key.len(), 64);
        // No piece of it, either, in whatever letters.
        for piece in key.as_bytes().windows(12).map(|piece| std::str::from_utf8(piece).expect("hex")) {
            assert!(said.iter().all(|it| !it.to_lowercase().contains(piece)), "{piece}");
        }
    }
}

#[test]
fn a_damaged_store_is_told_and_saved() {
    let store = TestStore::new();
    store.set("a", "one").set("a", "two").set("b", "other");
    let json = |args: &[&str], status: i32| -> serde_json::Value {
        let output = store.run(&[&["--json"], args].concat());
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    assert_eq!(json(&["store", "verify"], 0)["versions"], 3);
    let database = rusqlite::Connection::open(store.path().join("store.db")).expect("a database");
    let changed = database
        .execute(
            "UPDATE versions SET record = CAST(substr(record, 1, length(record) - 1) || x'00' AS BLOB) WHERE version = 2",
            [],
        )
        .expect("a row");
    assert_eq!(changed, 1);
    let found = json(&["store", "verify"], 74);
    assert_eq!((&found["versions"], &found["damages"][0]["secret"]), (&2.into(), &"a".into()));
    assert_eq!((&found["damages"][0]["version"], &found["secrets"]), (&2.into(), &2.into()));
    let said = store.run(&["store", "verify"]);
    let problem = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(problem.starts_with("namespace default: a@2: "), "{problem}");
    assert_eq!(json(&["store", "repair", "--to", "new"], 1)["versions"], 2);
    fs::rename(store.path(), store.folder().join("damaged")).expect("the old one goes");
    fs::rename(store.folder().join("new"), store.path()).expect("the new one comes");
    assert_eq!(json(&["store", "verify"], 0)["versions"], 2);
    assert_eq!(stdout_of(&store.run(&["get", "b"])), "other");
    let a = store.run(&["get", "a"]);
    assert!(!a.status.success() && a.stdout.is_empty(), "an older value is not the active one");
}
