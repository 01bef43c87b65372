//! What SQLite's failures mean for the store: another writer, a full disk, damage, or a filesystem
//! that SQLite cannot work on. Uses rusqlite and nix.

use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, eaccess};
use rusqlite::{ErrorCode, ffi};

use super::super::StoreError;
use super::super::backend::PATIENCE;

/// A new file has no other users: who finds it locked is on a filesystem without proper locks.
pub(super) fn alone(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Busy(_) => unfit(path, "it cannot lock its file here"),
        other => other,
    }
}

pub(super) fn unfit(path: &Path, why: &str) -> StoreError {
    StoreError::NoSqlite { path: path.parent().unwrap_or(path).to_owned(), why: why.into() }
}

/// Whether the filesystem lacks what SQLite needs: locks, and memory that processes share.
fn is_lacking(code: i32) -> bool {
    matches!(
        code,
        ffi::SQLITE_IOERR_SHMOPEN
            | ffi::SQLITE_IOERR_SHMSIZE
            | ffi::SQLITE_IOERR_SHMLOCK
            | ffi::SQLITE_IOERR_SHMMAP
            | ffi::SQLITE_IOERR_LOCK
            | ffi::SQLITE_IOERR_UNLOCK
            | ffi::SQLITE_IOERR_RDLOCK
            | ffi::SQLITE_IOERR_CHECKRESERVEDLOCK
    )
}

/// SQLite's text is forwarded only where it cannot quote what is stored.
pub(in crate::store) fn failure(path: &Path, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            match has_locks(path) {
                true => StoreError::Busy(PATIENCE.as_secs()),
                false => unfit(path, "its filesystem gives no locks"),
            }
        }
        Some(ErrorCode::DiskFull) => StoreError::DiskFull,
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly,
        Some(ErrorCode::NotADatabase) => StoreError::corrupt("its database file is no database"),
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => {
            let code = error.sqlite_error().map_or(0, |cause| cause.extended_code);
            let text = format!("{} (SQLite {code})", ffi::code_to_str(code));
            of_the_disk(path).unwrap_or_else(|| match is_lacking(code) {
                true => unfit(path, &text),
                false => StoreError::Database(text),
            })
        }
        Some(_) | None => StoreError::corrupt("its database is not what was written"),
    }
}

/// SQLite says of a filesystem whose locks fail that another process has them. Asked of the sequence:
/// closing the database's own file would let go of the locks that SQLite has on it.
fn has_locks(path: &Path) -> bool {
    let Ok(sequence) = std::fs::File::open(path.with_file_name("sequence")) else { return true };
    !matches!(sequence.try_lock_shared(), Err(std::fs::TryLockError::Error(_)))
}

/// Looks at the disk to tell a full one, a read-only one and one that is not ours from a broken one:
/// SQLite says all alike.
fn of_the_disk(path: &Path) -> Option<StoreError> {
    let needed = AccessFlags::R_OK | AccessFlags::W_OK;
    let forbids = |at: &Path| eaccess(at, needed).err().map(|errno| StoreError::io("use", at)(errno.into()));
    let disk = statvfs(path).ok()?;
    match disk.flags().contains(FsFlags::ST_RDONLY) {
        true => Some(StoreError::ReadOnly),
        false if disk.blocks_available() == 0 => Some(StoreError::DiskFull),
        false => forbids(path).or_else(|| forbids(path.parent()?)),
    }
}
