//! The places that lines are written to: a file and journald, one of which has to take each. Uses
//! `log` and `journal`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chain::Ratchet;
use super::error::AuditError;
use super::event::{Event, Kind, OfLog};
use super::heir::Heirs;
use super::journal::Journal;
use super::key::Seed;
use super::log::{self, Log};
use super::queue::Waiting;
use super::shares::Shares;
use crate::clock::Clock;
use crate::config::AuditConfig;

pub(super) struct Sinks {
    /// Of those that are wanted.
    pub(super) log: Option<Result<Log, AuditError>>,
    pub(super) journal: Option<Journal>,
    /// How long it is waited for another process.
    pub(super) patience: Duration,
    /// What the file has missed, and journald has.
    missed: u64,
    /// What no place took.
    pub(super) refused: u64,
    shares: Shares,
    pub(super) heirs: Arc<Heirs>,
    clock: Box<dyn Clock>,
}

impl Sinks {
    pub(super) fn new(config: &AuditConfig, patience: Duration, clock: Box<dyn Clock>) -> Self {
        let journal = config.is_to_journald().then(Journal::new).and_then(Result::ok);
        let (log, shares, heirs) = (None, Shares::new(Instant::now()), Arc::default());
        Self { log, journal, patience, missed: 0, refused: 0, shares, heirs, clock }
    }

    /// To each place that is wanted. One that takes it is enough; journald is waited for if it is the
    /// only one that can.
    pub(super) fn write(
        &mut self,
        config: &AuditConfig,
        seed: &Seed,
        batch: &[Waiting],
    ) -> Result<(), AuditError> {
        let until = Instant::now() + self.patience;
        let filed = config.file.as_deref().map(|path| self.write_file(path, config, seed, batch));
        let until = (!matches!(filed, Some(Ok(_)))).then_some(until);
        let told = config.is_to_journald().then(|| self.write_journal(&filed, batch, until));
        match (filed, told) {
            (None, None) | (Some(Ok(_)), _) => Ok(()),
            (Some(Err(error)), None) => {
                self.refused += batch.len() as u64;
                Err(error)
            }
            (filed, Some(told)) => self.judge(filed.and_then(Result::err), batch, told),
        }
    }

    /// Each for itself: what journald does not take is refused, and nothing beside it.
    pub(super) fn judge(
        &mut self,
        filed: Option<AuditError>,
        batch: &[Waiting],
        told: Vec<Result<(), AuditError>>,
    ) -> Result<(), AuditError> {
        let refused: Vec<_> =
            batch.iter().zip(told).filter_map(|(it, told)| Some((it, told.err()?))).collect();
        let taken = (batch.len() - refused.len()) as u64;
        self.refused += refused.len() as u64;
        if let Some(error) = filed.as_ref().filter(|_| taken > 0) {
            tracing::error!(%error, "audit_blocked: only journald takes it");
            self.missed += taken;
        }
        let mut outcome = Ok(());
        for (one, error) in refused {
            let error = match &filed {
                Some(filed) => AuditError::Both(Box::new(filed.clone()), Box::new(error)),
                None => error,
            };
            one.fail(error.clone());
            outcome = Err(error);
        }
        if taken > 0 { Ok(()) } else { outcome }
    }

    fn write_file(
        &mut self,
        path: &Path,
        config: &AuditConfig,
        seed: &Seed,
        batch: &[Waiting],
    ) -> Result<Vec<u8>, AuditError> {
        let at = log::moment(self.clock.now());
        let all = [(self.missed, "only journald took these"), (self.refused, REFUSED)];
        let all = all.into_iter().filter(|(count, _)| *count > 0);
        let missed: Vec<_> = all.map(|(count, why)| missed(count, why).body()).collect();
        let own = batch.iter().map(|it| it.body.as_str());
        let bodies: Vec<&str> = missed.iter().map(String::as_str).chain(own).collect();
        let patience = self.patience;
        let heirs = self.heirs.clone();
        let log = self.log(path, config, seed)?;
        let before = log.file();
        let lines = log.write(&bodies, at, patience)?;
        let is_full = before.is_some() && before != log.file();
        log.tell(&heirs);
        (self.missed, self.refused) = (0, 0);
        self.tell_flood(path, is_full.then(|| config.size()));
        batch.iter().for_each(|it| self.shares.add(it.event.who.uid, lines.len() / batch.len()));
        Ok(lines)
    }

    /// A file of that size is full.
    fn tell_flood(&mut self, path: &Path, size: Option<u64>) {
        if let Some((uid, time)) = size.and_then(|size| self.shares.take(size, Instant::now())) {
            let (file, seconds) = (path.display(), time.as_secs());
            tracing::warn!(%file, uid, seconds, "audit_flooded: most of a full file is reads of one user");
        }
    }

    /// Opened when it is first needed; what has failed is tried again.
    fn log(&mut self, path: &Path, config: &AuditConfig, seed: &Seed) -> Result<&mut Log, AuditError> {
        if !matches!(self.log, Some(Ok(_))) {
            let log = |seed| Log::new(path, config.size(), config.keep(), Ratchet::new(&seed));
            self.log = Some(seed.bytes(path).map(|seed| log(seed).after(&self.heirs)));
        }
        match &mut self.log {
            Some(Ok(log)) => Ok(log),
            Some(Err(error)) => Err(error.clone()),
            None => Err(AuditError::NoKey),
        }
    }

    /// The lines as the file has them, else what they would say.
    fn write_journal(
        &mut self,
        filed: &Option<Result<Vec<u8>, AuditError>>,
        batch: &[Waiting],
        until: Option<Instant>,
    ) -> Vec<Result<(), AuditError>> {
        let journal = match self.journal.take().map_or_else(Journal::new, Ok) {
            Ok(journal) => journal,
            Err(error) => return vec![Err(error); batch.len()],
        };
        if filed.is_none() && self.refused > 0 {
            let missed = missed(self.refused, REFUSED);
            let told = journal.send(&missed, &format!("{{{}}}", missed.body()), until);
            self.refused = if told.is_ok() { 0 } else { self.refused };
        }
        let lines = match filed {
            Some(Ok(lines)) => String::from_utf8_lossy(lines).into_owned(),
            _ => batch.iter().map(|it| format!("{{{}}}\n", it.body)).collect(),
        };
        let own = lines.lines().count().saturating_sub(batch.len());
        let mut lines = lines.lines().skip(own);
        let mut send = |it: &Waiting| journal.send(&it.event, lines.next().unwrap_or_default(), until);
        let told = batch.iter().map(&mut send).collect();
        self.journal = Some(journal);
        told
    }
}

const REFUSED: &str = "no place took these";

fn missed(count: u64, why: &str) -> Event {
    Event::of_log(Kind::LogMissed, why, OfLog { count: Some(count), ..OfLog::default() })
}
