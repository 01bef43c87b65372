//! `secretfs audit`: who read what and who changed what, and whether the log is what was written.
//! May use every layer.

mod shown;
mod verify;

use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use super::report::Failure;
use super::{Common, config, exit, output, when};
use crate::audit::{self, Query, Record};
use crate::clock::{Clock, SystemClock};
use crate::policy::{Pattern, Verdict};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// The log, if it is not the config's
    #[arg(long, global = true, value_name = "FILE")]
    log: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Action {
    /// Show what was written last
    Tail(TailArgs),
    /// Show what fits
    Query(QueryArgs),
    /// Check that no record was changed, moved, put in or taken out
    Verify(verify::Args),
}

#[derive(clap::Args)]
struct TailArgs {
    /// How many records
    #[arg(short = 'n', long, default_value_t = 10)]
    lines: usize,
    /// Go on as more are written
    #[arg(short, long)]
    follow: bool,
}

#[derive(clap::Args)]
struct QueryArgs {
    /// The name of a secret, or a pattern: `*` is any text
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    secret: Option<Pattern>,
    /// The whole path of a file, or a pattern
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    file: Option<Pattern>,
    /// The user id of the caller
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// The systemd unit of the caller, or a pattern
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    unit: Option<Pattern>,
    /// The program of the caller, or a pattern
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    exe: Option<Pattern>,
    /// real, placeholder or denied
    #[arg(long, value_parser = Verdict::ALL.map(Verdict::name), hide_possible_values = true)]
    verdict: Option<String>,
    /// read, create, rotate, delete, import, key, start, …
    #[arg(long, value_name = "KIND")]
    event: Option<String>,
    /// Since when: 7d, 12h, 2027-01-31, 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Until when
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
}

/// How often it is looked for more.
const PAUSE: Duration = Duration::from_millis(250);

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    match &args.action {
        Action::Tail(wanted) => tail(wanted, &log(args.log.as_deref(), common)?, common.json)?,
        Action::Query(wanted) => query(&wanted.query()?, &log(args.log.as_deref(), common)?, common.json)?,
        Action::Verify(wanted) => return verify::run(wanted, args.log.as_deref(), common),
    }
    Ok(exit::OK)
}

/// The one that is named, else the config's.
fn log(named: Option<&Path>, common: &Common) -> Result<PathBuf, Failure> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => config::load(common)?.audit.file.ok_or_else(|| {
            Failure::new(exit::CONFIG, "the config says no file for the audit")
                .hint("audit: {file: /var/log/secretfs/audit.log}, or name one with --log FILE")
        })?,
    };
    match audit::files(&path).is_empty() {
        true => Err(Failure::new(exit::NO_INPUT, format!("there is no audit log {}", path.display()))),
        false => Ok(path),
    }
}

fn each(path: &Path, take: impl FnMut(&[u8])) -> Result<(), Failure> {
    let failed = |error| Failure::new(exit::NO_INPUT, format!("cannot read {}: {error}", path.display()));
    audit::read(path, take).map_err(failed)
}

fn show(record: &Record, line: &[u8], json: bool) -> Result<(), Failure> {
    match json {
        true => output::print([line.strip_suffix(b"\n").unwrap_or(line), b"\n"].concat()),
        false => output::print(shown::line(record) + "\n"),
    }
}

/// What is no record is left to `verify`.
fn record(line: &[u8]) -> Option<Record> {
    Record::parse(line.strip_suffix(b"\n")?)
}

fn query(wanted: &Query, path: &Path, json: bool) -> Result<(), Failure> {
    let mut outcome = Ok(());
    each(path, |line| {
        if let Some(record) = record(line).filter(|record| outcome.is_ok() && wanted.fits(record)) {
            outcome = show(&record, line, json);
        }
    })?;
    outcome
}

fn tail(wanted: &TailArgs, path: &Path, json: bool) -> Result<(), Failure> {
    let mut last = std::collections::VecDeque::new();
    each(path, |line| {
        if let Some(record) = record(line) {
            last.push_back((record, line.to_vec()));
            if last.len() > wanted.lines {
                last.pop_front();
            }
        }
    })?;
    let mut seq = last.back().map_or(0, |(record, _)| record.seq);
    last.iter().try_for_each(|(record, line)| show(record, line, json))?;
    if !wanted.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(PAUSE);
        seq = follow(path, seq, json)?;
    }
}

/// Shows what is newer. A file that has become full meanwhile is read to its end.
fn follow(path: &Path, mut seq: u64, json: bool) -> Result<u64, Failure> {
    let files = audit::files(path);
    for file in &files[files.len().saturating_sub(2)..] {
        let Ok(file) = std::fs::File::open(file) else { continue };
        let size = file.metadata().map_or(0, |meta| meta.size());
        let mut reader = BufReader::new(file);
        // From the last MiB on, beginning with a whole line.
        let from = size.saturating_sub(1 << 20);
        let mut line = Vec::new();
        if from > 0 && reader.seek(SeekFrom::Start(from)).is_ok() {
            let _ = reader.read_until(b'\n', &mut line);
            line.clear();
        }
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if let Some(record) = record(&line).filter(|record| record.seq > seq) {
                show(&record, &line, json)?;
                seq = record.seq;
            }
            line.clear();
        }
    }
    Ok(seq)
}

impl QueryArgs {
    fn query(&self) -> Result<Query, Failure> {
        let now = SystemClock.now();
        let time = |text: &Option<String>| text.as_ref().map(|it| when::parse_past(it, now)).transpose();
        Ok(Query {
            secret: self.secret.clone(),
            file: self.file.clone(),
            unit: self.unit.clone(),
            exe: self.exe.clone(),
            uid: self.uid,
            verdict: self.verdict.clone(),
            event: self.event.clone(),
            since: time(&self.since)?,
            until: time(&self.until)?,
        })
    }
}
