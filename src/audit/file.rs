//! One file of the log on the disk: opened so that nothing else is written to, locked while it is
//! written, and read back from its end. Uses std and nix.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use super::chain::{Hash, Head, LATEST, Ratchet, Record, hash, is_cut};
use super::error::AuditError;

const PAUSE: Duration = Duration::from_micros(200);
/// More than any line takes.
pub(super) const LONGEST: u64 = 8 << 20;

pub(super) struct LogFile {
    pub(super) file: File,
    /// Its device and number.
    pub(super) id: (u64, u64),
}

/// How a file ends.
#[derive(Default)]
pub(super) struct Tail {
    /// The last record that our key has sealed, and the key as of then.
    pub(super) ours: Option<(Head, Ratchet)>,
    /// The last record, if it is another.
    pub(super) strange: Option<Strange>,
    /// What follows the last record.
    pub(super) torn: Option<Torn>,
    /// Whether the break after what is there is missing.
    pub(super) is_open: bool,
}

/// A record that is not ours.
pub(super) struct Strange {
    pub(super) head: Head,
    /// It does not even say so.
    pub(super) is_of_another: bool,
}

pub(super) struct Torn {
    pub(super) bytes: u64,
    pub(super) hash: Hash,
    /// Whether a crash can have left it.
    pub(super) is_cut: bool,
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

    /// Opens what is there, to be read only.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        Ok(Self { id: id(&file.metadata()?), file })
    }

    /// Its size, if the path still leads to it. Nobody else can write to it, or nothing is.
    pub(super) fn size_at(&self, path: &Path) -> Result<Option<u64>, AuditError> {
        match path.symlink_metadata() {
            Ok(meta) if id(&meta) == self.id => match unfit(&meta) {
                Some(what) => Err(AuditError::Unfit { path: path.to_owned(), what }),
                None => Ok(Some(meta.len())),
            },
            _ => Ok(None),
        }
    }

    /// From here on no other process of ours writes to it, until [`Self::unlock`].
    pub(super) fn lock(&self, path: &Path, patience: Duration) -> Result<(), AuditError> {
        let end = Instant::now() + patience;
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

    /// Reads back to the last record that this key has sealed.
    pub(super) fn tail(&self, key: &Ratchet) -> io::Result<Tail> {
        let size = self.size()?;
        let (mut room, mut steps) = (64 << 10, LATEST);
        loop {
            let from = size.saturating_sub(room);
            let bytes = self.bytes(from, size)?;
            let ours = |line: &[u8], record: &Record| key.of(line, record, &mut steps);
            let tail = Tail::of(&bytes, from == 0, &key.id, ours);
            if tail.ours.is_some() || from == 0 || room >= LONGEST {
                return Ok(tail);
            }
            room *= 8;
        }
    }

    /// The first record, whoever has made it.
    pub(super) fn first(&self) -> io::Result<Option<u64>> {
        let bytes = self.bytes(0, self.size()?.min(LONGEST))?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(Record::parse(line).map(|record| record.seq))
    }

    /// The same of the last one.
    pub(super) fn last(&self) -> io::Result<Option<u64>> {
        let size = self.size()?;
        let bytes = self.bytes(size.saturating_sub(LONGEST), size)?;
        Ok(bytes.split(|byte| *byte == b'\n').rev().find_map(Record::parse).map(|record| record.seq))
    }

    /// Whether a line with this hash ends there.
    pub(super) fn has_line(&self, end: u64, wanted: &Hash) -> io::Result<bool> {
        let mut room = 2 << 10;
        loop {
            let from = end.saturating_sub(room);
            let bytes = self.bytes(from, end)?;
            let Some(text) = bytes.strip_suffix(b"\n") else { return Ok(false) };
            match text.iter().rposition(|byte| *byte == b'\n') {
                Some(at) => return Ok(hash(&text[at + 1..]) == *wanted),
                None if from == 0 => return Ok(hash(text) == *wanted),
                None if room >= LONGEST => return Ok(false),
                None => room *= 8,
            }
        }
    }

    fn bytes(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; (to - from) as usize];
        self.file.read_exact_at(&mut bytes, from)?;
        Ok(bytes)
    }
}

impl Tail {
    /// Of bytes that go to the end; whole lines only, unless they are all.
    fn of(
        bytes: &[u8],
        is_all: bool,
        id: &str,
        mut ours: impl FnMut(&[u8], &Record) -> Option<Ratchet>,
    ) -> Self {
        let is_open = bytes.last().is_some_and(|byte| *byte != b'\n');
        let mut tail = Self { is_open, ..Self::default() };
        // Up to here it is known.
        let mut end = bytes.len() - usize::from(!is_open && !bytes.is_empty());
        let mut record_end = None;
        loop {
            let begin = bytes[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let line = &bytes[begin..end];
            let is_whole = begin > 0 || is_all;
            if let Some(record) = Record::parse(line).filter(|_| is_whole) {
                record_end.get_or_insert(end);
                let head = record.head(line);
                match ours(line, &record) {
                    Some(key) => tail.ours = Some((head, key)),
                    None => {
                        let is_of_another = record.key != id;
                        tail.strange.get_or_insert(Strange { head, is_of_another });
                    }
                }
            }
            if tail.ours.is_some() || begin == 0 {
                break;
            }
            end = begin - 1;
        }
        let after = &bytes[record_end.map_or(0, |end| (end + 1).min(bytes.len()))..];
        let text = after.strip_suffix(b"\n").unwrap_or(after);
        tail.torn = (!after.is_empty()).then(|| Torn {
            bytes: text.len() as u64,
            hash: hash(text),
            is_cut: is_open && is_cut(text),
        });
        tail
    }
}

pub(super) fn id(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Why nothing is written to that.
/// What is wrong with a file that is to be a log of ours.
pub fn unfit(meta: &Metadata) -> Option<&'static str> {
    let us = geteuid().as_raw();
    match () {
        () if !meta.is_file() => Some("no regular file"),
        () if meta.uid() != us && meta.uid() != 0 => Some("another user's"),
        () if meta.mode() & 0o077 != 0 => Some("open to others"),
        () if meta.nlink() > 1 => Some("linked from elsewhere, too"),
        () => None,
    }
}
