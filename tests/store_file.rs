//! The file backend through the real binary: when it is taken, what lies on the disk then, and
//! that nothing damaged is ever taken for an empty store.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{TestStore, stdout_of, tool};

const DOCUMENT: &str = "store.json";

#[track_caller]
fn refusal(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn format_of(store: &Path) -> String {
    fs::read_to_string(store.join("FORMAT")).unwrap()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A folder as some network filesystems have it: files in it cannot be memory that processes
/// share. Gone when dropped.
struct Unshared(PathBuf);

impl Unshared {
    fn new(folder: &Path) -> Self {
        let (behind, at) = (folder.join("behind"), folder.join("unshared"));
        [&behind, &at].iter().for_each(|folder| fs::create_dir(folder).unwrap());
        let mounted = Command::new(tool("bindfs")).args(["-o", "direct_io"]).args([&behind, &at]).output();
        stdout_of(&mounted.unwrap());
        Self(at)
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_filesystem_without_shared_memory_gets_one_file_and_a_warning() {
    let home = TestStore::new();
    home.set("a", "kept");
    let disk = Unshared::new(home.folder());
    let at = disk.0.join("store");
    let run = |args: &[&str]| home.run(&[args, &["--store", &text(&at)]].concat());
    let refused = refusal(&run(&["init", "--backend", "sqlite"]), 74);
    assert!(refused.contains("SQLite cannot work at") && refused.contains("--backend file"), "{refused}");
    let made = run(&["init"]);
    let warning = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(stdout_of(&made).contains("unshared/store, in one file\n"));
    assert!(warning.starts_with("secretfs: warning: SQLite cannot work at"), "{warning}");
    assert!(format_of(&at).starts_with("secretfs store 1\nbackend file\nid "));
    for value in ["one", "two"] {
        stdout_of(&run(&["set", "a", "--value", value]));
        assert_eq!(stdout_of(&run(&["get", "a"])), value);
    }
    // A store that has come here with its database is refused as it is.
    let copied = disk.0.join("copied");
    stdout_of(&Command::new("cp").arg("-a").args([home.path(), copied.clone()]).output().unwrap());
    let before = fs::read(copied.join("store.db")).unwrap();
    let get = ["get", "a", "--store", &text(&copied)];
    assert!(refusal(&home.run(&get), 74).contains("SQLite cannot work at"));
    assert!(!copied.join(DOCUMENT).exists() && fs::read(copied.join("store.db")).unwrap() == before);
    assert_eq!(stdout_of(&home.run(&["get", "a"])), "kept");
}

/// Locks fail as on an NFS whose lock service is not there.
#[test]
fn a_filesystem_without_locks_is_told_apart() {
    let store = TestStore::new();
    let at = text(&store.folder().join("unlocked"));
    let plain = store.command(&["init", "--store", &at]);
    let mut command = Command::new(tool("strace"));
    command.args([
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=fcntl,flock",
        "-e",
        "inject=fcntl,flock:error=ENOLCK",
    ]);
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(store.folder());
    let refused = refusal(&command.output().unwrap(), 74);
    assert!(refused.contains("cannot lock") && refused.contains("No locks available"), "{refused}");
    assert!(!Path::new(&at).join("FORMAT").exists());
    stdout_of(&store.run(&["init", "--store", &at]));
}

#[test]
fn the_choice_is_kept_in_the_store() {
    let store = TestStore::on("file");
    assert!(format_of(&store.path()).starts_with("secretfs store 1\nbackend file\nid "));
    store.set("a", "v");
    // What a config says is for a store that is to be made.
    fs::write(store.folder().join("secretfs.yaml"), "store: {backend: sqlite}\n").unwrap();
    assert_eq!(stdout_of(&store.run(&["get", "a"])), "v");
    assert!(refusal(&store.run(&["init"]), 73).contains("already a store"));
    fs::write(store.folder().join("secretfs.yaml"), "store: {backend: file}\n").unwrap();
    let other = text(&store.folder().join("other"));
    let made = stdout_of(&store.run(&["--json", "init", "--store", &other]));
    assert!(made.contains(r#""backend": "file""#), "{made}");
    let chosen = text(&store.folder().join("chosen"));
    let made = stdout_of(&store.run(&["--json", "init", "--backend", "sqlite", "--store", &chosen]));
    assert!(made.contains(r#""backend": "sqlite""#), "the command line goes before the config: {made}");
}

#[test]
fn what_is_damaged_is_refused_and_left_alone() {
    let store = TestStore::on("file");
    store.set("a", "v");
    let path = store.path().join(DOCUMENT);
    let whole = fs::read(&path).unwrap();
    let half = &whole[..whole.len() / 2];
    for (content, status, says) in [
        (Some(&b""[..]), 74, "store.json is empty"),
        (Some(b"{}"), 74, "is not what was written"),
        (Some(br#"{"format":2,"root":null,"namespaces":{}}"#), 74, "its root is gone"),
        (Some(br#"{"format":3,"all":"new"}"#), 69, "the format 3"),
        (Some(half), 74, "is not what was written"),
        (None, 74, "store.json is gone"),
    ] {
        match content {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        for args in [&["get", "a"][..], &["list"], &["set", "a", "--value", "x"], &["rm", "--yes", "a"]] {
            let said = refusal(&store.run(args), status);
            assert!(said.contains(says) && said.contains("  try: "), "{args:?}: {said}");
        }
        assert!(refusal(&store.run(&["init"]), 73).contains("already a store"));
        assert_eq!(fs::read(&path).ok().as_deref(), content, "left as it was");
    }
    fs::write(&path, &whole).unwrap();
    // Made anew by this test, and others may read it.
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(refusal(&store.run(&["get", "a"]), 77).contains("chmod 0600"));
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(stdout_of(&store.run(&["get", "a"])), "v");
}

#[test]
fn nothing_readable_lies_on_the_disk_and_nothing_is_left_behind() {
    let store = TestStore::on("file");
    store.set("canary-name", "canary-value-one").set("canary-name", "canary-value-two");
    fs::write(store.path().join("store.json.new"), "what a dead writer left").unwrap();
    fs::set_permissions(
        store.path().join("store.json.new"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    store.set("other", "value");
    let mut names: Vec<_> = store
        .path()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".gitignore", "FORMAT", "sequence", DOCUMENT, "store.json.lock"]);
    for name in names {
        let path = store.path().join(&name);
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o7777, 0o600, "{name}");
        let content = fs::read(path).unwrap();
        let holds = |text: &str| content.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds("canary"), "{name}");
        // The values of removed and replaced versions, too, are there in no other file.
        assert_eq!(holds("namespaces"), name == DOCUMENT);
    }
}
