//! Stores as versions before this one have made them: `tests/fixtures/stores/` has one of each format
//! and backend, and each opens for ever. One of a format to come is refused and left alone.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{TestStore, stdout_of};
use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/stores");

/// A store that was made by an earlier version, as it would lie on a disk.
struct Old<'a> {
    home: &'a TestStore,
    store: String,
    key: String,
}

impl<'a> Old<'a> {
    /// Git keeps neither modes nor files that an empty store has not.
    fn new(home: &'a TestStore, fixture: &Path) -> Self {
        let name = fixture.file_name().expect("a name").to_string_lossy().into_owned();
        let (number, _) = name.split_once('-').expect("NUMBER-BACKEND");
        let store = home.folder().join(&name);
        fs::create_dir(&store).expect("a folder");
        fs::set_permissions(&store, fs::Permissions::from_mode(0o700)).expect("chmod");
        let copy = |from: PathBuf, to: PathBuf, mode| {
            fs::write(&to, fs::read(from).expect("a file")).expect("a copy");
            fs::set_permissions(&to, fs::Permissions::from_mode(mode)).expect("chmod");
        };
        for entry in fixture.read_dir().expect("a fixture").flatten() {
            copy(entry.path(), store.join(entry.file_name()), 0o600);
        }
        let key = home.folder().join(format!("{name}.key"));
        copy(Path::new(FIXTURES).join(format!("{number}.key")), key.clone(), 0o400);
        Self { home, store: store.display().to_string(), key: key.display().to_string() }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        command.env_clear().env("HOME", self.home.folder()).stdin(Stdio::null());
        command.args(["--store", &self.store, "--key-file", &self.key]).args(args);
        command.output().expect("secretfs")
    }

    #[track_caller]
    fn says(&self, args: &[&str], expected: &str) {
        assert_eq!(stdout_of(&self.run(args)), expected, "{} {args:?}", self.store);
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&stdout_of(&self.run(&[&["--json"], args].concat()))).expect("JSON")
    }
}

fn fixtures() -> Vec<PathBuf> {
    let entries = Path::new(FIXTURES).read_dir().expect("the fixtures").flatten();
    let mut all: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    all.sort();
    assert!(all.len() >= 2, "{all:?}");
    all
}

#[test]
fn what_was_made_opens() {
    let home = TestStore::new();
    for fixture in fixtures() {
        let old = Old::new(&home, &fixture);
        for _ in 0..2 {
            old.says(&["get", "db/password"], "one");
            old.says(&["get", "db/password@3"], "three");
            assert!(!old.run(&["get", "db/password@2"]).status.success(), "it was destroyed");
            old.says(&["get", "login.username"], "ada");
            old.says(&["get", "login.password"], "p w");
            assert!(!old.run(&["get", "off"]).status.success(), "it was disabled");
            old.says(&["get", "later"], "later");
            old.says(&["--namespace", "team/b", "get", "only"], "theirs");
            let login = old.json(&["show", "login"]);
            assert_eq!(
                (&login["type"], &login["tags"]),
                (&"basic-auth".into(), &serde_json::json!(["a", "b"]))
            );
            assert_eq!(login["description"], "the first one");
            let sound = old.json(&["store", "verify"]);
            assert_eq!((&sound["secrets"], &sound["damages"]), (&5.into(), &serde_json::json!([])));
            // It can be written, and is whole afterwards, also when it is kept in another way.
            stdout_of(&old.run(&["set", "new", "--value", "v"]));
            stdout_of(&old.run(&["rm", "new", "--yes"]));
            stdout_of(&old.run(&["enable", "off"]));
            old.says(&["get", "off"], "not now");
            stdout_of(&old.run(&["disable", "off"]));
            stdout_of(&old.run(&["key", "rotate", "--all"]));
            let to = if old.store.ends_with("file") { "sqlite" } else { "file" };
            stdout_of(&old.run(&["store", "migrate", "--to", to]));
        }
    }
}

