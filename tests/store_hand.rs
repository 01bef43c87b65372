//! A namespace is handed to a user of the machine: what was here is there, whole, that user's alone, and
//! here no more. However it is broken off, it is in one of both places.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{NAMED, TestStore, USER, copy_program, stdout_of, tool};
use serde_json::Value;
use tempfile::TempDir;

/// A folder that belongs to the user who gets something, with a program that this user can run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        copy_program(env!("CARGO_BIN_EXE_secretfs"), &folder.path().join("secretfs"));
        let own = folder.path().join("own");
        fs::create_dir(&own).unwrap();
        chown(&own, Some(NAMED), Some(NAMED)).expect("this test becomes another user: run it as root");
        Self(folder)
    }

    fn at(&self) -> PathBuf {
        self.0.path().join("own/store")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("own/key")
    }

    fn hand<'a>(&self, words: &'a [&'a str]) -> Vec<String> {
        let (at, key) = (self.at().display().to_string(), self.key().display().to_string());
        let to = NAMED.to_string();
        let options = ["--to", &to, "--at", &at, "--key-at", &key];
        ["namespace", "hand"].iter().chain(words).chain(&options).map(ToString::to_string).collect()
    }

    /// `secretfs` on the new store, as this user.
    fn run_as(&self, uid: u32, args: &[&str]) -> Output {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(self.0.path().join("secretfs"));
        command.env_clear().uid(uid).gid(uid).current_dir("/");
        command.arg("--store").arg(self.at()).arg("--key-file").arg(self.key());
        command.args(args).output().unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_as(NAMED, args)
    }
}

fn hand(store: &TestStore, place: &Place, name: &str) -> Output {
    let words = place.hand(&[name]).into_iter().collect::<Vec<_>>();
    store.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A namespace with a bit of everything.
fn team(store: &TestStore) {
    for version in ["one", "two", "three"] {
        stdout_of(&store.run_with(&["set", "db", "--namespace", "team", "--label", "pg"], version));
    }
    let steps: [&[&str]; 4] = [
        &["rollback", "db", "--to", "2"],
        &["destroy", "db", "--version", "1", "--yes"],
        &["set", "web/login", "--type", "basic-auth", "--field", "username=u", "--field", "password=p"],
        &["disable", "web/login"],
    ];
    for step in steps {
        stdout_of(&store.run(&[step, &["--namespace", "team"]].concat()));
    }
    store.set("stays", "here");
}

/// What is known of all secrets, and every version that there is.
fn all(run: impl Fn(&[&str]) -> Output) -> Value {
    let json = |args: &[&str]| serde_json::from_str::<Value>(&stdout_of(&run(args))).unwrap();
    let list = json(&["list", "--json"]);
    let names: Vec<String> =
        list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    let versions: Vec<_> = names.iter().map(|name| json(&["versions", name, "--json"])).collect();
    serde_json::json!([list, versions])
}

fn here(store: &TestStore, args: &[&str]) -> Output {
    store.run(&[args, &["--namespace", "team"]].concat())
}

fn namespaces(store: &TestStore) -> String {
    stdout_of(&store.run(&["namespace", "list"]))
}

#[test]
fn all_of_it_is_there_and_that_users_alone() {
    for backend in ["sqlite", "file"] {
        let (store, place) = (TestStore::on(backend), Place::new());
        team(&store);
        let before = all(|args| here(&store, args));
        let told = stdout_of(&hand(&store, &place, "team"));
        assert!(told.starts_with("team: handed to news with 2 secrets, and removed here\nstore  "), "{told}");
        assert_eq!(all(|args| place.run(args)), before, "{backend}");
        assert_eq!(stdout_of(&place.run(&["get", "db"])), "two");
        assert_eq!(stdout_of(&place.run(&["get", "db@3"])), "three");
        assert!(!place.run(&["get", "db@1"]).status.success(), "destroyed");
        stdout_of(&place.run(&["enable", "web/login"]));
        assert_eq!(stdout_of(&place.run(&["get", "web/login.password"])), "p");
        stdout_of(&place.run(&["rotate", "db", "--value", "four"]));
        assert!(stdout_of(&place.run(&["store", "verify"])).contains("2 secrets"));
        assert!(!namespaces(&store).contains("team"));
        assert_eq!(stdout_of(&store.run(&["get", "stays"])), "here");
        assert!(stdout_of(&store.run(&["store", "verify"])).contains("1 secret"));
        for entry in fs::read_dir(place.at()).unwrap().map(|entry| entry.unwrap().path()) {
            let meta = fs::metadata(&entry).unwrap();
            assert_eq!((meta.uid(), meta.mode() & 0o077), (NAMED, 0), "{}", entry.display());
        }
        let (folder, key) = (fs::metadata(place.at()).unwrap(), fs::metadata(place.key()).unwrap());
        assert_eq!((folder.uid(), folder.mode() & 0o777), (NAMED, 0o700));
        assert_eq!((key.uid(), key.mode() & 0o777), (NAMED, 0o400));
        // Its key is its own, and nobody else gets in.
        assert_ne!(fs::read(place.key()).unwrap(), fs::read(store.key_file()).unwrap());
        let other = place.run_as(USER, &["get", "db"]);
        assert!(!other.status.success() && other.stdout.is_empty());
        let at = place.at().display().to_string();
        assert!(!store.run(&["get", "db", "--store", &at]).status.success(), "with the key of before");
    }
}

#[test]
fn what_cannot_be_handed_stays_where_it_is() {
    let (store, place) = (TestStore::new(), Place::new());
    team(&store);
    let fails = |output: Output, words: &str| {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty() && stderr.contains(words), "{stderr}");
        assert!(namespaces(&store).contains("team"));
    };
    fails(hand(&store, &place, "default"), "is always there");
    fails(hand(&store, &place, "taem"), "there is no namespace `taem`");
    let to = |user: &str| store.run(&["namespace", "hand", "team", "--to", user]);
    fails(to("nobody-by-that-name"), "there is no user");
    // Root can write there, and that user cannot.
    let shut = store.folder().display().to_string() + "/x";
    let key = place.key().display().to_string();
    let shut = ["namespace", "hand", "team", "--to", "news", "--at", &shut, "--key-at", &key];
    fails(store.run(&shut), "ermission denied");
    assert!(!place.key().exists(), "the key of a store that was not made");
    // Somebody else's store is there already.
    fs::create_dir(place.at()).unwrap();
    chown(place.at(), Some(NAMED), Some(NAMED)).unwrap();
    fs::write(place.at().join("FORMAT"), "secretfs store 1\nbackend sqlite\n").unwrap();
    fails(hand(&store, &place, "team"), "there is already a store");
    assert_eq!(stdout_of(&here(&store, &["get", "db"])), "two");
}

