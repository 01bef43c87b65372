//! The files of a log, oldest first, and what of it somebody wants to see. Uses `chain`, and the
//! patterns of `policy`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::chain::Record;
use super::file::{LogFile, id};
use crate::policy::Pattern;

/// How long a reader waits for who writes.
const PATIENCE: Duration = Duration::from_secs(1);

/// The file that was full so many files ago.
pub(super) fn full(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// One of the full files, if it is there.
pub(super) fn open(path: &Path) -> Option<LogFile> {
    let is_there = path.symlink_metadata().is_ok_and(|meta| meta.is_file());
    is_there.then(|| LogFile::open(path).ok())?
}

/// All files of the log that are there, oldest first.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let older = (1..).map(|number| full(path, number)).take_while(|path| path.exists());
    let mut files: Vec<_> = older.collect();
    files.reverse();
    files.extend(path.exists().then(|| path.to_owned()));
    files
}

/// Hands each line on, with its break.
pub fn read(path: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    for file in open_all(path)? {
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            take(&line);
            line.clear();
        }
    }
    Ok(())
}

/// All of them as of one moment: who begins a new file has the lock of the one before.
fn open_all(path: &Path) -> io::Result<Vec<File>> {
    let open = || files(path).into_iter().map(File::open).collect();
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
    pub secret: Option<Pattern>,
    pub file: Option<Pattern>,
    pub unit: Option<Pattern>,
    pub exe: Option<Pattern>,
    pub uid: Option<u32>,
    pub verdict: Option<String>,
    pub event: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

impl Query {
    pub fn fits(&self, record: &Record) -> bool {
        let event = &record.event;
        let is = |wanted: &Option<Pattern>, text: &Option<String>| {
            wanted.as_ref().is_none_or(|pattern| text.as_ref().is_some_and(|text| pattern.fits(text)))
        };
        let same = |wanted: &Option<String>, text: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == text)
        };
        let secret = |pattern: &Pattern| event.secrets.iter().any(|secret| pattern.fits(&secret.name));
        self.secret.as_ref().is_none_or(secret)
            && is(&self.file, &event.file)
            && (is(&self.unit, &event.who.unit) || is(&self.unit, &event.who.user_unit))
            && is(&self.exe, &event.who.exe)
            && self.uid.is_none_or(|uid| event.who.uid == uid)
            && same(&self.verdict, event.verdict.as_deref())
            && same(&self.event, Some(&event.kind.to_string()))
            && self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
    }
}
