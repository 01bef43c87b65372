//! One file of the log on the disk: opened so that nothing else is written to, locked while it is
//! written, and read back from its end. Uses std and nix.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use super::chain::{Hash, Head, Record, hash};
use super::error::AuditError;

/// How long it is waited for another process that writes.
const BUDGET: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_micros(200);
/// More than any line takes.
const LONGEST: u64 = 8 << 20;

pub(super) struct LogFile {
    pub(super) file: File,
    /// Its device and number.
    pub(super) id: (u64, u64),
}

/// How a file ends.
pub(super) struct Tail {
    pub(super) last: Option<Last>,
    /// What follows the last record, with no break at its end.
    pub(super) torn: Option<Torn>,
    /// Whether only the break after the last record is missing.
    pub(super) is_open: bool,
}

pub(super) struct Last {
    pub(super) head: Head,
    pub(super) record: Record,
    pub(super) line: Vec<u8>,
}

pub(super) struct Torn {
    pub(super) bytes: u64,
    pub(super) hash: Hash,
    /// Whether a line ends there.
    pub(super) is_ended: bool,
}

impl LogFile {
    /// Opens what is there, or makes it. Never follows a link, never waits for a reader.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let failed = AuditError::io(path);
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let opened = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(flags)
            .open(path);
        let file = match opened {
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(AuditError::Unfit { path: path.to_owned(), what: "a symbolic link" });
            }
            opened => opened.map_err(&failed)?,
        };
        let meta = file.metadata().map_err(&failed)?;
        if let Some(what) = unfit(&meta) {
            return Err(AuditError::Unfit { path: path.to_owned(), what });
        }
        Ok(Self { id: id(&meta), file })
    }

    /// Whether the path still leads to it, and nobody else can write to it.
    pub(super) fn is_at(&self, path: &Path) -> Result<bool, AuditError> {
        match path.symlink_metadata() {
            Ok(meta) if id(&meta) == self.id => match unfit(&meta) {
                Some(what) => Err(AuditError::Unfit { path: path.to_owned(), what }),
                None => Ok(true),
            },
            _ => Ok(false),
        }
    }

    /// From here on no other process of ours writes to it, until [`Self::unlock`].
    pub(super) fn lock(&self, path: &Path) -> Result<(), AuditError> {
        let end = Instant::now() + BUDGET;
        loop {
            match self.file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(AuditError::Busy(path.to_owned())),
                Err(TryLockError::Error(error)) => return Err(AuditError::io(path)(error)),
            }
        }
    }

    pub(super) fn unlock(&self) {
        // It goes with the descriptor at the latest.
        let _ = self.file.unlock();
    }

    pub(super) fn size(&self) -> io::Result<u64> {
        self.file.metadata().map(|meta| meta.len())
    }

    /// One `write`. What was written of lines that did not fit is taken back.
    pub(super) fn append(&self, lines: &[u8], end: u64) -> io::Result<()> {
        let written = loop {
            match (&self.file).write(lines) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => break written,
            }
        };
        let error = match written {
            Ok(length) if length == lines.len() => return Ok(()),
            Ok(_) => io::Error::from_raw_os_error(libc::ENOSPC),
            Err(error) => error,
        };
        // If this fails too, the next one to write closes the line.
        let _ = self.file.set_len(end);
        Err(error)
    }

    /// Reads its last record.
    pub(super) fn tail(&self) -> io::Result<Tail> {
        let size = self.size()?;
        let mut room = 64 << 10;
        loop {
            let from = size.saturating_sub(room);
            let mut bytes = vec![0; (size - from) as usize];
            self.file.read_exact_at(&mut bytes, from)?;
            let tail = Tail::of(&bytes, from == 0);
            if tail.last.is_some() || from == 0 || room >= LONGEST {
                return Ok(tail);
            }
            room *= 8;
        }
    }
}

impl Tail {
    /// Of bytes that go to the end; whole lines only, unless they are all.
    fn of(bytes: &[u8], is_all: bool) -> Self {
        let mut end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut last = None;
        while end > 0 && last.is_none() {
            let begin = bytes[..end - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let line = &bytes[begin..end - 1];
            let record = if begin > 0 || is_all { Record::parse(line) } else { None };
            match record {
                Some(record) => last = Some(Last { head: record.head(line), record, line: line.to_vec() }),
                None => end = begin,
            }
        }
        let after = &bytes[end..];
        if let Some(record) = Record::parse(after) {
            let last = Last { head: record.head(after), record, line: after.to_vec() };
            return Self { last: Some(last), torn: None, is_open: true };
        }
        let text = after.strip_suffix(b"\n").unwrap_or(after);
        let torn = (!after.is_empty()).then(|| Torn {
            bytes: text.len() as u64,
            hash: hash(text),
            is_ended: text.len() < after.len(),
        });
        Self { last, torn, is_open: false }
    }
}

fn id(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Why nothing is written to that.
fn unfit(meta: &Metadata) -> Option<&'static str> {
    let us = geteuid().as_raw();
    match () {
        () if !meta.is_file() => Some("no regular file"),
        () if meta.uid() != us && meta.uid() != 0 => Some("another user's"),
        () if meta.mode() & 0o077 != 0 => Some("open to others"),
        () if meta.nlink() > 1 => Some("linked from elsewhere, too"),
        () => None,
    }
}
