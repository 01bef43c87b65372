//! `secretfs backup` and `restore`, and the manifest: what is in one place comes to another, and
//! nothing that is half written or damaged is ever taken for it.

mod common;

use std::fs::{self, File};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Keyboard, TestStore, stdout_of, tool};

const BACKENDS: [&str; 2] = ["sqlite", "file"];

#[track_caller]
fn fails(output: &Output, status: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "no `{word}` in: {stderr}");
    }
}

/// `secretfs` with a store and a key of this folder.
fn with(store: &TestStore, dir: &str, key: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.env_clear().env("HOME", store.folder()).current_dir(store.folder()).stdin(Stdio::null());
    command.args(["--store", dir, "--key-file", key]).args(args);
    command
}

/// In another store with the same key.
fn at(store: &TestStore, dir: &str, args: &[&str]) -> Output {
    with(store, dir, "master.key", args).output().expect("secretfs can be started")
}

/// Ends the writer, also when a test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A writer sets two secrets to the same text in one transaction, again and again: each backup made
/// meanwhile is of one commit. The control: one that copies the two one after the other is not.
#[test]
fn a_backup_is_of_one_commit_while_a_writer_writes() {
    let mut differed = 0;
    for backend in BACKENDS {
        let store = TestStore::on(backend);
        let set = |round: usize| {
            let text = format!(r#"{{"left": "{round}", "right": "{round}"}}"#);
            stdout_of(&store.run_with(&["set", "--from-json"], text));
        };
        set(0);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| (1..2000).take_while(|_| !is_over.load(Ordering::Relaxed)).for_each(set));
            let _end = End(&is_over);
            for number in 0..6 {
                let (file, dir) = (format!("b{number}"), format!("r{number}"));
                stdout_of(&store.run(&["backup", &file]));
                let apart = ["left", "right"].map(|name| stdout_of(&store.run(&["get", name])));
                differed += usize::from(apart[0] != apart[1]);
                stdout_of(&store.run(&["restore", &file, "--to", &dir]));
                let both = ["left", "right"].map(|name| stdout_of(&at(&store, &dir, &["get", name])));
                assert_eq!(both[0], both[1]);
                stdout_of(&at(&store, &dir, &["store", "verify"]));
            }
        });
    }
    assert!(differed > 0, "the control: the writer was too slow for this test to say anything");
}

/// What a killed backup has left is in nobody's way; that of a living one is not touched.
#[test]
fn an_unfinished_backup_is_no_backup() {
    let store = TestStore::new();
    store.set("a", "1");
    let (file, new) = (store.folder().join("b"), store.folder().join("b.new"));
    // Killed when it is about to put the file in its place.
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2"];
    let inject = ["-e", "inject=renameat2:signal=KILL:when=1"];
    let plain = store.command(&["backup", "b"]);
    let mut command = Command::new(tool("strace"));
    command.args(strace).args(inject).arg(plain.get_program()).args(plain.get_args());
    let output = command.current_dir(store.folder()).output().expect("strace");
    assert!(!output.status.success() && !file.exists() && new.exists(), "{output:?}");
    let held = File::open(&new).unwrap();
    held.lock().unwrap();
    fails(&store.run(&["backup", "b"]), 73, &["b.new"]);
    assert!(new.exists() && !file.exists());
    drop(held);
    stdout_of(&store.run(&["backup", "b"]));
    assert!(!new.exists());
    stdout_of(&store.run(&["restore", "b", "--to", "again"]));
    assert_eq!(stdout_of(&at(&store, "again", &["get", "a"])), "1");
}

#[test]
fn a_full_disk_leaves_no_backup_behind() {
    let store = TestStore::new();
    store.set("large", vec![b'x'; 1 << 20]);
    let disk = store.folder().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |args: &[&str]| Command::new(tool("mount")).args(args).arg(&disk).status().unwrap().success();
    assert!(mount(&["-t", "tmpfs", "-o", "size=256k", "none"]), "this test mounts a tmpfs: run it as root");
    let output = store.run(&["backup", "disk/b"]);
    let left = disk.read_dir().unwrap().count();
    let is_gone = Command::new(tool("umount")).arg(&disk).status().unwrap().success();
    fails(&output, 74, &["no space is left"]);
    assert!(is_gone && left == 0);
    // The control: the same where there is room.
    stdout_of(&store.run(&["backup", "disk/b"]));
}

