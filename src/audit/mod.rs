//! Who read what, and what became of secrets: written down before anything is given away, so that
//! nothing can be changed, moved or taken out unseen. Uses `sys`, `metrics`, `config` and the words.
//!
//! `event` is what is written, `chain` its seal and `verify` the check of it; `log` writes to the
//! disk through `file`, `journal` to journald, `history` reads back.

mod chain;
mod error;
mod event;
mod file;
mod history;
mod journal;
mod key;
mod log;
mod queue;
#[cfg(test)]
mod tests;
mod verify;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use chain::{Head, Record};
pub use error::AuditError;
pub use event::{Event, Kind, Named, Who};
pub use history::{Query, files, read};
pub use key::Seed;
pub use verify::{Finding, Report, Trouble, Verifier};

use crate::caller::Facts;
use crate::clock::{Clock, SystemClock};
use crate::config::AuditConfig;
use crate::metrics;
use chain::Ratchet;
use event::OfLog;
use journal::Journal;
use log::Log;
use queue::{Queue, Waiting};

/// What is written so often to the disk for good.
const SYNC: Duration = Duration::from_secs(1);
/// How often it is told elsewhere where the chain stands.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// Where it is written down who gets what. Shared by all threads; several events at once share a write.
pub struct Audit {
    config: AuditConfig,
    seed: Seed,
    queue: Queue,
    /// Guards what is written to; held for one write.
    sinks: Mutex<Sinks>,
    /// Whether something is not on the disk for good.
    is_dirty: AtomicBool,
}

struct Sinks {
    /// Of those that are wanted.
    log: Option<Result<Log, AuditError>>,
    journal: Option<Journal>,
    /// What the file has missed.
    missed: u64,
    /// Why nothing is given away now.
    trouble: Option<String>,
    clock: Box<dyn Clock>,
}

impl Audit {
    /// What an identity should tell, for the log.
    pub const FACTS: Facts =
        Facts::PROCESS.and(Facts::EXE).and(Facts::UNIT).and(Facts::USER_UNIT).and(Facts::CONTAINER);

    /// Writes nothing down, and takes everything.
    pub fn none() -> Self {
        Self::new(AuditConfig::default(), Seed::None)
    }

    /// As the config says. What is wrong with a place is told when it is written to.
    pub fn new(config: AuditConfig, seed: Seed) -> Self {
        Self::with_clock(config, seed, Box::new(SystemClock))
    }

    pub(crate) fn with_clock(config: AuditConfig, seed: Seed, clock: Box<dyn Clock>) -> Self {
        let journal = config.is_to_journald().then(Journal::new).and_then(Result::ok);
        let sinks = Mutex::new(Sinks { log: None, journal, missed: 0, trouble: None, clock });
        Self { config, seed, queue: Queue::default(), sinks, is_dirty: AtomicBool::new(false) }
    }

    /// The same keys, as another config says.
    pub fn under(&self, config: AuditConfig) -> Self {
        Self::new(config, self.seed.clone())
    }

    /// Whether anything is written down at all.
    pub fn is_on(&self) -> bool {
        self.config.is_on()
    }

    pub fn config(&self) -> &AuditConfig {
        &self.config
    }

    /// What should be found out of a caller for it.
    pub fn facts(&self) -> Facts {
        if self.is_on() { Self::FACTS } else { Facts::NONE }
    }