/// Killed at one write after the other, in either process: whatever is left, the secrets are whole in one
/// place or in both, and the same command brings it to its end.
#[test]
fn broken_off_anywhere_it_is_in_one_place_or_in_both() {
    let step = if common::long() { 1 } else { 12 };
    let calls = ["pwrite64", "write", "fsync", "fdatasync", "rename"];
    // Of the one that hands alone, and of both.
    let plans = [&["-q"][..], &["-f"]].into_iter().flat_map(|who| calls.map(|call| (who, call)));
    let mut killed = 0;
    for (who, call) in plans {
        for number in (1..).step_by(step) {
            let (store, place) = (TestStore::new(), Place::new());
            team(&store);
            let before = all(|args| here(&store, args));
            let words = place.hand(&["team"]);
            let was_killed = run_and_kill(&store, &words, (who, call), number);
            if namespaces(&store).contains("team") {
                assert_eq!(all(|args| here(&store, args)), before, "{call} {number}");
                stdout_of(&hand(&store, &place, "team"));
            }
            assert_eq!(all(|args| place.run(args)), before, "{call} {number}");
            assert!(!namespaces(&store).contains("team"));
            killed += usize::from(was_killed);
            if !was_killed {
                break;
            }
        }
    }
    assert!(killed >= if common::long() { 40 } else { 8 }, "only {killed} were broken off");
}

/// Answers whether there were so many of these calls.
fn run_and_kill(store: &TestStore, words: &[String], (who, call): (&[&str], &str), number: usize) -> bool {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let command = store.command(&words);
    let mut strace = Command::new(tool("strace"));
    strace.args(who).args(["-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=KILL:when={number}")]);
    strace.arg(command.get_program()).args(command.get_args()).current_dir(store.folder());
    let status = strace.env("HOME", store.folder()).output().unwrap().status;
    !status.success()
}

#[test]
fn only_root_hands_to_another_user() {
    let store = TestStore::of(USER);
    stdout_of(&store.run_with(&["set", "a", "--namespace", "team"], "x"));
    let output = store.run(&["namespace", "hand", "team", "--to", "news"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && stderr.contains("only root"), "{stderr}");
    assert!(Path::new(&store.path()).exists() && namespaces(&store).contains("team"));
}
