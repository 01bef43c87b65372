//! The log on the disk, over all its files: goes on where it stands, whoever has written last, and
//! begins a new file when one is full. Uses `file` and `chain`.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::chain::{Head, Moment, Ratchet, Record, hex};
use super::error::AuditError;
use super::event::{Event, Kind, OfLog};
use super::file::{LogFile, Tail, Torn};
use super::history;
use crate::sys::uptime::Uptime;

pub(super) struct Log {
    path: PathBuf,
    /// A file that has this many bytes is full.
    size: u64,
    /// How many full ones are kept.
    keep: u32,
    ratchet: Ratchet,
    open: Option<LogFile>,
    /// Where the chain stands, and where it ends in which file.
    stands: Option<(Head, End)>,
}

/// The end of a file, of this device and number.
#[derive(Clone, Copy, PartialEq, Eq)]
struct End {
    of: (u64, u64),
    at: u64,
}

/// Lines that are about to be written.
struct Batch {
    lines: Vec<u8>,
    head: Head,
}

impl Log {
    pub(super) fn new(path: &Path, size: u64, keep: u32, ratchet: Ratchet) -> Self {
        Self { path: path.to_owned(), size, keep, ratchet, open: None, stands: None }
    }

    /// Where the chain stands, as far as this process has seen it.
    pub(super) fn head(&self) -> Option<&Head> {
        self.stands.as_ref().map(|(head, _)| head)
    }

    /// Writes these, in one `write`, and answers their lines.
    pub(super) fn write(&mut self, bodies: &[&str], at: Moment) -> Result<Vec<u8>, AuditError> {
        self.lock()?;
        let outcome = self.write_locked(bodies, at);
        match &self.open {
            Some(open) if outcome.is_ok() => open.unlock(),
            // What is there is looked at anew.
            _ => self.open = None,
        }
        outcome
    }

    /// A descriptor of the file that is written to, to have it synced elsewhere.
    pub(super) fn descriptor(&self) -> Option<fs::File> {
        self.open.as_ref().and_then(|open| open.file.try_clone().ok())
    }

    /// The file that the path leads to, locked.
    fn lock(&mut self) -> Result<(), AuditError> {
        for _ in 0..8 {
            let open = match self.open.take() {
                Some(open) => open,
                None => LogFile::open(&self.path)?,
            };
            open.lock(&self.path)?;
            // Another process may just have begun a new file.
            if open.is_at(&self.path)? {
                self.open = Some(open);
                return Ok(());
            }
        }
        Err(AuditError::Busy(self.path.clone()))
    }

    fn write_locked(&mut self, bodies: &[&str], at: Moment) -> Result<Vec<u8>, AuditError> {
        let mut batch = self.begin(at)?;
        // What is unfinished is closed where it is.
        if self.end()?.at >= self.size && batch.lines.is_empty() {
            let dropped = self.begin_next_file()?;
            let log = OfLog { dropped, ..OfLog::default() };
            self.seal(&mut batch, at, &Event::of_log(Kind::LogBegun, "the one before is full", log).body())?;
        }
        let own = batch.lines.len();
        for body in bodies {
            self.seal(&mut batch, at, body)?;
        }
        let end = self.end()?;
        self.opened()?.append(&batch.lines, end.at).map_err(AuditError::io(&self.path))?;
        let end = End { at: end.at + batch.lines.len() as u64, ..end };
        self.stands = Some((batch.head, end));
        Ok(batch.lines.split_off(own))
    }

    fn opened(&self) -> Result<&LogFile, AuditError> {
        self.open.as_ref().ok_or_else(|| AuditError::Busy(self.path.clone()))
    }

    fn end(&self) -> Result<End, AuditError> {
        let open = self.opened()?;
        let at = open.size().map_err(AuditError::io(&self.path))?;
        Ok(End { of: open.id, at })
    }