    /// Writes it down. If it fails, nothing may be given away; if nothing has to be written down,
    /// it does not fail.
    pub fn record(&self, event: &Event) -> Result<(), AuditError> {
        if !self.is_on() {
            return Ok(());
        }
        let waiting = Waiting::new(event);
        let outcome = self.queue.pass(waiting, self.config.file.as_deref(), |batch| self.write(batch));
        let word = if outcome.is_ok() { "ok" } else { "failed" };
        metrics::get().audit_events.of([word]).inc();
        match outcome {
            Err(error) if !self.config.is_required() => {
                tracing::warn!(%error, "audit_failed: it goes on, as audit.required is off");
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn write(&self, batch: &[Waiting]) -> Result<(), AuditError> {
        let mut sinks = self.sinks();
        let outcome = sinks.write(&self.config, &self.seed, batch);
        let trouble = outcome.as_ref().err().filter(|_| self.config.is_required());
        sinks.trouble = trouble.map(ToString::to_string);
        self.is_dirty.store(true, Ordering::Release);
        metrics::get().audit_blocked.set(i64::from(outcome.is_err()));
        outcome
    }

    /// Why the last event could not be written down, if nothing is given away for it. Never waits.
    pub fn trouble(&self) -> Option<String> {
        self.sinks.try_lock().ok()?.trouble.clone()
    }

    /// Where the chain stands.
    pub fn head(&self) -> Option<Head> {
        match &self.sinks().log {
            Some(Ok(log)) => log.head().cloned(),
            _ => None,
        }
    }

    /// Has all that was written put on the disk for good.
    pub fn sync(&self) -> Result<(), AuditError> {
        if !self.is_dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let descriptor = match &self.sinks().log {
            Some(Ok(log)) => log.descriptor(),
            _ => None,
        };
        match (descriptor, &self.config.file) {
            (Some(file), Some(path)) => file.sync_data().map_err(AuditError::io(path)),
            _ => Ok(()),
        }
    }

    /// Says in another place where the chain stands.
    fn checkpoint(&self) {
        let Some(head) = self.head() else { return };
        let hash = chain::hex(&head.hash);
        tracing::info!(records = head.seq, head = hash, "audit_checkpoint");
        if let Some(journal) = &self.sinks().journal {
            let _ = journal.checkpoint(head.seq, &hash);
        }
    }

    /// A thread syncs each second, for as long as somebody has this.
    pub fn keep_synced(self: &Arc<Self>) {
        if self.config.file.is_none() {
            return;
        }
        let this = Arc::downgrade(self);
        let work = move || {
            let (mut told, mut last) = (Instant::now(), None);
            while let Some(audit) = this.upgrade() {
                if let Err(error) = audit.sync() {
                    tracing::error!(%error, "audit_unsynced: what a power cut would take is not known");
                }
                let seq = audit.head().map(|head| head.seq);
                if told.elapsed() >= CHECKPOINT && seq != last {
                    audit.checkpoint();
                    (told, last) = (Instant::now(), seq);
                }
                drop(audit);
                thread::sleep(SYNC);
            }
        };
        if let Err(error) = thread::Builder::new().name("secretfs-audit".to_owned()).spawn(work) {
            tracing::error!(%error, "audit_unsynced: no thread for it");
        }
    }

    fn sinks(&self) -> MutexGuard<'_, Sinks> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if self.is_on() {
            let _ = self.sync();
        }
    }
}

impl Sinks {
    /// To each place that is wanted. One that takes it is enough.
    fn write(&mut self, config: &AuditConfig, seed: &Seed, batch: &[Waiting]) -> Result<(), AuditError> {
        let filed = config.file.as_deref().map(|path| self.write_file(path, config, seed, batch));
        let told = config.is_to_journald().then(|| self.write_journal(&filed, batch));
        match (filed, told) {
            (Some(Err(one)), Some(Err(other))) => Err(AuditError::Both(Box::new(one), Box::new(other))),
            (Some(Err(error)), None) | (None, Some(Err(error))) => Err(error),
            (Some(Err(error)), Some(Ok(()))) => {
                tracing::error!(%error, "audit_blocked: only journald takes it");
                self.missed += batch.len() as u64;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn write_file(
        &mut self,
        path: &Path,
        config: &AuditConfig,
        seed: &Seed,
        batch: &[Waiting],
    ) -> Result<Vec<u8>, AuditError> {
        let at = log::moment(self.clock.now());
        let missed = (self.missed > 0).then(|| {
            let log = OfLog { count: Some(self.missed), ..OfLog::default() };
            Event::of_log(Kind::LogMissed, "only journald took these", log).body()
        });
        let bodies: Vec<&str> =
            missed.as_deref().into_iter().chain(batch.iter().map(|it| it.body.as_str())).collect();
        let lines = self.log(path, config, seed)?.write(&bodies, at)?;
        self.missed = 0;
        Ok(lines)
    }

    /// Opened when it is first needed; what has failed is tried again.
    fn log(&mut self, path: &Path, config: &AuditConfig, seed: &Seed) -> Result<&mut Log, AuditError> {
        if !matches!(self.log, Some(Ok(_))) {
            let seed = seed.bytes(path);
            self.log =
                Some(seed.map(|seed| Log::new(path, config.size(), config.keep(), Ratchet::new(&seed))));
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
    ) -> Result<(), AuditError> {
        if self.journal.is_none() {
            self.journal = Some(Journal::new()?);
        }
        let Some(journal) = &self.journal else { return Ok(()) };
        let lines = match filed {
            Some(Ok(lines)) => String::from_utf8_lossy(lines).into_owned(),
            _ => batch.iter().map(|it| format!("{{{}}}\n", it.body)).collect(),
        };
        let own = lines.lines().count().saturating_sub(batch.len());
        let mut lines = lines.lines().skip(own);
        batch.iter().try_for_each(|it| journal.send(&it.event, lines.next().unwrap_or_default()))
    }
}
