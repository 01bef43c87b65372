//! Who read what, and what became of secrets: written down before anything is given away, so that
//! nothing can be changed, moved or taken out unseen. Uses `sys`, `metrics`, `config` and the words.
//!
//! `event` is what is written, `chain` its seal, `verify` and `seals` the check of it; `heir` has what the
//! next process has to know; `log` writes to the disk through `file`, `journal` to journald, `sinks` to
//! both; `history` reads back; `denials` are counted.

mod chain;
mod denials;
mod error;
mod event;
mod file;
mod heir;
mod history;
mod journal;
mod key;
mod log;
mod queue;
mod seals;
mod shares;
mod sinks;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

pub use chain::{Head, Record};
pub use error::AuditError;
pub use event::{Event, Kind, Named, Who};
pub use file::unfit;
pub use history::{Part, Query, files, parts, read};
pub use journal::is_there as has_journal;
pub use key::{Seed, beside_now};
pub use queue::BUDGET;
pub use seals::Seeds;
pub use verify::{Finding, Place, Report, Trouble, Verifier};

use crate::caller::Facts;
use crate::clock::{Clock, SystemClock};
use crate::config::AuditConfig;
use crate::ledger::Ledger;
use crate::metrics;
use crate::poison::EvenPoisoned;
use denials::Denials;
use queue::{By, Queue, Waiting};
use sinks::Sinks;

/// How long it is waited for another process that writes: by who serves, and by a command.
const HURRIED: Duration = Duration::from_millis(450);
const PATIENT: Duration = Duration::from_secs(5);
/// What is written so often to the disk for good.
const SYNC: Duration = Duration::from_secs(1);
/// How often it is told elsewhere where the chain stands.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// Where it is written down who gets what. Shared by all threads; several events at once share a write.
pub struct Audit {
    config: AuditConfig,
    seed: Seed,
    /// Where the key of the store came from.
    opened: Option<String>,
    queue: Arc<Queue>,
    /// Guards who was denied what; held for no write.
    denials: Mutex<Denials>,
    /// Guards what is written to; held for one write.
    sinks: Mutex<Sinks>,
    /// Whether something is not on the disk for good.
    is_dirty: AtomicBool,
    /// Why the last event could not be written down. Held for no write.
    trouble: Mutex<Option<String>>,
}

impl Audit {
    /// What an identity should tell, for the log.
    pub const FACTS: Facts =
        Facts::PROCESS.and(Facts::PROGRAM).and(Facts::UNIT).and(Facts::USER_UNIT).and(Facts::CONTAINER);

    /// Writes nothing down, and takes everything.
    pub fn none() -> Self {
        Self::new(AuditConfig::default(), Seed::None)
    }

    /// As the config says. What is wrong with a place is told when it is written to.
    pub fn new(config: AuditConfig, seed: Seed) -> Self {
        Self::with_clock(config, seed, Box::new(SystemClock))
    }

    pub(crate) fn with_clock(config: AuditConfig, seed: Seed, clock: Box<dyn Clock>) -> Self {
        let sinks = Mutex::new(Sinks::new(&config, PATIENT, clock));
        let (queue, denials, is_dirty, trouble) = Default::default();
        Self { config, seed, opened: None, queue, denials, sinks, is_dirty, trouble }
    }

    /// The same keys, as another config says.
    pub fn under(&self, config: AuditConfig) -> Self {
        Self::new(config, self.seed.clone()).opened_by(self.opened.clone()).after(Some(self))
    }

    /// Takes the place of another one in this process.
    pub fn after(self, before: Option<&Self>) -> Self {
        if let Some(before) = before {
            self.sinks().heirs = before.sinks().heirs.clone();
        }
        self
    }

    /// From now on the process that comes next finds there where the chain stands, and this one what
    /// the process before has left. Before anything is written.
    pub fn tell_successor(&self, ledger: &Ledger) {
        let heirs = self.sinks().heirs.clone();
        heirs.add(ledger);
    }

    /// To be called each second by who has told it of ledgers. Never waits.
    pub fn tend(&self) {
        if let Ok(sinks) = self.sinks.try_lock() {
            sinks.heirs.forget_gone();
        }
    }

    /// Over a store whose key came from there.
    pub fn opened_by(mut self, opened: Option<String>) -> Self {
        self.opened = opened;
        self
    }

