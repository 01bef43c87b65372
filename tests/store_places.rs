//! A store where it cannot be used as it should: no locks, no permission. What is wrong is said, and
//! nothing is lost: once that is mended, it is as it was.

#[macro_use]
mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use common::{TestStore, USER, stdout_of, tool};

on_both!(without_locks_nothing_is_written, without_permission_nothing_is_lost);

#[track_caller]
fn assert_refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(73 | 74 | 77)), "{} {said}", output.status);
    assert!(said.contains(words) && said.contains("\n  try: "), "{words}: {said}");
}

/// As on an NFS whose lock service is not there.
fn without_locks(store: &TestStore, args: &[&str]) -> Output {
    let plain = store.command(args);
    let mut command = Command::new(tool("strace"));
    command.args(["-f", "-o", "/dev/null", "-e", "trace=fcntl,flock"]);
    command.args(["-e", "inject=fcntl,flock:error=ENOLCK"]);
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(store.folder());
    command.output().expect("strace")
}

fn without_locks_nothing_is_written(backend: &str) {
    let store = TestStore::on(backend);
    store.set("a", "one");
    let other = if backend == "file" { "sqlite" } else { "file" };
    let lines = ["set a --value two", "rm a --yes", "key rotate", "key rotate --master --to new.key"];
    let migrate = format!("store migrate --to {other}");
    // All at once: SQLite tries for five seconds.
    std::thread::scope(|scope| {
        for line in lines.into_iter().chain([migrate.as_str()]) {
            let store = &store;
            scope.spawn(move || {
                let args: Vec<_> = line.split(' ').collect();
                assert_refused(&without_locks(store, &args), "lock");
            });
        }
    });
    assert!(!store.folder().join("new.key").exists(), "the key of nothing");
    // One file can be read without a lock.
    match backend {
        "file" => assert_eq!(stdout_of(&without_locks(&store, &["get", "a"])), "one"),
        _ => assert_refused(&without_locks(&store, &["get", "a"]), "its filesystem gives no locks"),
    }
    assert_eq!(stdout_of(&store.run(&["get", "a"])), "one");
    stdout_of(&store.run(&["store", "verify"]));
    store.set("a", "two");
}

/// Of a user who is not root: nothing stops root.
fn without_permission_nothing_is_lost(backend: &str) {
    let store = TestStore::of(USER);
    let dir = store.path();
    let run = |args: &[&str]| store.run(args);
    fs::remove_dir_all(&dir).expect("removed");
    stdout_of(&run(&["init", "--backend", backend]));
    let rows = dir.join(if backend == "file" { "store.json" } else { "store.db" });
    let set = |value: &str| run(&["set", "a", "--value", value]);
    stdout_of(&set("one"));
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    let mended = || {
        assert_eq!(stdout_of(&run(&["get", "a"])), "one");
        stdout_of(&run(&["store", "verify"]));
    };
    for path in [&dir, &rows, &dir.join("FORMAT")] {
        let mode = if *path == dir { 0o700 } else { 0o600 };
        chmod(path, 0);
        assert_refused(&run(&["get", "a"]), "ermission denied");
        assert_refused(&set("two"), "ermission denied");
        chmod(path, mode);
        chown(path, Some(0), Some(0)).expect("chown");
        assert_refused(&run(&["get", "a"]), "belongs to uid 0");
        assert_refused(&set("two"), "belongs to uid 0");
        chown(path, Some(USER), Some(USER)).expect("chown");
        mended();
    }
    // Where it cannot be written, it can still be read.
    let (path, closed, open) = match backend {
        "file" => (&dir, 0o500, 0o700),
        _ => (&rows, 0o400, 0o600),
    };
    chmod(path, closed);
    assert_refused(&set("two"), "");
    assert_eq!(stdout_of(&run(&["get", "a"])), "one");
    chmod(path, open);
    mended();
    stdout_of(&set("two"));
}
