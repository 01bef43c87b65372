//! A store's master key goes from one source to another: with the old key or with the new one it
//! opens at any moment, whatever kills the change.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::typing::{on_a_terminal, on_a_terminal_under, unattended};
use common::{TestStore, long, stdout_of, tool};

/// A store with one secret, and its key in `old.key`.
fn with_a_key_file(backend: &str) -> TestStore {
    let home = TestStore::new();
    stdout_of(&unattended(&home, &["--key-file", "old.key", "init", "--backend", backend]));
    stdout_of(&unattended(&home, &["--key-file", "old.key", "set", "a", "--value", "v"]));
    home
}

fn gets(home: &TestStore, source: &[&str]) -> bool {
    let output = unattended(home, &[source, &["get", "a"]].concat());
    output.status.success() && output.stdout == b"v"
}

fn gets_by_typing(home: &TestStore, passphrase: &str) -> bool {
    let (status, screen) = on_a_terminal(home, &["get", "a", "--reveal"], &[passphrase]);
    // On a single wrong answer the next prompt is left alone until it ends.
    status == Some(0) && screen.trim_end().ends_with('v')
}

#[test]
fn a_key_goes_from_a_file_to_a_passphrase_and_back() {
    let home = with_a_key_file("file");
    let to_words = |source: &[&str], typed: &[&str]| {
        let args = [source, &["key", "rotate", "--master", "--passphrase"]].concat();
        let (status, screen) = on_a_terminal(&home, &args, typed);
        assert!(status == Some(0) && screen.contains("Argon2id, 64 MiB, 3 passes"), "{screen}");
        assert!(!screen.contains("words"), "{screen}");
    };
    to_words(&["--key-file", "old.key"], &["words one", "words one"]);
    assert!(gets_by_typing(&home, "words one") && !gets(&home, &["--key-file", "old.key"]));
    to_words(&[], &["words one", "words two", "words two"]);
    assert!(gets_by_typing(&home, "words two"));
    let kept = fs::read_to_string(home.folder().join("other/passphrase")).expect("a file");
    assert_eq!(kept.lines().count(), 1, "the first passphrase is let go");
    let args = ["key", "rotate", "--master", "--to", "new.key"];
    let (status, screen) = on_a_terminal(&home, &args, &["words two"]);
    assert_eq!(status, Some(0), "{screen}");
    assert!(gets(&home, &["--key-file", "new.key"]) && !home.folder().join("other/passphrase").exists());
    let said = unattended(&home, &["get", "a"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("there is no key for it"), "{said:?}");
    stdout_of(&unattended(&home, &["--key-file", "new.key", "store", "verify"]));
}

#[test]
fn passphrases_that_differ_change_nothing() {
    let home = with_a_key_file("file");
    let args = ["--key-file", "old.key", "key", "rotate", "--master", "--passphrase"];
    let (status, screen) = on_a_terminal(&home, &args, &["one", "two"]);
    assert!(status == Some(65) && screen.contains("differ"), "{screen}");
    assert_eq!(unattended(&home, &args).status.code(), Some(77), "nobody is there");
    assert!(gets(&home, &["--key-file", "old.key"]) && !home.folder().join("other/passphrase").exists());
}

#[test]
fn a_key_goes_into_a_keyring_and_its_copy_into_a_file() {
    let home = with_a_key_file("file");
    let args = ["--key-file", "old.key", "key", "rotate", "--master", "--to", "new.key", "--keyring"];
    let said = stdout_of(&unattended(&home, &args));
    let works = gets(&home, &[]) && gets(&home, &["--key-file", "new.key"]);
    stdout_of(&unattended(&home, &["key", "unload"]));
    assert!(works && said.contains("and the kernel's user keyring, as secretfs:"), "{said}");
    assert!(!gets(&home, &[]) && gets(&home, &["--key-file", "new.key"]));
}

/// What systemd gives the unit that names the file.
fn as_a_unit_gets_it(file: &Path, name: &str) -> Option<Vec<u8>> {
    let mut command = Command::new(tool("systemd-creds"));
    let output = command.arg("decrypt").arg(format!("--name={name}")).arg(file).arg("-").output();
    let output = output.expect("systemd-creds");
    output.status.success().then_some(output.stdout)
}

#[test]
fn a_key_becomes_a_credential_of_systemd() {
    let home = with_a_key_file("file");
    let args = ["--key-file", "old.key", "key", "rotate", "--master", "--to", "new.key"];
    let said = stdout_of(&unattended(&home, &[&args[..], &["--credential", "made/key.cred"]].concat()));
    let file = home.folder().join("made/key.cred");
    assert!(said.contains(&format!("LoadCredentialEncrypted=secretfs.key:{}", file.display())), "{said}");
    let key = fs::read(home.folder().join("new.key")).expect("a key");
    assert_eq!(as_a_unit_gets_it(&file, "secretfs.key"), Some(key.clone()));
    assert_eq!(as_a_unit_gets_it(&file, "another"), None, "it is bound to its name");
    let sealed = fs::read(&file).expect("a file");
    assert!(!sealed.windows(16).any(|piece| key.windows(16).any(|other| other == piece)));
    assert!(!said.contains(std::str::from_utf8(&key).expect("digits").trim()));
    // One that is there is nobody's to be written over, and the store keeps its key.
    let again = ["--key-file", "new.key", "key", "rotate", "--master", "--to", "third.key"];
    let refused = unattended(&home, &[&again[..], &["--credential", "made/key.cred"]].concat());
    assert!(!refused.status.success() && fs::read(&file).expect("a file") == sealed, "{refused:?}");
    assert!(gets(&home, &["--key-file", "new.key"]) && !home.folder().join("third.key").exists());
}

/// Without the program there is no credential, and nothing has changed.
#[test]
fn no_credential_is_no_change() {
    let home = with_a_key_file("file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.env_clear().env("PATH", home.folder()).env("HOME", home.folder()).current_dir(home.folder());
    command.args(["--store", "other", "--key-file", "old.key", "key", "rotate", "--master"]);
    let output = command.args(["--to", "new.key", "--credential", "key.cred"]).output().expect("secretfs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(77) && said.contains("systemd-creds made no credential"), "{said}");
    assert!(!home.folder().join("key.cred").exists() && !home.folder().join("new.key").exists());
    assert!(gets(&home, &["--key-file", "old.key"]));
}

/// Killed at its system call number `nth` of this name, of those on the store's files.
fn change_killed_at(home: &TestStore, call: &str, nth: u32) -> bool {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={nth}"));
    let strace = tool("strace").display().to_string();
    let mut starter = vec![strace.as_str(), "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let names = ["", "/passphrase", "/passphrase.new", "/sequence", "/store.json", "/store.json.new"];
    let names = names.into_iter().chain(["/store.db", "/store.db-wal"]);
    let paths: Vec<_> = names.map(|name| format!("{}/other{name}", home.folder().display())).collect();
    starter.extend(paths.iter().flat_map(|path| ["-P", path]));
    let args = ["--key-file", "old.key", "key", "rotate", "--master", "--passphrase"];
    let (status, _) = on_a_terminal_under(home, &starter, &args, &["words", "words"]);
    status != Some(0)
}

#[test]
fn whatever_kills_the_change_one_of_both_opens() {
    kill_changes(
        "file",
        if long() { &["write", "pwrite64", "fsync", "rename", "unlink"] } else { &["rename"] },
    );
    if long() {
        kill_changes("sqlite", &["write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "unlink"]);
    }
}

fn kill_changes(backend: &str, calls: &[&str]) {
    let (mut old, mut new) = (0, 0);
    for call in calls {
        for nth in 1.. {
            let home = with_a_key_file(backend);
            let is_killed = change_killed_at(&home, call, nth);
            match (gets(&home, &["--key-file", "old.key"]), gets_by_typing(&home, "words")) {
                (true, false) if is_killed => old += 1,
                (false, true) => new += 1,
                both => panic!("{call} {nth}: {both:?}"),
            }
            if !is_killed {
                break;
            }
            assert!(nth < 100, "{call}: no end");
        }
    }
    println!("{backend}: the old key opens after {old} kills, the new one after {new}");
    assert!(old > 0 && new > 0, "{old} old, {new} new");
}
