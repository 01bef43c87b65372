//! The tables and how an older store comes to have them. Migrations only ever grow; the number
//! of those applied is `PRAGMA user_version`.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::Connection;

use super::StoreError;
use super::backend::PATIENCE;
use super::claim::sync_names;
use super::sequence::WriterLock;
use super::sqlite::failure;

const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE root (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    store         BLOB NOT NULL,
    key           BLOB NOT NULL,
    epoch         INTEGER NOT NULL,
    keyring_epoch INTEGER NOT NULL,
    keyring       BLOB NOT NULL,
    seal          BLOB NOT NULL
) STRICT;

CREATE TABLE namespaces (
    namespace BLOB PRIMARY KEY,
    name_mac  BLOB NOT NULL UNIQUE,
    name      BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    namespace  BLOB NOT NULL REFERENCES namespaces,
    kid        BLOB NOT NULL,
    purpose    INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    wrapped    BLOB NOT NULL,
    commitment BLOB NOT NULL,
    PRIMARY KEY (namespace, kid)
) STRICT, WITHOUT ROWID;

CREATE TABLE secrets (
    namespace BLOB NOT NULL REFERENCES namespaces,
    name_mac  BLOB NOT NULL,
    active    INTEGER NOT NULL,
    header    BLOB NOT NULL,
    PRIMARY KEY (namespace, name_mac)
) STRICT, WITHOUT ROWID;

CREATE TABLE versions (
    namespace BLOB NOT NULL,
    name_mac  BLOB NOT NULL,
    version   INTEGER NOT NULL,
    record    BLOB NOT NULL,
    PRIMARY KEY (namespace, name_mac, version),
    FOREIGN KEY (namespace, name_mac) REFERENCES secrets
) STRICT, WITHOUT ROWID;

CREATE TABLE buckets (
    namespace BLOB NOT NULL REFERENCES namespaces,
    bucket    INTEGER NOT NULL,
    seal      BLOB NOT NULL,
    PRIMARY KEY (namespace, bucket)
) STRICT, WITHOUT ROWID;
",
    "
ALTER TABLE buckets RENAME TO nodes;
ALTER TABLE nodes RENAME COLUMN bucket TO number;
",
];

/// Makes the tables in an empty database.
pub(super) fn create(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    apply(connection, path, 0, MIGRATIONS)
}

/// Whether it lacks what this version adds. Refuses a newer schema.
pub(super) fn is_older(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    missing(connection, path, MIGRATIONS).map(|(_, missing)| !missing.is_empty())
}

/// Brings an older schema up to date. The database as it was is kept beside it.
pub(super) fn update(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    update_by(connection, path, MIGRATIONS)
}

fn update_by(connection: &Connection, path: &Path, migrations: &[&str]) -> Result<(), StoreError> {
    // Whoever comes second finds nothing to do.
    let _lock = WriterLock::acquire(&path.with_added_extension("lock"), PATIENCE)?;
    let (applied, missing) = missing(connection, path, migrations)?;
    if missing.is_empty() {
        return Ok(());
    }
    keep(connection, path, applied)?;
    apply(connection, path, applied, missing)
}

fn missing<'a>(
    connection: &Connection,
    path: &Path,
    migrations: &'a [&'a str],
) -> Result<(usize, &'a [&'a str]), StoreError> {
    let applied: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| failure(path, &error))?;
    match usize::try_from(applied).ok().and_then(|applied| Some((applied, migrations.get(applied..)?))) {
        // Whatever emptied it: an empty store must not take its place.
        Some((0, _)) => Err(StoreError::corrupt("its database is empty")),
        Some(known) => Ok(known),
        None => {
            let what = format!("the schema {applied} in its database");
            Err(StoreError::Newer { path: path.to_owned(), what })
        }
    }
}

/// Keeps the database as it is before it is changed. A copy has its name when it is whole.
fn keep(connection: &Connection, path: &Path, applied: usize) -> Result<(), StoreError> {
    let kept = path.with_added_extension(format!("schema-{applied}"));
    let copy = kept.with_added_extension("new");
    let _ = std::fs::remove_file(&copy);
    let mut options = OpenOptions::new();
    // SQLite fills an empty file, and leaves its mode.
    options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(&copy).map_err(StoreError::io("make", &copy))?;
    let name = copy.to_string_lossy();
    connection.execute("VACUUM INTO ?1", [name.as_ref()]).map_err(|error| failure(path, &error))?;
    file.sync_all().map_err(StoreError::io("write", &copy))?;
    std::fs::rename(&copy, &kept).map_err(StoreError::io("make", &kept))?;
    sync_names(&kept)
}

/// Each of them in one transaction.
fn apply(connection: &Connection, path: &Path, applied: usize, missing: &[&str]) -> Result<(), StoreError> {
    for (number, migration) in (applied + 1..).zip(missing) {
        let step = format!("BEGIN IMMEDIATE; {migration} PRAGMA user_version = {number}; COMMIT;");
        connection.execute_batch(&step).map_err(|error| failure(path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn version(connection: &Connection) -> i64 {
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_older_schema_is_brought_up_to_date_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let connection = Connection::open(&path).unwrap();
        apply(&connection, &path, 0, MIGRATIONS).unwrap();
        connection.execute("INSERT INTO namespaces VALUES (x'01', x'02', x'03')", []).unwrap();
        update(&connection, &path).unwrap();
        let kept = path.with_added_extension(format!("schema-{}", MIGRATIONS.len()));
        assert!(!kept.exists(), "there was nothing to do");
        let next = "ALTER TABLE namespaces ADD COLUMN note TEXT; UPDATE namespaces SET note = 'new';";
        let known = [MIGRATIONS, &[next]].concat();
        update_by(&connection, &path, &known).unwrap();
        let note = "SELECT note FROM namespaces";
        assert_eq!(connection.query_row(note, [], |row| row.get::<_, String>(0)).unwrap(), "new");
        assert_eq!(version(&connection), known.len() as i64);
        assert_eq!(kept.metadata().unwrap().mode() & 0o777, 0o600);
        let kept = Connection::open(kept).unwrap();
        assert_eq!(version(&kept), MIGRATIONS.len() as i64);
        let count = "SELECT count(*) FROM namespaces";
        assert_eq!(kept.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        assert!(is_older(&kept, &path).is_ok_and(|is_older| !is_older));
        assert!(matches!(is_older(&connection, &path), Err(StoreError::Newer { .. })));
    }

    /// All of a step, or nothing of it.
    #[test]
    fn a_step_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let connection = Connection::open(&path).unwrap();
        apply(&connection, &path, 0, MIGRATIONS).unwrap();
        let broken = "ALTER TABLE namespaces ADD COLUMN note TEXT; UPDATE nowhere SET note = 'new';";
        assert!(update_by(&connection, &path, &[MIGRATIONS, &[broken]].concat()).is_err());
        drop(connection);
        let connection = Connection::open(&path).unwrap();
        assert_eq!(version(&connection), MIGRATIONS.len() as i64);
        assert!(connection.prepare("SELECT note FROM namespaces").is_err());
    }
}