/// In each place that has a number for it.
#[test]
fn a_format_to_come_is_refused() {
    let home = TestStore::new();
    for fixture in fixtures() {
        let old = Old::new(&home, &fixture);
        let store = Path::new(&old.store);
        let (format, document) = (store.join("FORMAT"), store.join("store.json"));
        let refused = |what: &str| {
            for args in [&["get", "later"][..], &["set", "later", "--value", "v"], &["store", "verify"]] {
                let output = old.run(args);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.code() == Some(69) && said.contains(what), "{said}");
                assert!(said.contains("update secretfs; this one has changed nothing"), "{said}");
            }
        };
        let was = fs::read_to_string(&format).expect("a FORMAT");
        fs::write(&format, was.replacen("store 1", "store 2", 1)).expect("written");
        refused("the format `secretfs store 2");
        fs::write(&format, was).expect("written");
        if document.exists() {
            let text = fs::read_to_string(&document).expect("a document");
            let (_, rest) = text.split_once(',').expect("more than a format");
            fs::write(&document, format!("{{\"format\":3,{rest}")).expect("written");
            refused("the format 3");
            fs::write(&document, text).expect("written");
        } else {
            let database = rusqlite::Connection::open(store.join("store.db")).expect("a database");
            let set = |number: i64| database.pragma_update(None, "user_version", number).expect("a number");
            let was = database.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a number");
            set(3);
            refused("the schema 3 in its database");
            set(was);
        }
        old.says(&["get", "later"], "later");
    }
}

/// The rows as they were are kept. A second look finds nothing to do.
#[test]
fn an_older_store_is_kept_beside_what_becomes_of_it() {
    let home = TestStore::new();
    for (fixture, copy) in [("1-sqlite", "store.db.schema-1"), ("1-file", "store.json.format-1")] {
        let old = Old::new(&home, &Path::new(FIXTURES).join(fixture));
        let copy = Path::new(&old.store).join(copy);
        old.says(&["get", "later"], "later");
        let kept = copy.metadata().expect("a copy");
        assert_eq!(kept.permissions().mode() & 0o777, 0o600);
        old.says(&["get", "later"], "later");
        assert_eq!(copy.metadata().and_then(|meta| meta.modified()).ok(), kept.modified().ok());
    }
}

/// What is wrong with it then does not become right.
#[test]
fn an_older_store_that_is_damaged_is_not_made_a_sound_one() {
    let home = TestStore::new();
    let old = Old::new(&home, &Path::new(FIXTURES).join("1-sqlite"));
    let database = rusqlite::Connection::open(Path::new(&old.store).join("store.db")).expect("a database");
    let sql = "PRAGMA foreign_keys = OFF;
               DELETE FROM secrets WHERE name_mac = (SELECT min(name_mac) FROM secrets)";
    database.execute_batch(sql).expect("a row less");
    drop(database);
    for args in [&["get", "later"][..], &["set", "later", "--value", "v"]] {
        let output = old.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(74) && said.contains("a secret was removed"), "{said}");
    }
    let found = old.run(&["--json", "store", "verify"]);
    let found: Value = serde_json::from_slice(&found.stdout).expect("JSON");
    assert_eq!(found["secrets"], 4, "{found}");
    assert!(!found["damages"].as_array().expect("some").is_empty());
}

/// One of them brings it up to date, and the copy is of what was there before.
#[test]
fn several_open_an_older_store_at_once() {
    let home = TestStore::new();
    for fixture in ["1-sqlite", "1-file"] {
        let old = Old::new(&home, &Path::new(FIXTURES).join(fixture));
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| old.run(&["get", "later"]))).collect();
            all.into_iter().for_each(|it| assert_eq!(stdout_of(&it.join().expect("no panic")), "later"));
        });
        let kept = Path::new(&old.store).join("store.db.schema-1");
        if kept.exists() {
            let kept = rusqlite::Connection::open(kept).expect("a database");
            let schema = kept.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
            assert_eq!(schema.expect("a number"), 1);
        }
    }
}
