//! `secretfs store repair`: what is sound is saved, what is not is told by words and status, and what
//! was cut short is no store.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::{TestStore, stdout_of, tool};

fn filled() -> TestStore {
    let store = TestStore::on("sqlite");
    for name in ["a", "b", "c"] {
        store.set(name, "old").set(name, "new");
    }
    store
}

fn damage(store: &TestStore, sql: &str) {
    let database = rusqlite::Connection::open(store.path().join("store.db")).unwrap();
    assert!(database.execute(sql, []).unwrap() > 0, "{sql}");
}

/// `secretfs` on what was saved.
fn saved(store: &TestStore, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.env_clear().env("HOME", store.folder()).stdin(Stdio::null());
    command.arg("--store").arg(place(store)).arg("--key-file").arg(store.key_file()).args(args);
    command.output().expect("secretfs can be started")
}

fn place(store: &TestStore) -> PathBuf {
    store.folder().join("saved")
}

#[track_caller]
fn says(output: &Output, status: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "no `{word}` in: {stderr}");
    }
}

#[test]
fn what_is_lost_is_told_by_the_status() {
    let store = filled();
    damage(&store, "UPDATE versions SET record = zeroblob(100) WHERE version = 1");
    says(&store.run(&["store", "verify"]), 74, &["3 things in the store are damaged"]);
    let repaired = store.run(&["store", "repair", "--to", "saved"]);
    says(&repaired, 1, &["a@1: ", "secretfs: 3 things could not be saved\n  try: "]);
    assert!(String::from_utf8_lossy(&repaired.stdout).contains("1 namespace, 3 secrets, 3 versions"));
    assert_eq!(stdout_of(&saved(&store, &["get", "a"])), "new");
    says(&saved(&store, &["store", "verify"]), 0, &[]);
    let json = store.run(&["--json", "store", "repair", "--to", "again"]);
    says(&json, 1, &[r#""status":1"#]);
    let found: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&found["secrets"], &found["damages"][0]["lost"]), (&3.into(), &true.into()), "{found}");
}

/// The header of a secret decides which version is active, not what its row says beside it.
#[test]
fn a_damaged_copy_is_mended() {
    let store = filled();
    damage(&store, "UPDATE secrets SET active = 1");
    says(&store.run(&["get", "a"]), 74, &["the store is damaged"]);
    says(&store.run(&["store", "verify"]), 74, &["3 things in the store are damaged"]);
    let repaired = store.run(&["store", "repair", "--to", "saved"]);
    says(&repaired, 0, &["default: a: its row says another version than its header; repair mends that"]);
    assert_eq!(stdout_of(&saved(&store, &["get", "a"])), "new");
    assert_eq!(stdout_of(&saved(&store, &["get", "a@1"])), "old");
}

#[test]
fn empty_namespaces_and_counts_of_use_come_along() {
    let store = filled();
    stdout_of(&store.run(&["namespace", "create", "empty"]));
    stdout_of(&store.run(&["get", "a"]));
    says(&store.run(&["store", "repair", "--to", "saved"]), 0, &[]);
    assert!(stdout_of(&saved(&store, &["namespace", "list"])).contains("empty"));
    assert!(stdout_of(&saved(&store, &["show", "a"])).contains("\nused         1 time"));
}

/// `secretfs`, to which this signal comes at that write.
fn with_a_signal(store: &TestStore, args: &[&str], signal: &str, write: usize) -> Output {
    let command = store.command(args);
    let mut strace = Command::new(tool("strace"));
    strace.args(["-f", "-o", "/dev/null", "-e", "trace=pwrite64", "-e"]);
    strace.arg(format!("inject=pwrite64:signal={signal}:when={write}"));
    strace.arg(command.get_program()).args(command.get_args()).current_dir(store.folder());
    strace.stdin(Stdio::null()).output().expect("strace can be started")
}

#[test]
fn what_a_signal_ends_leaves_nothing() {
    let store = filled();
    for signal in ["TERM", "INT", "HUP"] {
        for write in [1, 12, 20] {
            let ended = with_a_signal(&store, &["store", "repair", "--to", "saved"], signal, write);
            assert!(ended.status.signal().is_some(), "{signal} {write}: {ended:?}");
            assert!(ended.stdout.is_empty() && !place(&store).exists(), "{signal} {write}");
        }
    }
    let backup = store.folder().join("backup");
    stdout_of(&store.run(&["backup", backup.to_str().unwrap()]));
    let ended = with_a_signal(&store, &["restore", "backup", "--to", "saved"], "TERM", 12);
    assert!(ended.status.signal().is_some() && !place(&store).exists(), "{ended:?}");
}

#[test]
fn what_is_killed_is_no_store_and_can_be_begun_anew() {
    let store = filled();
    let repair = ["store", "repair", "--to", "saved"];
    let ended = with_a_signal(&store, &repair, "KILL", 20);
    assert_eq!(ended.status.signal(), Some(9));
    assert!(place(&store).join("store.db").exists());
    says(&saved(&store, &["get", "a"]), 66, &["was never finished\n  try: run again what was to make it"]);
    says(&saved(&store, &["set", "a", "--value", "x"]), 66, &["was never finished"]);
    says(&store.run(&repair), 0, &[]);
    assert_eq!(stdout_of(&saved(&store, &["get", "a"])), "new");
}