    /// Where to go on, with what has to be said of it first.
    fn begin(&mut self, at: Moment) -> Result<Batch, AuditError> {
        let end = self.end()?;
        if let Some((head, known)) = &self.stands
            && *known == end
        {
            return Ok(Batch { lines: Vec::new(), head: head.clone() });
        }
        let tail = self.opened()?.tail().map_err(AuditError::io(&self.path))?;
        let known = self.stands.take().map(|(head, _)| head);
        self.go_on(known, tail, at)
    }

    fn go_on(&mut self, known: Option<Head>, tail: Tail, at: Moment) -> Result<Batch, AuditError> {
        let (there, is_ours) = match &tail.last {
            Some(last) => (Some(last.head.clone()), self.has_sealed(&last.line, &last.record)),
            None => (history::last_of(&history::full(&self.path, 1)), true),
        };
        let is_later = |head: &Head| known.as_ref().is_none_or(|known| head.seq >= known.seq);
        let (head, lost) = match (there.filter(|head| is_ours && is_later(head)), &known, &tail.last) {
            (Some(head), ..) => (head, None),
            (None, Some(known), _) => (known.clone(), Some("what was last written is not there any more")),
            (None, None, Some(last)) => (last.head.clone(), Some("the last record is not of this key")),
            (None, None, None) => (Head::none(at.time), None),
        };
        let mut batch = Batch { lines: Vec::new(), head };
        if tail.is_open {
            batch.lines.push(b'\n');
        }
        if let Some(Torn { bytes, hash, is_ended }) = tail.torn {
            if !is_ended {
                batch.lines.push(b'\n');
            }
            let log = OfLog { count: Some(bytes), torn: Some(hex(&hash)), ..OfLog::default() };
            let event = Event::of_log(Kind::LogRecovered, "an unfinished line was closed", log);
            self.seal(&mut batch, at, &event.body())?;
        } else if let Some(why) = lost {
            self.seal(&mut batch, at, &Event::of_log(Kind::LogLost, why, OfLog::default()).body())?;
        } else if tail.last.is_none() {
            self.seal(
                &mut batch,
                at,
                &Event::of_log(Kind::LogBegun, "a file begins", OfLog::default()).body(),
            )?;
        }
        Ok(batch)
    }

    fn has_sealed(&mut self, line: &[u8], record: &Record) -> bool {
        self.ratchet.id == record.key
            && self.ratchet.forward(record.epoch)
            && self.ratchet.has_sealed(line, record)
    }

    fn seal(&mut self, batch: &mut Batch, at: Moment, body: &str) -> Result<(), AuditError> {
        let sealed = self.ratchet.seal(&batch.head, at, body);
        let (line, head) = sealed.ok_or_else(|| AuditError::Later(self.path.clone()))?;
        batch.lines.extend_from_slice(&line);
        batch.head = head;
        Ok(())
    }

    /// The files before move up by one, and the oldest goes. Answers its last number.
    fn begin_next_file(&mut self) -> Result<Option<u64>, AuditError> {
        let failed = AuditError::io(&self.path);
        let oldest = history::full(&self.path, self.keep);
        let dropped = history::last_of(&oldest).map(|head| head.seq);
        if dropped.is_some() {
            fs::remove_file(&oldest).map_err(&failed)?;
        }
        for number in (1..self.keep).rev() {
            let from = history::full(&self.path, number);
            if from.exists() {
                fs::rename(from, history::full(&self.path, number + 1)).map_err(&failed)?;
            }
        }
        if let Some(open) = &self.open {
            open.file.sync_data().map_err(&failed)?;
        }
        fs::rename(&self.path, history::full(&self.path, 1)).map_err(&failed)?;
        let before = self.open.take();
        let next = LogFile::open(&self.path)?;
        next.lock(&self.path)?;
        drop(before);
        self.open = Some(next);
        Ok(dropped)
    }
}

/// The time as a line has it.
pub(super) fn moment(time: Timestamp) -> Moment {
    Moment { time, boot: Uptime::now().since(Uptime::START).as_secs_f64() }
}
