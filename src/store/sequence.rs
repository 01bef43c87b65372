//! The sequence file: tells in one `pread` whether the store has changed, across processes.
//! `2·epoch` when quiet, `2·epoch + 1` while a writer commits the next one. It is also the lock
//! that makes writers one. Uses std only.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::StoreError;

/// The file as a reader has it open.
pub(super) struct Sequence(File);

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// No writer is at work since this epoch.
    Quiet(u64),
    /// A writer commits, or died committing: ask the store.
    Moving,
    /// Another file has taken its place.
    Replaced,
}

impl Mark {
    /// Whether rows of this epoch are those that it speaks of.
    pub(super) fn is_of(self, epoch: u64) -> bool {
        matches!(self, Self::Quiet(marked) if marked <= epoch)
    }
}

impl Sequence {
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).map(Self)
    }

    pub(super) fn read(&self) -> Mark {
        if self.0.metadata().map_or(true, |meta| meta.nlink() == 0) {
            return Mark::Replaced;
        }
        read(&self.0)
    }
}

fn read(file: &File) -> Mark {
    let mut bytes = [0; 8];
    match file.read_exact_at(&mut bytes, 0).map(|()| u64::from_le_bytes(bytes)) {
        Ok(value) if value % 2 == 0 => Mark::Quiet(value / 2),
        _ => Mark::Moving,
    }
}

/// The right to write. While one is held, no other process has one.
pub(super) struct WriterLock(File);

impl WriterLock {
    /// Waits for other writers as long as `patience` lasts.
    pub(super) fn acquire(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        let end = Instant::now() + patience;
        loop {
            match Self::try_acquire(path)? {
                Some(lock) => return Ok(lock),
                None if Instant::now() >= end => return Err(StoreError::Busy(patience.as_secs())),
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// `None` if another process writes.
    pub(super) fn try_acquire(path: &Path) -> Result<Option<Self>, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(StoreError::io("open", path))?;
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => Ok(Some(Self(file))),
            // Replaced between open and lock: what is locked is nobody's file any more.
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.0
    }

    /// Says that the epoch after this one is being committed.
    pub(super) fn mark_moving(&self, epoch: u64) -> std::io::Result<()> {
        self.0.write_all_at(&(2 * epoch + 1).to_le_bytes(), 0)
    }

    pub(super) fn mark_quiet(&self, epoch: u64) -> std::io::Result<()> {
        match read(&self.0) {
            Mark::Quiet(marked) if marked == epoch => Ok(()),
            _ => self.0.write_all_at(&(2 * epoch).to_le_bytes(), 0),
        }
    }
}

/// Whether this file is what is found there.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_what_is_going_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sequence");
        let lock = WriterLock::acquire(&path, Duration::ZERO).unwrap();
        let sequence = Sequence::open(&path).unwrap();
        assert_eq!(sequence.read(), Mark::Moving, "an empty file says nothing");
        lock.mark_quiet(7).unwrap();
        assert_eq!(sequence.read(), Mark::Quiet(7));
        lock.mark_moving(7).unwrap();
        assert_eq!(sequence.read(), Mark::Moving);
        lock.mark_quiet(8).unwrap();
        assert_eq!(sequence.read(), Mark::Quiet(8));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(sequence.read(), Mark::Replaced);
    }

    #[test]
    fn writers_are_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sequence");
        let lock = WriterLock::acquire(&path, Duration::ZERO).unwrap();
        let busy = WriterLock::acquire(&path, Duration::from_millis(20));
        assert!(matches!(busy, Err(StoreError::Busy(_))));
        drop(lock);
        assert!(WriterLock::acquire(&path, Duration::ZERO).is_ok());
    }
}
