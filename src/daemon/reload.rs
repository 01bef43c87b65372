//! A reload: the config is read and judged as a whole, and then takes the place of the old one,
//! at once in each mount; or something in it is wrong, and the old one stays in full. Uses every layer
//! below.

mod error;
mod farewell;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use super::apart::Own;
use super::assemble::{self, AssembleError, Choice};
use super::lacking::Lost;
use super::load::{LoadError, Texts};
use super::plan::{self, Plan, PlanError};
use super::{rules, shut_in};
pub use error::ReloadError;
use farewell::Leaving;

use jiff::Timestamp;

use crate::audit::Kind;
use crate::broker::{Broker, Environment};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::credentials::Credentials;
use crate::fs::mountpoint::MountError;
use crate::fs::tree::TreeError;
use crate::fs::{Change, SecretFs};
use crate::metrics;
use crate::poison::EvenPoisoned;
use crate::provider::Given;
use crate::resolver::Left;
use crate::secret::Reference;

/// One config in force, with all that was made of it. Never changes.
#[derive(Clone)]
pub struct Current {
    /// Counted from 1.
    pub generation: u64,
    pub config: Arc<Config>,
    pub broker: Arc<Broker>,
    pub credentials: Arc<Credentials>,
    pub mounts: Vec<Mounted>,
    pub lost: Vec<Lost>,
}

#[derive(Clone)]
pub struct Mounted {
    pub at: PathBuf,
    /// The number of its device, which no other mount has.
    pub device: String,
    pub fs: Arc<SecretFs>,
}

/// Makes mounts, and takes them away, for who serves them.
pub trait Mounts: Send + Sync {
    /// Judges the place.
    fn prepare(&self, at: &Path) -> Result<(), MountError>;

    fn mount(&self, at: &Path, fs: &Arc<SecretFs>) -> Result<Mounted, ReloadError>;

    /// For a successor that cannot use what is on disk.
    fn keep(&self, texts: &Texts);

    /// What the service manager shows of us.
    fn tell(&self, status: &str);

    /// Who has something of it open does not keep it from going.
    fn unmount(&self, mounted: &Mounted);
}

/// What a reload has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub generation: u64,
    /// A line each, none if nothing is different.
    pub changes: Vec<String>,
}

/// What became of the last reload.
#[derive(Clone, Debug)]
pub struct Last {
    pub at: Timestamp,
    /// Why the old config stays.
    pub problem: Option<String>,
}

/// How long one that is under way is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// The config of a running daemon.
pub struct Reloader {
    path: PathBuf,
    choice: Choice,
    pub(super) mounts: Box<dyn Mounts>,
    current: RwLock<Arc<Current>>,
    /// The texts that were tried last. Held during a reload: there is one at a time.
    tried: Mutex<Option<Texts>>,
    /// Guards what is not there of what the config waits for, as it was found last.
    pub(super) lacks: Mutex<Vec<String>>,
    last: Mutex<Option<Last>>,
    leaving: Leaving,
}

/// What a config would change, judged.
struct Next<'a> {
    config: Arc<Config>,
    broker: Arc<Broker>,
    credentials: Credentials,
    kept: Vec<(&'a Mounted, Change<'a>)>,
    added: Vec<(PathBuf, Arc<SecretFs>)>,
    removed: Vec<&'a Mounted>,
    lost: Vec<Lost>,
}

impl Current {
    fn has(&self, device: &str) -> bool {
        self.mounts.iter().any(|mounted| mounted.device == device)
    }

    fn has_lost(&self, at: &Path) -> bool {
        self.lost.iter().any(|lost| lost.at == at)
    }
}

impl Reloader {
    /// `tried` is what is known to be on disk, and `problem` why that is not the current one.
    pub fn new(
        path: PathBuf,
        choice: Choice,
        mounts: Box<dyn Mounts>,
        tried: Option<Texts>,
        problem: Option<String>,
        current: Current,
    ) -> Self {
        let tried = Mutex::new(tried);
        let last = problem.map(|problem| Last { at: SystemClock.now(), problem: Some(problem) });
        let unasked = |reference: &Reference| format!("`{reference}`: not asked for yet");
        let lacks = Mutex::new(current.config.ready.iter().map(unasked).collect());
        count(&current);
        Self {
            path,
            choice,
            mounts,
            current: RwLock::new(Arc::new(current)),
            tried,
            lacks,
            last: Mutex::new(last),
            leaving: Leaving::default(),
        }
    }

    /// At the end: gives back what earlier configs have left behind, and what this one has, if it is `over` for good.
    pub fn give_back_now(&self, over: bool) {
        let own = over.then(|| self.current().broker.left(Given::Over));
        [self.leaving.take()].into_iter().chain(own).collect::<Left>().give_back_now();
    }

