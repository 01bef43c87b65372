//! The log on the disk, over all its files: goes on where it stands, whoever has written last, and
//! begins a new file when one is full. Uses `file` and `chain`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::chain::{Head, Moment, Ratchet, hex};
use super::error::AuditError;
use super::event::{Event, Kind, OfLog};
use super::file::{LogFile, Tail};
use super::heir::Heirs;
use super::history;
use crate::sys::uptime::Uptime;

pub(super) struct Log {
    path: PathBuf,
    /// A file that has this many bytes is full.
    size: u64,
    /// How many full ones are kept.
    keep: u32,
    /// How long it is waited for another process that writes.
    patience: Duration,
    /// Of the epoch of the last line that we have written.
    ratchet: Ratchet,
    open: Option<LogFile>,
    /// Full files that are not on the disk for good.
    full: Vec<fs::File>,
    /// Where the chain stands, and where it ends in which file.
    stands: Option<(Head, End)>,
    /// All up to this number were told to be let go.
    told: u64,
}

/// The end of a file, of this device and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) of: (u64, u64),
    pub(super) at: u64,
}

#[cfg(test)]
thread_local! {
    /// What another process does while a file is begun.
    pub(super) static BETWEEN: std::cell::Cell<Option<Box<dyn FnOnce()>>> = const { std::cell::Cell::new(None) };
}

/// Lines that are about to be written.
struct Batch {
    lines: Vec<u8>,
    head: Head,
    ratchet: Ratchet,
}

const LOST: &str = "what was last written is not there any more";
const STRANGE: &str = "the last record is not of this key";
const CHANGED: &str = "a line was changed";
/// Of another key's numbers, none is taken that leaves no room.
const HIGHEST: u64 = 1 << 62;

impl Log {
    pub(super) fn new(path: &Path, size: u64, keep: u32, ratchet: Ratchet) -> Self {
        let (path, patience) = (path.to_owned(), Duration::ZERO);
        Self { path, size, keep, patience, ratchet, open: None, full: Vec::new(), stands: None, told: 0 }
    }

    /// Where the chain stands, as far as this process has seen it.
    pub(super) fn head(&self) -> Option<&Head> {
        self.stands.as_ref().map(|(head, _)| head)
    }

    /// Goes on where the process before, or another one in this process, has seen it.
    pub(super) fn after(self, heirs: &Heirs) -> Self {
        Self { stands: heirs.last(&self.path, &self.ratchet.id), ..self }
    }

    pub(super) fn tell(&self, heirs: &Heirs) {
        if let Some((head, end)) = &self.stands {
            heirs.tell(&self.path, &self.ratchet.id, head, *end);
        }
    }

    /// The device and number of the file that was last written to.
    pub(super) fn file(&self) -> Option<(u64, u64)> {
        self.stands.as_ref().map(|(_, end)| end.of)
    }

    /// Writes these, in one `write`, and answers their lines.
    pub(super) fn write(
        &mut self,
        bodies: &[&str],
        at: Moment,
        patience: Duration,
    ) -> Result<Vec<u8>, AuditError> {
        self.patience = patience;
        let end = self.lock()?;
        let outcome = self.write_locked(bodies, at, end);
        match &self.open {
            Some(open) if outcome.is_ok() => open.unlock(),
            // What is there is looked at anew.
            _ => self.open = None,
        }
        outcome
    }

    /// Descriptors of what was written to, to have it synced elsewhere.
    pub(super) fn descriptors(&mut self) -> Vec<fs::File> {
        let mut files = std::mem::take(&mut self.full);
        files.extend(self.open.as_ref().and_then(|open| open.file.try_clone().ok()));
        files
    }

    /// The file that the path leads to, locked, and where it ends.
    fn lock(&mut self) -> Result<End, AuditError> {
        for _ in 0..8 {
            let open = match self.open.take() {
                Some(open) => open,
                None => LogFile::open(&self.path)?,
            };
            open.lock(&self.path, self.patience)?;
            // Another process may just have begun a new file.
            if let Some(at) = open.size_at(&self.path)? {
                let end = End { of: open.id, at };
                self.open = Some(open);
                return Ok(end);
            }
        }
        Err(AuditError::Busy(self.path.clone()))
    }

