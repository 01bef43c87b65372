//! `secretfs audit`: who read what and who changed what, and whether the log is what was written.
//! May use every layer.

mod shown;
mod verify;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use nix::unistd::User;

use super::report::{Failure, note};
use super::{Common, config, exit, output, when};
use crate::audit::{self, Kind, Part, Query, Record};
use crate::clock::{Clock, SystemClock};
use crate::nearest::nearest;
use crate::policy::{Door, Pattern, Verdict};
use shown::Names;

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
    /// A secret by any of its names, or a pattern: `*` is any text
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    secret: Option<Pattern>,
    /// A file: its whole path, the end of it, or a pattern
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    file: Option<Pattern>,
    /// The caller's user, by name
    #[arg(long, value_name = "NAME", conflicts_with = "uid", value_parser = user)]
    user: Option<u32>,
    /// The caller's user, by number
    #[arg(long, value_name = "N")]
    uid: Option<u32>,
    /// The systemd unit of the caller, or a pattern
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    unit: Option<Pattern>,
    /// The program of the caller, or the one that `exec` ran: its path, the end of it, or a pattern
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse)]
    exe: Option<Pattern>,
    /// mount, exec, api, systemd or command
    #[arg(long, value_parser = door)]
    door: Option<Door>,
    /// real, placeholder or denied
    #[arg(long, value_parser = verdict)]
    verdict: Option<Verdict>,
    /// read, list, create, rotate, delete, import, key, start, …
    #[arg(long, value_name = "KIND", value_parser = kind)]
    event: Option<Kind>,
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
    audit::read(path, take).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(exit::NO_INPUT, format!("cannot read {}: {error}", path.display()))
}

fn show(record: &Record, line: &[u8], json: bool, names: &mut Names) -> Result<(), Failure> {
    match json {
        true => output::print([line.strip_suffix(b"\n").unwrap_or(line), b"\n"].concat()),
        false => output::print(shown::line(record, names) + "\n"),
    }
}

/// What is no record is left to `verify`.
fn record(line: &[u8]) -> Option<Record> {
    Record::parse(line.strip_suffix(b"\n")?)
}

fn query(wanted: &Query, path: &Path, json: bool) -> Result<(), Failure> {
    let (mut outcome, mut begins, mut is_any) = (Ok(()), None, false);
    let mut names = Names::default();
    each(path, |line| {
        let Some(record) = record(line).filter(|_| outcome.is_ok()) else { return };
        begins.get_or_insert(record.time);
        if wanted.fits(&record) {
            is_any = true;
            outcome = show(&record, line, json, &mut names);
        }
    })?;
    match begins {
        _ if is_any => {}
        Some(begins) => note(format_args!("nothing fits; the log begins {}", output::time(begins))),
        None => note("nothing fits; the log is empty"),
    }
    outcome
}

fn user(name: &str) -> Result<u32, String> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => Err("there is no such user here; --uid N takes a number".to_owned()),
    }
}

fn door(text: &str) -> Result<Door, String> {
    one_of(Door::RULED.into_iter().chain([Door::Command]), Door::name, text)
}

fn verdict(text: &str) -> Result<Verdict, String> {
    one_of(Verdict::ALL, Verdict::name, text)
}

fn kind(text: &str) -> Result<Kind, String> {
    one_of(Kind::ALL.iter().copied(), Kind::name, text)
}

/// The one of this name.
fn one_of<T: Copy>(
    all: impl IntoIterator<Item = T>,
    name: impl Fn(T) -> &'static str,
    text: &str,
) -> Result<T, String> {
    let all: Vec<T> = all.into_iter().collect();
    let names: Vec<_> = all.iter().map(|it| name(*it)).collect();
    let known = names.iter().position(|name| *name == text);
    known.map(|at| all[at]).ok_or_else(|| match nearest(text, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there is {}", names.join(", ")),
    })
}

fn tail(wanted: &TailArgs, path: &Path, json: bool) -> Result<(), Failure> {
    let failed = |error| unreadable(path, &error);
    let (mut last, mut names) = (VecDeque::new(), Names::default());
    let mut follower = Follower::default();
    for part in audit::parts(path).map_err(failed)? {
        follower = Follower::behind(&part).map_err(failed)?;
        part.read(|line| {
            follower.at += line.len() as u64;
            if let Some(record) = record(line) {
                last.push_back((record, line.to_vec()));
                if last.len() > wanted.lines {
                    last.pop_front();
                }
            }
        })
        .map_err(failed)?;
    }
    last.iter().try_for_each(|(record, line)| show(record, line, json, &mut names))?;
    if !wanted.follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(PAUSE);
        follower.go_on(path, |record, line| show(record, line, json, &mut names))?;
    }
}

/// How far a log has been read.
#[derive(Default)]
struct Follower {
    /// Device and number of the file.
    of: (u64, u64),
    at: u64,
}

impl Follower {
    fn behind(part: &Part) -> io::Result<Self> {
        Ok(Self { of: part.id()?, at: 0 })
    }

    /// Hands on what is newer. What is unfinished is left for the next time.
    fn go_on(
        &mut self,
        path: &Path,
        mut take: impl FnMut(&Record, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // Between two files, nothing is there.
        let Ok(parts) = audit::parts(path) else { return Ok(()) };
        let ids: Vec<_> = parts.iter().map(|part| part.id().ok()).collect();
        let known = ids.iter().position(|id| *id == Some(self.of));
        // What was let go has been read, as far as that could be.
        for (part, id) in parts.into_iter().zip(ids).skip(known.unwrap_or(0)) {
            let Some(id) = id else { continue };
            if id != self.of {
                *self = Self { of: id, at: 0 };
            }
            let mut outcome = Ok(());
            let read = part.read_from(self.at, |line| {
                if !line.ends_with(b"\n") || outcome.is_err() {
                    return;
                }
                self.at += line.len() as u64;
                if let Some(record) = record(line) {
                    outcome = take(&record, line);
                }
            });
            read.map_err(|error| unreadable(path, &error))?;
            outcome?;
        }
        Ok(())
    }
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
            uid: self.user.or(self.uid),
            door: self.door,
            verdict: self.verdict,
            event: self.event,
            since: time(&self.since)?,
            until: time(&self.until)?,
        })
    }
}
