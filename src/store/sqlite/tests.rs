//! SQLite as a backend.

use super::super::backend::suite;
use super::*;

fn make(folder: &Path) -> Box<dyn Backend> {
    let path = folder.join("store.db");
    std::fs::write(&path, "").unwrap();
    Box::new(Sqlite::create(&path).unwrap())
}

#[test]
fn is_a_backend() {
    suite::run(make);
}

#[test]
fn is_the_sqlite_that_writes_a_wal_soundly() {
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[test]
fn the_statement_that_reads_secrets_stays_prepared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    std::fs::write(&path, "").unwrap();
    let sqlite = Sqlite::create(&path).unwrap();
    let rows = sqlite.begin("BEGIN").unwrap();
    for name in 0..10 {
        rows.secret(&[1; 16], &[name; 32], None).unwrap();
    }
    let statement = rows.prepare(SELECT_SECRET).unwrap();
    assert_eq!(statement.get_status(rusqlite::StatementStatus::Run), 10, "it is the one that was used");
    assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
}

/// What the folder's files hold after a delete: nothing of the record, not in the WAL either.
#[test]
fn a_removed_record_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    std::fs::write(&path, "").unwrap();
    let canary = b"a record that shall be gone";
    let found = || {
        let all: Vec<u8> = folder
            .path()
            .read_dir()
            .unwrap()
            .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect();
        all.windows(canary.len()).any(|window| window == canary)
    };
    let sqlite = Sqlite::create(&path).unwrap();
    let rows = sqlite.write().unwrap();
    rows.put_namespace(&NamespaceRow { id: [1; 16], name_mac: [1; 32], name: vec![] }).unwrap();
    rows.put_header(&[1; 16], &HeaderRow { name: [5; 32], active: 1, header: vec![] }).unwrap();
    rows.put_record(&[1; 16], &[5; 32], 1, canary).unwrap();
    rows.commit().unwrap();
    assert!(found(), "the search finds what is there");
    let rows = sqlite.write().unwrap();
    rows.remove_secret(&[1; 16], &[5; 32]).unwrap();
    rows.commit().unwrap();
    drop(sqlite);
    assert!(!found());
}