/// The key of the store opens its backup as it opens the store: by what is typed, too.
#[test]
fn a_store_with_a_passphrase_comes_back_with_it() {
    let store = TestStore::new();
    let words = "correct horse battery";
    let typed = |args: &[&str], prompts: usize| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        command.env_clear().env("HOME", store.folder()).current_dir(store.folder()).args(args);
        let mut keyboard = Keyboard::start(command);
        for _ in 0..prompts {
            keyboard.expect(": ");
            keyboard.press(&format!("{words}\n"));
        }
        let status = keyboard.wait();
        (status.success(), keyboard.screen())
    };
    for (args, prompts) in [
        (&["--store", "own", "init", "--passphrase"][..], 2),
        (&["--store", "own", "set", "a", "--value", "v"], 1),
        (&["--store", "own", "backup", "b"], 1),
        (&["restore", "b", "--to", "again"], 1),
        (&["--store", "again", "get", "a", "--reveal"], 1),
    ] {
        let (is_done, screen) = typed(args, prompts);
        assert!(is_done && !screen.contains(words), "{args:?}: {screen}");
    }
    let nobody = ["restore", "b", "--to", "third"];
    fails(&store.run(&nobody), 77, &["no passphrase was typed"]);
}

/// What is missing is asked for without echo, what is left empty stays missing, and the rest is
/// written. Nothing is asked of a script.
#[test]
fn a_manifest_asks_for_what_is_missing() {
    let store = TestStore::new();
    let basic = r#"{"username": "app", "password": "hunter1"}"#;
    let set = ["set", "db", "--type", "basic-auth", "--label", "postgres", "--tag", "prod", "--from-json"];
    stdout_of(&store.run_with(&set, basic));
    store.set("api_key", "sk-1").set("there", "x").set("later", "y");
    stdout_of(&store.run(&["export", "--manifest", "app.manifest"]));
    let manifest = fs::read_to_string(store.folder().join("app.manifest")).unwrap();
    assert!(manifest.contains("postgres") && !manifest.contains("hunter1") && !manifest.contains("sk-1"));
    let other = |args: &[&str]| with(&store, "other", "other.key", args);
    let run = |args: &[&str]| other(args).output().unwrap();
    stdout_of(&run(&["init"]));
    stdout_of(&run(&["set", "there", "--value", "z"]));
    fails(&run(&["import", "--manifest", "app.manifest"]), 1, &["3 of 4 secrets"]);
    let mut keyboard = Keyboard::start(other(&["import", "--manifest", "app.manifest"]));
    for (prompt, answer) in [
        ("api_key.value: ", "sk-2"),
        ("db.password: ", "hunter2"),
        ("db.username: ", "app2"),
        ("later.value: ", ""),
    ] {
        keyboard.expect(prompt);
        keyboard.press(&format!("{answer}\n"));
    }
    keyboard.expect("later is left out");
    keyboard.expect("1 of 4 secrets");
    let status = keyboard.wait();
    let screen = keyboard.screen();
    assert_eq!(status.code(), Some(1), "{screen}");
    assert!(!screen.contains("sk-2") && !screen.contains("hunter2"), "{screen}");
    let get = |name: &str| stdout_of(&run(&["get", name]));
    assert_eq!(
        (get("api_key"), get("db.password"), get("there")),
        ("sk-2".into(), "hunter2".into(), "z".into())
    );
    let shown: serde_json::Value = serde_json::from_str(&stdout_of(&run(&["--json", "show", "db"]))).unwrap();
    assert_eq!(
        (&shown["type"], &shown["label"], &shown["tags"]),
        (&"basic-auth".into(), &"postgres".into(), &serde_json::json!(["prod"]))
    );
    stdout_of(&run(&["set", "later", "--value", "y2"]));
    stdout_of(&run(&["import", "--manifest", "app.manifest"]));
}