    pub fn opened(&self) -> Option<&str> {
        self.opened.as_deref()
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
    /// it does not fail. Where [`Self::start`] was called, it ends within the budget. Who is denied
    /// the same once more is counted, and written down later.
    pub fn record(&self, event: Event) -> Result<(), AuditError> {
        self.record_by(By::Another, event)
    }

    /// The same without another thread, which costs less. A disk that hangs holds it up: only for who
    /// is answered by somebody else then. The queue of journald anybody can fill.
    pub fn record_here(&self, event: Event) -> Result<(), AuditError> {
        let is_by_itself = self.config.is_required() && self.config.file.is_some();
        self.record_by(if is_by_itself { By::Itself } else { By::Another }, event)
    }

    fn record_by(&self, by: By, event: Event) -> Result<(), AuditError> {
        if !self.is_on() {
            return Ok(());
        }
        if cfg!(debug_assertions) && std::env::var_os("SECRETFS_TEST_AUDIT_AFTER").is_some() {
            self.queue.leave(Waiting::new(event));
            return Ok(());
        }
        let due = self.denials().take(event, Instant::now());
        if due.is_empty() {
            return Ok(());
        }
        let outcome = self.pass(due, by);
        let word = if outcome.is_ok() { "ok" } else { "failed" };
        metrics::get().audit_events.of([word]).inc();
        match outcome {
            Err(error) if !self.config.is_required() => {
                tracing::warn!(%error, "audit_failed: it goes on, as audit.required is off");
                Ok(())
            }
            outcome => outcome.inspect_err(|error| self.tell_trouble(Some(error))),
        }
    }

    /// Has them written, and waits for the last one.
    fn pass(&self, mut events: Vec<Event>, by: By) -> Result<(), AuditError> {
        let Some(last) = events.pop() else { return Ok(()) };
        events.into_iter().for_each(|event| self.queue.push(Waiting::new(event)));
        let file = self.config.file.as_deref();
        self.queue.pass(Waiting::new(last), by, file, |batch| self.write(batch))
    }

    /// Has written down who was denied something again and again.
    fn tell_denials(&self) {
        let due = self.denials().take_due(Instant::now());
        if let Err(error) = self.pass(due, By::Another) {
            tracing::error!(%error, "denials could not be written down");
        }
    }

    fn denials(&self) -> MutexGuard<'_, Denials> {
        self.denials.lock().even_poisoned()
    }

    fn write(&self, batch: &[Waiting]) -> Result<(), AuditError> {
        let mut sinks = self.sinks();
        sinks.patience = if self.queue.has_helper() { HURRIED } else { PATIENT };
        sinks.refused += self.queue.take_left();
        let outcome = sinks.write(&self.config, &self.seed, batch);
        drop(sinks);
        self.is_dirty.store(true, Ordering::Release);
        self.tell_trouble(outcome.as_ref().err());
        outcome
    }

    fn tell_trouble(&self, error: Option<&AuditError>) {
        metrics::get().audit_blocked.set(i64::from(error.is_some()));
        *self.trouble.lock().even_poisoned() = error.map(ToString::to_string);
    }

    /// Whether a disk has not answered for longer than anybody should wait.
    pub fn is_late(&self) -> bool {
        self.queue.is_late()
    }

    /// Somebody was refused because of that.
    pub fn tell_late(&self) {
        let error = AuditError::late(self.config.file.as_deref());
        tracing::error!(%error, "audit_blocked: nobody gets anything until it can be written down");
        self.tell_trouble(Some(&error));
    }

    /// Why the last event could not be written down. Never waits.
    pub fn problem(&self) -> Option<String> {
        let late = self.is_late().then(|| AuditError::late(self.config.file.as_deref()).to_string());
        late.or_else(|| self.trouble.lock().even_poisoned().clone())
    }

    /// The same, if nothing is given away for it.
    pub fn trouble(&self) -> Option<String> {
        if self.config.is_required() { self.problem() } else { None }
    }

    /// Who is sent away while it is blocked brings no event that could tell that it is so no longer.
    fn try_again(&self) {
        if self.problem().is_some() && !self.is_late() {
            let _ = self.write(&[]);
        }
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
        let files = match &mut self.sinks().log {
            Some(Ok(log)) => log.descriptors(),
            _ => Vec::new(),
        };
        let Some(path) = &self.config.file else { return Ok(()) };
        files.iter().try_for_each(|file| file.sync_data().map_err(AuditError::io(path)))
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

    /// Threads of its own sync each second, and write for who must not be held up by a disk, for as
    /// long as somebody has this.
    pub fn start(self: &Arc<Self>) {
        if !self.is_on() {
            return;
        }
        self.keep_synced();
        let (this, queue) = (Arc::downgrade(self), self.queue.clone());
        let write = move |batch: &[Waiting]| match this.upgrade() {
            Some(audit) => audit.write(batch),
            None => Err(AuditError::NoKey),
        };
        let this = Arc::downgrade(self);
        let work = move || {
            while this.strong_count() > 0 {
                queue.help(SYNC, &write);
            }
        };
        if let Err(error) = thread::Builder::new().name("secretfs-scribe".to_owned()).spawn(work) {
            tracing::error!(%error, "audit_unhelped: a disk that hangs will hold up who reads");
        }
    }

    fn keep_synced(self: &Arc<Self>) {
        let this = Arc::downgrade(self);
        let work = move || {
            let (mut told, mut last) = (Instant::now(), None);
            while let Some(audit) = this.upgrade() {
                audit.tell_denials();
                audit.try_again();
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
        self.sinks.lock().even_poisoned()
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if self.is_on() {
            let left = self.denials().take_all(Instant::now());
            let _ = self.pass(left, By::Itself);
            let _ = self.sync();
        }
    }
}