    fn write_locked(&mut self, bodies: &[&str], at: Moment, mut end: End) -> Result<Vec<u8>, AuditError> {
        let mut batch = self.begin(at, end)?;
        // What is unfinished is closed where it is.
        if end.at >= self.size && batch.lines.is_empty() {
            self.tell_dropped(&mut batch, at, end)?;
            end = self.begin_next_file()?;
            // Another process may have been the first to find the new one.
            match end.at {
                0 => self.say(&mut batch, at, Kind::LogBegun, "the one before is full", OfLog::default())?,
                _ => batch = self.begin(at, end)?,
            }
        }
        let own = batch.lines.len();
        for body in bodies {
            self.seal(&mut batch, at, body)?;
        }
        self.opened()?.append(&batch.lines, end.at).map_err(AuditError::io(&self.path))?;
        let end = End { at: end.at + batch.lines.len() as u64, ..end };
        (self.stands, self.ratchet) = (Some((batch.head, end)), batch.ratchet);
        Ok(batch.lines.split_off(own))
    }

    fn opened(&self) -> Result<&LogFile, AuditError> {
        self.open.as_ref().ok_or_else(|| AuditError::Busy(self.path.clone()))
    }

    /// Where to go on, with what has to be said of it first.
    fn begin(&self, at: Moment, end: End) -> Result<Batch, AuditError> {
        match &self.stands {
            Some((head, known)) if *known == end && self.is_last(head, end) => {
                Ok(Batch { lines: Vec::new(), head: head.clone(), ratchet: self.ratchet.clone() })
            }
            _ => self.go_on(at),
        }
    }

    /// Another line can be as long.
    fn is_last(&self, head: &Head, end: End) -> bool {
        self.open.as_ref().is_some_and(|open| open.has_line(end.at, &head.hash).unwrap_or(false))
    }

    /// From what is there.
    fn go_on(&self, at: Moment) -> Result<Batch, AuditError> {
        let mut tail = self.opened()?.tail(&self.ratchet).map_err(AuditError::io(&self.path))?;
        let is_empty = tail.ours.is_none() && tail.strange.is_none() && tail.torn.is_none();
        let (mut batch, mut lost) = self.place(&mut tail, at);
        if tail.is_open {
            batch.lines.push(b'\n');
        }
        match tail.torn {
            Some(torn) if torn.is_cut => {
                let log = OfLog { count: Some(torn.bytes), torn: Some(hex(&torn.hash)), ..OfLog::default() };
                self.say(&mut batch, at, Kind::LogRecovered, "an unfinished line was closed", log)?;
            }
            // A crash ends no line.
            Some(_) => {
                batch.head.seq = batch.head.seq.saturating_add(1);
                lost = lost.or(Some(CHANGED));
            }
            None => {}
        }
        match lost {
            Some(why) => self.say(&mut batch, at, Kind::LogLost, why, OfLog::default())?,
            None if is_empty => {
                self.say(&mut batch, at, Kind::LogBegun, "a file begins", OfLog::default())?
            }
            None => {}
        }
        Ok(batch)
    }

    /// Where the chain stands, and what is wrong with it. Nothing says so that our key has not
    /// sealed; but the first line after those of another key names the last of them.
    fn place(&self, tail: &mut Tail, at: Moment) -> (Batch, Option<&'static str>) {
        let is_lost = self.stands.as_ref().is_some_and(|(head, end)| !self.has_still(head, *end));
        if tail.ours.is_none() && !is_lost {
            let before = history::open(&history::full(&self.path, 1));
            tail.ours = before.and_then(|file| file.tail(&self.ratchet).ok()?.ours);
        }
        let known = self.head();
        let is_later = |head: &Head| known.is_none_or(|known| head.seq >= known.seq);
        let (head, ratchet, lost) = match (known, tail.ours.take().filter(|(head, _)| is_later(head))) {
            // The number that is left out says that something is missing.
            (Some(known), Some((head, ratchet))) if is_lost => {
                let head = Head { seq: head.seq.saturating_add(1), hash: known.hash, ..head };
                (head, ratchet, Some(LOST))
            }
            (_, Some((head, ratchet))) => (head, ratchet, None),
            (Some(known), None) => (known.clone(), self.ratchet.clone(), Some(LOST)),
            (None, None) => (Head::none(at.time), self.ratchet.clone(), None),
        };
        let mut batch = Batch { lines: Vec::new(), head, ratchet };
        let Some(strange) = &tail.strange else { return (batch, lost) };
        if strange.is_of_another && (batch.head.seq..HIGHEST).contains(&strange.head.seq) {
            (batch.head.seq, batch.head.hash) = (strange.head.seq, strange.head.hash);
        }
        (batch, lost.or(Some(STRANGE)))
    }

