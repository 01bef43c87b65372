//! The master key in the kernel's keyrings: it opens the store for who possesses it, and for nobody
//! else.

mod common;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::typing::{on_a_terminal, unattended};
use common::{TestStore, USER, stdout_of};
use serde_json::Value;

/// What `work` starts is of a session of its own: this thread's, which ends with it.
fn in_a_session<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let session = scope.spawn(|| {
            let anonymous = std::ptr::null::<u8>();
            // SAFETY: a system call that looks at no memory when it is given no name.
            let id = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, anonymous) };
            assert!(id > 0, "{}", std::io::Error::last_os_error());
            work()
        });
        session.join().expect("a session")
    })
}

/// Whether the store opens; if not, what it says.
fn opens(home: &TestStore) -> Result<(), String> {
    let output = unattended(home, &["list"]);
    match output.status.code() {
        Some(0) => Ok(()),
        Some(77) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        _ => panic!("{output:?}"),
    }
}

/// Takes the key out of the user's keyring when a test ends.
struct Loaded<'a>(&'a TestStore);

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        unattended(self.0, &["key", "unload"]);
    }
}

/// A session in which the user's keyring is found, as most logins have it.
#[test]
fn what_is_unloaded_is_named_after_its_own_keyring() {
    let home = TestStore::new();
    let _loaded = Loaded(&home);
    in_a_session(|| {
        let (user, session) = (libc::KEY_SPEC_USER_KEYRING, libc::KEY_SPEC_SESSION_KEYRING);
        // SAFETY: a system call that takes numbers only.
        let linked = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_LINK, user, session) };
        assert_eq!(linked, 0, "{}", std::io::Error::last_os_error());
        let key = |args: &[&str]| {
            let key_file = ["--key-file", "copy.key", "key"];
            stdout_of(&unattended(&home, &[&key_file, args].concat()))
        };
        stdout_of(&unattended(&home, &["--key-file", "copy.key", "init"]));
        key(&["load"]);
        assert_eq!(key(&["unload"]), "taken out of: user\n");
        key(&["load"]);
        key(&["load", "--keyring", "session"]);
        assert_eq!(key(&["unload"]), "taken out of: user, session\n");
        assert_eq!(key(&["unload"]), "none of your keyrings had the key\n");
    });
}

#[test]
fn a_key_in_a_session_opens_the_store_in_that_session() {
    let home = TestStore::new();
    in_a_session(|| {
        let args = ["--key-file", "copy.key", "init", "--keyring=session"];
        let said = stdout_of(&unattended(&home, &args));
        assert!(said.contains("and the kernel's session keyring, as secretfs:"), "{said}");
        assert_eq!(opens(&home), Ok(()));
        stdout_of(&unattended(&home, &["set", "a", "--value", "v"]));
        let refused = in_a_session(|| opens(&home)).expect_err("another session");
        assert!(refused.contains("there is no key for it"), "{refused}");
        // From the copy it comes into another session, too.
        in_a_session(|| {
            let load = ["--key-file", "copy.key", "key", "load", "--keyring", "session"];
            stdout_of(&unattended(&home, &load));
            assert_eq!(stdout_of(&unattended(&home, &["get", "a"])), "v");
        });
        let said = stdout_of(&unattended(&home, &["key", "unload"]));
        assert_eq!(said, "taken out of: session\n");
        assert!(opens(&home).is_err());
    });
}

#[test]
fn a_key_in_the_users_keyring_opens_the_store_for_that_user() {
    let home = TestStore::new();
    stdout_of(&unattended(&home, &["--key-file", "copy.key", "init"]));
    let _loaded = Loaded(&home);
    for keyring in ["user", "persistent"] {
        assert!(opens(&home).is_err());
        let load = ["--key-file", "copy.key", "--json", "key", "load", "--keyring", keyring];
        let said: Value = serde_json::from_str(&stdout_of(&unattended(&home, &load))).expect("JSON");
        assert_eq!((&said["keyring"], &said["until"]), (&keyring.into(), &Value::Null));
        // From any session of the user, and as often as one likes.
        assert_eq!((opens(&home), in_a_session(|| opens(&home))), (Ok(()), Ok(())));
        stdout_of(&unattended(&home, &["key", "unload"]));
    }
    let said = stdout_of(&unattended(&home, &["key", "unload"]));
    assert_eq!(said, "none of your keyrings had the key\n");
}

/// The same store twice, with the same key: a user's own, and root's.
#[test]
fn another_user_does_not_find_it() {
    let theirs = TestStore::of(USER);
    let home = TestStore::new();
    let copy = |from: &Path, to: &str| {
        let to = home.folder().join(to);
        let script = "cp -r \"$0\" \"$1\" && chown -R 0:0 \"$1\"";
        stdout_of(&Command::new("sh").args(["-c", script]).args([from, &to]).output().expect("sh"));
    };
    copy(&theirs.path(), "other");
    copy(&theirs.key_file(), "copy.key");
    let as_user = |args: &[&str]| {
        let mut command = Command::new(theirs.folder().join("secretfs"));
        command.env_clear().env("HOME", theirs.folder()).uid(USER).gid(USER).args(["--store", "store"]);
        command.current_dir(theirs.folder()).stdin(Stdio::null()).args(args);
        command.output().expect("secretfs")
    };
    let _loaded = Loaded(&home);
    stdout_of(&unattended(&home, &["--key-file", "copy.key", "key", "load"]));
    assert_eq!((opens(&home), as_user(&["list"]).status.code()), (Ok(()), Some(77)));
    stdout_of(&as_user(&["--key-file", "master.key", "key", "load"]));
    assert!(as_user(&["list"]).status.success());
    stdout_of(&unattended(&home, &["key", "unload"]));
    assert!(opens(&home).is_err() && as_user(&["list"]).status.success());
    stdout_of(&as_user(&["key", "unload"]));
}

#[test]
fn a_key_whose_time_is_over_is_told() {
    let home = TestStore::new();
    stdout_of(&unattended(&home, &["--key-file", "copy.key", "init"]));
    let _loaded = Loaded(&home);
    let load = |until| unattended(&home, &["--key-file", "copy.key", "key", "load", "--until", until]);
    assert_eq!(load("yesterday").status.code(), Some(64));
    stdout_of(&load("3s"));
    assert_eq!(opens(&home), Ok(()));
    let end = Instant::now() + Duration::from_secs(8);
    let refused = loop {
        match opens(&home) {
            Err(refused) => break refused,
            Ok(()) => assert!(Instant::now() < end, "it opens for ever"),
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(refused.contains("skipped the user keyring: the key's time there is over"), "{refused}");
    stdout_of(&load("1h"));
    assert_eq!(opens(&home), Ok(()));
}

#[test]
fn a_passphrase_is_asked_for_once() {
    let home = TestStore::new();
    let init = on_a_terminal(&home, &["init", "--passphrase"], &["words", "words"]);
    assert_eq!(init.0, Some(0), "{}", init.1);
    let _loaded = Loaded(&home);
    assert!(opens(&home).expect_err("no key").contains("no passphrase was typed"));
    let (status, screen) = on_a_terminal(&home, &["key", "load"], &["words"]);
    assert!(status == Some(0) && screen.contains("in the kernel's user keyring, as secretfs:"), "{screen}");
    assert_eq!(opens(&home), Ok(()));
}
