//! A store whose key is a passphrase, typed at a real terminal.

mod common;

use std::fs;

use common::typing::{on_a_terminal, unattended};
use common::{TestStore, stdout_of};

#[test]
fn a_store_opens_with_its_passphrase_and_with_no_other() {
    let home = TestStore::new();
    let words = "correct horse battery";
    let (status, screen) = on_a_terminal(&home, &["init", "--passphrase"], &[words, words]);
    assert!(status == Some(0) && screen.contains("Argon2id, 64 MiB, 3 passes"), "{screen}");
    assert!(!screen.contains(words), "{screen}");
    assert_eq!(on_a_terminal(&home, &["set", "a", "--value", "v"], &[words]).0, Some(0));
    let (status, screen) = on_a_terminal(&home, &["get", "a", "--reveal"], &["wrong", words]);
    assert!(
        status == Some(0) && screen.trim_end().ends_with('v') && screen.contains("That is not it"),
        "{screen}"
    );
    let (status, screen) = on_a_terminal(&home, &["get", "a"], &["one", "two", "three", words]);
    assert!(status == Some(77) && screen.contains("it has another passphrase"), "{screen}");
    let refused = unattended(&home, &["get", "a"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(77) && said.contains("passphrase"), "{said}");
    // The key of another store is passed over, and the passphrase asked for.
    let key = home.key_file().display().to_string();
    let (status, screen) = on_a_terminal(&home, &["--key-file", &key, "get", "a", "--reveal"], &[words]);
    assert!(status == Some(0) && screen.trim_end().ends_with('v'), "{screen}");
}

#[test]
fn what_cannot_be_a_passphrase_makes_no_store() {
    let home = TestStore::new();
    for (typed, status, says) in [(&["one", "two"][..], 65, "differ"), (&[""], 65, "nothing was typed")] {
        let (code, screen) = on_a_terminal(&home, &["init", "--passphrase"], typed);
        assert!(code == Some(status) && screen.contains(says), "{screen}");
    }
    let refused = unattended(&home, &["init", "--passphrase"]);
    assert_eq!(refused.status.code(), Some(77), "{refused:?}");
    let both = unattended(&home, &["init", "--passphrase", "--key-file", "k"]);
    assert_eq!(both.status.code(), Some(64), "{both:?}");
    assert!(!home.folder().join("other").exists());
}

/// Whoever can write to the store cannot make its owner reserve memory without bounds, nor have an
/// empty store taken for it.
#[test]
fn a_file_that_was_changed_is_refused() {
    let home = TestStore::new();
    assert_eq!(on_a_terminal(&home, &["init", "--passphrase"], &["words", "words"]).0, Some(0));
    let path = home.folder().join("other/passphrase");
    let whole = fs::read_to_string(&path).unwrap();
    for text in
        [whole.replace("65536", "4294967295"), whole.replace("\"passes\":3", "\"passes\":0"), String::new()]
    {
        assert_ne!(text, whole);
        fs::write(&path, text).unwrap();
        let (status, screen) = on_a_terminal(&home, &["list"], &["words"]);
        assert!(status == Some(77) && screen.contains("not what was written"), "{screen}");
    }
    // Cheaper is another key.
    fs::write(&path, whole.replace("65536", "8192")).unwrap();
    assert_eq!(on_a_terminal(&home, &["list"], &["words"; 3]).0, Some(77));
    fs::remove_file(&path).unwrap();
    assert!(String::from_utf8_lossy(&unattended(&home, &["list"]).stderr).contains("there is no key for it"));
    fs::write(&path, whole).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(on_a_terminal(&home, &["list"], &["words"]).0, Some(0));
    stdout_of(&home.run(&["list"]));
}