    /// Whether the last line that we have written is still where it was, in whichever file; or its
    /// file was let go since.
    fn has_still(&self, head: &Head, end: End) -> bool {
        let has_it = |file: &LogFile| file.has_line(end.at, &head.hash).unwrap_or(false);
        let is_let_go = |file: LogFile| file.first().is_ok_and(|first| first > Some(head.seq));
        let mut full = history::files(&self.path);
        full.retain(|path| *path != self.path);
        self.open.as_ref().is_some_and(has_it)
            || full.iter().rev().filter_map(|path| history::open(path)).any(|file| has_it(&file))
            || full.first().and_then(|path| history::open(path)).is_some_and(is_let_go)
    }

    fn say(
        &self,
        batch: &mut Batch,
        at: Moment,
        kind: Kind,
        detail: &str,
        log: OfLog,
    ) -> Result<(), AuditError> {
        self.seal(batch, at, &Event::of_log(kind, detail, log).body())
    }

    fn seal(&self, batch: &mut Batch, at: Moment, body: &str) -> Result<(), AuditError> {
        let sealed = batch.ratchet.seal(&batch.head, at, body);
        let (line, head) = sealed.ok_or_else(|| AuditError::Later(self.path.clone()))?;
        batch.lines.extend_from_slice(&line);
        batch.head = head;
        Ok(())
    }

    /// What is about to be let go is told in the full file, and is on the disk for good, before any of
    /// it goes: however it ends then, somebody has said so.
    fn tell_dropped(&mut self, batch: &mut Batch, at: Moment, end: End) -> Result<(), AuditError> {
        let failed = AuditError::io(&self.path);
        // While a number is free, nothing goes.
        if history::free(&self.path) <= self.keep {
            return Ok(());
        }
        let oldest = history::full(&self.path, self.keep);
        let Some(dropped) = history::last(&oldest).map_err(&failed)? else { return Ok(()) };
        if self.told >= dropped {
            return Ok(());
        }
        let log = OfLog { dropped: Some(dropped), ..OfLog::default() };
        self.say(batch, at, Kind::LogBegun, "it is full, and those before are let go", log)?;
        let open = self.opened()?;
        open.append(&batch.lines, end.at).and_then(|()| open.file.sync_data()).map_err(&failed)?;
        let end = End { at: end.at + batch.lines.len() as u64, ..end };
        (self.stands, self.ratchet) = (Some((batch.head.clone(), end)), batch.ratchet.clone());
        batch.lines.clear();
        self.told = dropped;
        Ok(())
    }

    /// The files before move up by one, and those go that are too many; but where a crash has left a
    /// number free, that is filled, and nothing goes. Answers where the new one ends.
    fn begin_next_file(&mut self) -> Result<End, AuditError> {
        let failed = AuditError::io(&self.path);
        let full = |number| history::full(&self.path, number);
        let free = history::free(&self.path);
        // The oldest first: there is never more than one number free.
        for number in (self.keep..free).rev() {
            fs::remove_file(full(number)).map_err(&failed)?;
        }
        for number in (1..free.min(self.keep)).rev() {
            fs::rename(full(number), full(number + 1)).map_err(&failed)?;
        }
        fs::rename(&self.path, full(1)).map_err(&failed)?;
        #[cfg(test)]
        if let Some(meanwhile) = BETWEEN.take() {
            meanwhile();
        }
        drop(failed);
        // Its lock is held until we have that of the next one.
        let before = self.open.take();
        let end = self.lock()?;
        self.full.extend(before.map(|before| before.file));
        if let Some(full) = self.full.last() {
            let _ = full.unlock();
        }
        Ok(end)
    }
}

/// The time as a line has it.
pub(super) fn moment(time: Timestamp) -> Moment {
    Moment { time, boot: Uptime::now().since(Uptime::START).as_secs_f64() }
}
