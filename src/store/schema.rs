//! The tables and how an older store comes to have them. Migrations only ever grow; the number
//! of those applied is `PRAGMA user_version`.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;
use super::sqlite::failure;

const MIGRATIONS: &[&str] = &["
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
"];

/// Makes the tables in an empty database.
pub(super) fn create(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    apply(connection, path, 0, MIGRATIONS)
}

/// Refuses a newer schema, and brings an older one up to date.
pub(super) fn update(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let applied: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| failure(path, &error))?;
    match usize::try_from(applied).ok().and_then(|applied| MIGRATIONS.get(applied..)) {
        // Whatever emptied it: an empty store must not take its place.
        Some(_) if applied == 0 => Err(StoreError::corrupt("its database is empty")),
        Some(missing) => apply(connection, path, applied, missing),
        None => {
            let what = format!("the schema {applied} in its database");
            Err(StoreError::Newer { path: path.to_owned(), what })
        }
    }
}

fn apply(connection: &Connection, path: &Path, applied: i64, missing: &[&str]) -> Result<(), StoreError> {
    for (number, migration) in (applied + 1..).zip(missing) {
        let step = format!("BEGIN IMMEDIATE; {migration} PRAGMA user_version = {number}; COMMIT;");
        connection.execute_batch(&step).map_err(|error| failure(path, &error))?;
    }
    Ok(())
}
