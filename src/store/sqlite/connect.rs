//! Opens a database the way we want it: in WAL mode, each commit on the disk, and nothing in the file
//! that runs. Uses rusqlite.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::super::backend::PATIENCE;
use super::super::{Access, StoreError};
use super::failure::failure;

/// A database in WAL mode wants its `-shm` file. Where none can be made, on a read-only or a full
/// disk, and there is no WAL, nobody writes, and the database can be read as it lies there.
pub(super) fn connect(path: &Path, access: Access) -> Result<Connection, StoreError> {
    match open_connection(path, access) {
        Err(StoreError::ReadOnly | StoreError::DiskFull) if access == Access::Read && has_no_wal(path) => {
            open_frozen(path)
        }
        result => result,
    }
}

fn open_connection(path: &Path, access: Access) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| failure(path, &error))?;
    configure(&connection, access).map_err(|error| failure(path, &error))?;
    Ok(connection)
}

fn configure(connection: &Connection, access: Access) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // We have none: what somebody has put into the file shall not run, nor stand for a table.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    // Otherwise a statement whose plan looks at a bound value is compiled anew at every use, which
    // was half of the time of a read.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch(
        "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON;
         PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON;
         PRAGMA journal_size_limit = 1048576;",
    )?;
    if access == Access::Read {
        // Who only reads leaves the WAL to the next writer, and closes without a sync.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // Each commit empties the cache of pages; until then these are enough (KiB, for each of some
        // connections: the default of 2000 is most of the memory of a daemon that lives long).
        connection.pragma_update(None, "cache_size", -512)?;
        connection.pragma_update(None, "query_only", true)?;
    }
    // The first statement that looks into the file: what is wrong with it shows here.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

fn has_no_wal(path: &Path) -> bool {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    std::fs::metadata(wal).map_or(true, |wal| wal.len() == 0)
}

fn open_frozen(path: &Path) -> Result<Connection, StoreError> {
    let encoded = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{encoded}?immutable=1"), flags)
        .map_err(|error| failure(path, &error))?;
    configure(&connection, Access::Read).map_err(|error| failure(path, &error))?;
    Ok(connection)
}

/// Puts an empty database into WAL mode, if it can be; says in which it is. Asked for to its end: what
/// fails last fails after the answer.
pub(super) fn keep_log(connection: &Connection) -> rusqlite::Result<String> {
    let mut statement = connection.prepare("PRAGMA journal_mode = WAL")?;
    let modes = statement.query_map([], |row| row.get(0))?;
    Ok(modes.collect::<rusqlite::Result<Vec<String>>>()?.concat())
}
