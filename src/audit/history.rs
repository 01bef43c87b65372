//! The files of a log, oldest first, and what of it somebody wants to see. Uses `chain`, and the
//! patterns of `policy`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::chain::Record;
use super::event::{Kind, Named};
use super::file::{LONGEST, LogFile, id};
use crate::policy::{Door, Pattern, Verdict};

/// How long a reader waits for who writes.
const PATIENCE: Duration = Duration::from_secs(1);

/// The file that was full so many files ago.
pub(super) fn full(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// One of the full files, if it is there. Who may read it, too, is of no matter: nobody writes to it.
pub(super) fn open(path: &Path) -> Option<LogFile> {
    let is_there = path.symlink_metadata().is_ok_and(|meta| meta.is_file());
    is_there.then(|| LogFile::read(path).ok())?
}

/// The last record of a full file, which has to be found if there is such a file.
pub(super) fn last(path: &Path) -> io::Result<Option<u64>> {
    match LogFile::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file?.last(),
    }
}

/// The lowest number that no full file has.
pub(super) fn free(path: &Path) -> u32 {
    (1..).find(|number| !full(path, *number).exists()).unwrap_or(u32::MAX)
}

/// All files of the log that are there, oldest first. While the next one is begun, or after a crash
/// then, one number is free.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let is_there = |number: &u32| full(path, *number).exists();
    let numbers = (1..).take_while(|number| is_there(number) || is_there(&(number + 1)));
    let mut files: Vec<_> = numbers.filter(is_there).map(|number| full(path, number)).collect();
    files.reverse();
    files.extend(path.exists().then(|| path.to_owned()));
    files
}

/// A file of the log, as it was when it was opened.
pub struct Part {
    pub path: PathBuf,
    file: File,
}

impl Part {
    /// Its device and number.
    pub fn id(&self) -> io::Result<(u64, u64)> {
        self.file.metadata().map(|meta| id(&meta))
    }

    /// Hands each line on, with its break. What is longer than any line comes in pieces without.
    pub fn read(self, take: impl FnMut(&[u8])) -> io::Result<()> {
        self.read_from(0, take)
    }

    /// The same from a line's beginning, or from the first one if it does not go so far any more.
    pub fn read_from(mut self, at: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let at = if self.file.metadata()?.len() < at { 0 } else { at };
        self.file.seek(SeekFrom::Start(at))?;
        let mut reader = BufReader::new(self.file);
        let mut line = Vec::new();
        while reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)? > 0 {
            take(&line);
            line.clear();
        }
        Ok(())
    }
}

/// Hands each line of all files on, with its break.
pub fn read(path: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    parts(path)?.into_iter().try_for_each(|part| part.read(&mut take))
}

/// All of them as of one moment, oldest first: who begins a new file has the lock of the one before.
pub fn parts(path: &Path) -> io::Result<Vec<Part>> {
    let open = || files(path).into_iter().map(|path| Ok(Part { file: File::open(&path)?, path })).collect();
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end && path.is_file() {
        let newest = File::open(path)?;
        let is_newest = || Some(id(&newest.metadata().ok()?) == id(&path.metadata().ok()?));
        if newest.try_lock_shared().is_ok() && is_newest() == Some(true) {
            return open();
        }
        thread::sleep(Duration::from_millis(1));
    }
    open()
}

/// What a record has to be. All of it has to hold.
#[derive(Default)]
pub struct Query {
    /// Fits any of its names.
    pub secret: Option<Pattern>,
    pub file: Option<Pattern>,
    pub unit: Option<Pattern>,
    /// Of the caller, or the one that a command runs for it.
    pub exe: Option<Pattern>,
    pub uid: Option<u32>,
    pub door: Option<Door>,
    pub verdict: Option<Verdict>,
    pub event: Option<Kind>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

impl Query {
    pub fn fits(&self, record: &Record) -> bool {
        let (event, who) = (&record.event, &record.event.who);
        let is_one = |wanted: &Option<Pattern>, texts: [&Option<String>; 2]| {
            let fits = |pattern: &Pattern| texts.into_iter().flatten().any(|text| pattern.fits(text));
            wanted.as_ref().is_none_or(fits)
        };
        let is_file = |wanted: &Pattern| event.file.as_ref().is_some_and(|file| is_at(wanted, file));
        let is_exe = |wanted: &Pattern| {
            let programs = [&who.exe, &event.program].into_iter().flatten();
            programs.into_iter().any(|program| is_at(wanted, program))
        };
        self.secret.as_ref().is_none_or(|wanted| event.secrets.iter().any(|it| it.is_called(wanted)))
            && self.file.as_ref().is_none_or(is_file)
            && is_one(&self.unit, [&who.unit, &who.user_unit])
            && self.exe.as_ref().is_none_or(is_exe)
            && self.uid.is_none_or(|uid| who.uid == uid)
            && self.door.is_none_or(|door| event.door.as_deref() == Some(door.name()))
            && self.verdict.is_none_or(|verdict| event.verdict.as_deref() == Some(verdict.name()))
            && self.event.is_none_or(|kind| event.kind == kind)
            && self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
    }
}

impl Named {
    /// As it was asked for, as its provider has it, or with the provider before that, as in rules.
    fn is_called(&self, wanted: &Pattern) -> bool {
        let place = self.path.as_ref().unwrap_or(&self.name);
        let whole = self.provider.as_ref().map(|provider| format!("{provider}:{place}"));
        wanted.fits(&self.name) || wanted.fits(place) || whole.is_some_and(|whole| wanted.fits(&whole))
    }
}

/// A pattern that does not begin at the root may begin at any folder: where a mount is, or a
/// program, it does not say.
fn is_at(wanted: &Pattern, path: &str) -> bool {
    let is_below = |(at, _)| wanted.fits(&path[at + 1..]);
    wanted.fits(path) || (!wanted.as_str().starts_with('/') && path.match_indices('/').any(is_below))
}
