//! A store whose key is a passphrase, typed at a real terminal.

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use common::{TestStore, stdout_of, tool};

/// `secretfs --store other ARGS` on a terminal of its own, without a key, with one line typed at
/// each prompt: its status and what the screen shows.
fn on_a_terminal(home: &TestStore, args: &[&str], typed: &[&str]) -> (i32, String) {
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let mut command = Command::new(tool("setsid"));
    command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_secretfs"), "--store", "other"]).args(args);
    command.env_clear().env("HOME", home.folder()).current_dir(home.folder());
    let slave = || Stdio::from(terminal.slave.try_clone().expect("dup"));
    let mut child = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().expect("setsid");
    drop((command, terminal.slave));
    let mut master = File::from(terminal.master);
    let (mut screen, mut buffer, mut typed) = (Vec::new(), [0; 4096], typed.iter());
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        screen.extend_from_slice(&buffer[..length]);
        // The echo is off before the prompt is there.
        if screen.ends_with(b": ")
            && let Some(line) = typed.next()
        {
            master.write_all(format!("{line}\n").as_bytes()).expect("typing");
        }
    }
    let status = child.wait().expect("it ends").code().expect("not killed");
    (status, String::from_utf8(screen).expect("text"))
}

/// The same where nobody sits.
fn unattended(home: &TestStore, args: &[&str]) -> std::process::Output {
    let mut command = Command::new(tool("setsid"));
    command.args(["--wait", env!("CARGO_BIN_EXE_secretfs"), "--store", "other"]).args(args);
    command.env_clear().env("HOME", home.folder()).current_dir(home.folder()).stdin(Stdio::null());
    command.output().expect("setsid")
}

#[test]
fn a_store_opens_with_its_passphrase_and_with_no_other() {
    let home = TestStore::new();
    let words = "correct horse battery";
    let (status, screen) = on_a_terminal(&home, &["init", "--passphrase"], &[words, words]);
    assert!(status == 0 && screen.contains("Argon2id, 64 MiB, 3 passes"), "{screen}");
    assert!(!screen.contains(words), "{screen}");
    assert_eq!(on_a_terminal(&home, &["set", "a", "--value", "v"], &[words]).0, 0);
    let (status, screen) = on_a_terminal(&home, &["get", "a", "--reveal"], &["wrong", words]);
    assert!(
        status == 0 && screen.trim_end().ends_with('v') && screen.matches("Passphrase").count() == 2,
        "{screen}"
    );
    let (status, screen) = on_a_terminal(&home, &["get", "a"], &["one", "two", "three", words]);
    assert!(status == 77 && screen.contains("it has another passphrase"), "{screen}");
    let refused = unattended(&home, &["get", "a"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(77) && said.contains("passphrase"), "{said}");
    // The key of another store is passed over, and the passphrase asked for.
    let key = home.key_file().display().to_string();
    let (status, screen) = on_a_terminal(&home, &["--key-file", &key, "get", "a", "--reveal"], &[words]);
    assert!(status == 0 && screen.trim_end().ends_with('v'), "{screen}");
}

#[test]
fn what_cannot_be_a_passphrase_makes_no_store() {
    let home = TestStore::new();
    for (typed, status, says) in [(&["one", "two"][..], 65, "differ"), (&[""], 65, "nothing was typed")] {
        let (code, screen) = on_a_terminal(&home, &["init", "--passphrase"], typed);
        assert!(code == status && screen.contains(says), "{screen}");
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
    assert_eq!(on_a_terminal(&home, &["init", "--passphrase"], &["words", "words"]).0, 0);
    let path = home.folder().join("other/passphrase");
    let whole = fs::read_to_string(&path).unwrap();
    for text in
        [whole.replace("65536", "4294967295"), whole.replace("\"passes\":3", "\"passes\":0"), String::new()]
    {
        assert_ne!(text, whole);
        fs::write(&path, text).unwrap();
        let (status, screen) = on_a_terminal(&home, &["list"], &["words"]);
        assert!(status == 77 && screen.contains("not what was written"), "{screen}");
    }
    // Cheaper is another key.
    fs::write(&path, whole.replace("65536", "8192")).unwrap();
    assert_eq!(on_a_terminal(&home, &["list"], &["words"; 3]).0, 77);
    fs::remove_file(&path).unwrap();
    assert!(String::from_utf8_lossy(&unattended(&home, &["list"]).stderr).contains("there is no key for it"));
    fs::write(&path, whole).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(on_a_terminal(&home, &["list"], &["words"]).0, 0);
    stdout_of(&home.run(&["list"]));
}