    pub fn current(&self) -> Arc<Current> {
        self.current.read().even_poisoned().clone()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the config as it is now. May wait for a disk.
    pub fn reload(&self) -> Result<Summary, ReloadError> {
        let tried = self.turn_within(PATIENCE)?;
        self.try_texts(tried, Texts::read(&self.path))
    }

    /// The same if its text is another than when it was tried last; the log says what came of it.
    pub fn reload_if_edited(&self) {
        let tried = self.turn();
        let texts = Texts::read(&self.path);
        if texts.as_ref().ok() != tried.as_ref() {
            let _ = self.try_texts(tried, texts);
        }
    }

    /// When a reload was tried last, and why the old config stayed if it did.
    pub fn last(&self) -> Option<Last> {
        self.last.lock().even_poisoned().clone()
    }

    /// Somebody has taken this mount away. The next reload makes it again.
    pub fn ended(&self, device: &str) {
        let mut place = self.current.write().even_poisoned();
        let mounts = place.mounts.iter().filter(|mounted| mounted.device != device).cloned().collect();
        *place = Arc::new(Current { mounts, ..Current::clone(&place) });
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, Option<Texts>> {
        self.tried.lock().even_poisoned()
    }

    fn turn_within(&self, limit: Duration) -> Result<MutexGuard<'_, Option<Texts>>, ReloadError> {
        let end = Instant::now() + limit;
        loop {
            match self.tried.try_lock() {
                Ok(tried) => return Ok(tried),
                Err(TryLockError::Poisoned(error)) => return Ok(error.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() >= end => return Err(ReloadError::Busy),
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            }
        }
    }

    fn try_texts(
        &self,
        mut tried: MutexGuard<'_, Option<Texts>>,
        texts: Result<Texts, LoadError>,
    ) -> Result<Summary, ReloadError> {
        *tried = texts.as_ref().ok().cloned();
        let outcome = texts.map_err(ReloadError::from).and_then(|texts| self.take(&texts));
        report(&outcome);
        let problem = outcome.as_ref().err().map(ReloadError::in_brief);
        let last = Last { at: SystemClock.now(), problem };
        *self.last.lock().even_poisoned() = Some(last);
        self.tell_status();
        outcome
    }

    fn take(&self, texts: &Texts) -> Result<Summary, ReloadError> {
        let config = texts.parse().map_err(LoadError::from)?;
        let before = self.current();
        let next = self.judge(&before, config)?;
        let changes = next.changes(&before);
        if changes.is_empty() {
            return Ok(Summary { generation: before.generation, changes });
        }
        let generation = before.generation + 1;
        let current = self.commit(generation, next)?;
        count(&current);
        if !Arc::ptr_eq(before.broker.audit(), current.broker.audit()) {
            current.broker.audit().start();
        }
        current.broker.note(Kind::Policy, changes.join("; "));
        rules::warn(&current.config);
        shut_in::warn(&current.config);
        let left = current.broker.begin_after(&before.broker);
        self.replace(&before, current);
        self.leaving.say_farewell(left);
        self.mounts.keep(texts);
        Ok(Summary { generation, changes })
    }

    /// All that can be wrong with a config is found here; nothing has changed yet.
    fn judge<'a>(&self, before: &'a Current, config: Config) -> Result<Next<'a>, ReloadError> {
        let plans = self.plans(before, &config)?;
        let broker = self.broker(before, &config)?;
        let credentials = rules::credentials(&config).map_err(AssembleError::from)?;
        let is_planned = |mounted: &&Mounted| plans.iter().any(|plan| plan.at == mounted.at);
        let removed = before.mounts.iter().filter(|mounted| !is_planned(mounted)).collect();
        let (mut kept, mut added, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for Plan { at, layout } in plans {
            match before.mounts.iter().find(|mounted| mounted.at == at) {
                Some(mounted) => kept.push((mounted, layout)),
                None => match self.mounts.prepare(&at).map_err(ReloadError::from) {
                    Err(error) if before.has_lost(&at) => lost.push(Lost::new(&at, &error)),
                    Err(error) => return Err(error),
                    Ok(()) => added.push((at, SecretFs::new(broker.clone(), layout)?)),
                },
            }
        }
        let change =
            |(mounted, layout): (&'a Mounted, _)| Ok((mounted, mounted.fs.prepare(broker.clone(), layout)?));
        let kept = kept.into_iter().map(change).collect::<Result<_, TreeError>>()?;
        Ok(Next { config: Arc::new(config), broker, credentials, kept, added, removed, lost })
    }

    pub(super) fn plans(&self, before: &Current, config: &Config) -> Result<Vec<Plan>, PlanError> {
        let mounted = before.mounts.iter().map(|mounted| mounted.at.clone()).collect();
        plan::of_config(config, &Own::of_daemon(&self.choice, config, mounted))
    }

    /// That of before if values come from the same places: what it has fetched is still good.
    fn broker(&self, before: &Current, config: &Config) -> Result<Arc<Broker>, AssembleError> {
        if config.has_same_values(&before.config) {
            let policy = rules::policy(config)?;
            let is_same =
                config.has_same_policy(&before.config) && policy.is_about_the_same(before.broker.policy());
            return Ok(if is_same { before.broker.clone() } else { Arc::new(before.broker.under(policy)) });
        }
        let allowed = Environment::Only(config.env_allowed.clone());
        let before = assemble::Before { config: &before.config, broker: &before.broker };
        Ok(Arc::new(before.broker(&self.choice, config, allowed)?))
    }

    /// New mounts come first, since the machine may refuse them. The rest cannot fail.
    fn commit(&self, generation: u64, next: Next<'_>) -> Result<Current, ReloadError> {
        let mut mounts = self.mount_all(&next.added)?;
        for (mounted, change) in next.kept {
            change.commit();
            mounts.push(mounted.clone());
        }
        for mounted in next.removed {
            mounted.fs.withdraw();
            self.mounts.unmount(mounted);
        }
        mounts.sort_by(|one, other| one.at.cmp(&other.at));
        let Next { config, broker, lost, .. } = next;
        let credentials = Arc::new(next.credentials);
        Ok(Current { generation, config, broker, credentials, mounts, lost })
    }

    /// What has ended while it was made is not in it.
    pub(super) fn replace(&self, before: &Current, mut next: Current) {
        let mut place = self.current.write().even_poisoned();
        next.mounts.retain(|mounted| !before.has(&mounted.device) || place.has(&mounted.device));
        *place = Arc::new(next);
    }

    /// All of them or none.
    fn mount_all(&self, added: &[(PathBuf, Arc<SecretFs>)]) -> Result<Vec<Mounted>, ReloadError> {
        let mut mounts = Vec::new();
        for (at, fs) in added {
            match self.mounts.mount(at, fs) {
                Ok(mounted) => mounts.push(mounted),
                Err(error) => {
                    mounts.iter().for_each(|mounted| self.mounts.unmount(mounted));
                    return Err(error);
                }
            }
        }
        Ok(mounts)
    }
}

impl Next<'_> {
    fn changes(&self, before: &Current) -> Vec<String> {
        let added =
            self.added.iter().map(|(at, fs)| format!("mounted {}: {} files", at.display(), fs.files()));
        let removed = self.removed.iter().map(|mounted| format!("unmounted {}", mounted.at.display()));
        let changed = self.kept.iter().filter(|(_, change)| change.is_of_files());
        let changed = changed
            .map(|(mounted, change)| format!("changed {}: {} files", mounted.at.display(), change.files()));
        let values = (!self.config.has_same_values(&before.config))
            .then(|| "values come from other places".to_owned());
        let rules = match self.config.has_same_policy(&before.config) {
            false => Some("other rules on secrets".to_owned()),
            true if self.broker.policy().is_about_the_same(before.broker.policy()) => None,
            true => Some("users or groups that rules name are others".to_owned()),
        };
        let control = (self.config.control != before.config.control)
            .then(|| "the control socket: as it was, until the next start".to_owned());
        let credentials = self.told_credentials(before);
        let mut changes: Vec<_> = added.chain(removed).chain(changed).chain(values).chain(rules).collect();
        changes.extend(control.into_iter().chain(credentials));
        if changes.is_empty() && !self.config.has_same_settings(&before.config) {
            changes.push("settings of the daemon".to_owned());
        }
        changes
    }
}

impl Next<'_> {
    /// Their socket is made by a worker that starts.
    fn told_credentials(&self, before: &Current) -> Option<String> {
        let (old, new) = (&before.config.credentials, &self.config.credentials);
        let is_other_socket = (&old.socket, old.is_served()) != (&new.socket, new.is_served());
        match is_other_socket {
            true => Some("the socket for credentials: as it was, until the next start".to_owned()),
            false => (old != new).then(|| format!("changed {} credentials", new.names.len())),
        }
    }
}

fn count(current: &Current) {
    metrics::get().generation.set(current.generation as i64);
}

/// For the log and the figures: who has asked may not be there, and nobody has for an edit.
pub(super) fn report(outcome: &Result<Summary, ReloadError>) {
    let reloads = &metrics::get().reloads;
    match outcome {
        Ok(Summary { generation, changes }) => {
            reloads.of(["ok"]).inc();
            tracing::info!(generation, changes = changes.join("; "), "config_reloaded");
        }
        Err(error) => {
            reloads.of(["failed"]).inc();
            let hint = error.hint().map(|hint| format!(" (try: {hint})")).unwrap_or_default();
            tracing::error!("config_reload_failed: the old config stays: {}{hint}", error.in_brief());
        }
    }
}
