//! The embedded store seen as a provider. Uses `store`; keeps its blocking off the async threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use super::{AsOf, Batch, BoxFuture, Changes, Mirror, Provider, ProviderError, Pulse, unhurried};
use crate::clock::Clock;
use crate::poison::EvenPoisoned;
use crate::secret::{Absent, Namespace, SecretKey, SecretName, Selector};
use crate::store::{Question, Store, StoreError};
use crate::sys::leftover;

/// One namespace of the store.
pub struct LocalStore {
    store: Arc<Store>,
    namespace: Namespace,
    clock: Arc<dyn Clock>,
    /// A store that does not answer must not take the threads of those who ask for nothing of it.
    turns: Semaphore,
    /// Somebody asks for secrets by their label, or will.
    by_label: AtomicBool,
    /// The pulse at which all labels were known.
    learnt: Mutex<Option<u64>>,
    /// When uses were written down last, and whether it was said that they cannot be.
    noted: Mutex<(Instant, bool)>,
    /// When it was said last which secrets expire soon.
    warned: Mutex<Option<Timestamp>>,
}

/// More threads than this would only wait for the same disk.
const TURNS: usize = 32;
/// Who is told so long before can still do something about it.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A crash loses the uses of no longer a time.
const NOTED: Duration = Duration::from_secs(5);
const DAY: SignedDuration = SignedDuration::from_hours(24);

impl LocalStore {
    pub fn new(store: Arc<Store>, namespace: Namespace, clock: Arc<dyn Clock>) -> Self {
        let noted = Mutex::new((Instant::now(), false));
        let (turns, by_label) = (Semaphore::new(TURNS), AtomicBool::new(false));
        let (learnt, warned) = (Mutex::default(), Mutex::default());
        Self { store, namespace, clock, turns, by_label, learnt, noted, warned }
    }

    /// Somebody will ask for secrets by their label: what has to be found out for that, `tend` can find out.
    /// Never waits.
    pub fn expect_labels(&self) {
        self.by_label.store(true, Ordering::Relaxed);
    }

    /// Room for copies of what another provider of this name answers, that looks at this place. `None` where nothing
    /// can be kept.
    pub fn mirror(&self, of: &str, place: &str, oldest: Duration) -> Option<Mirror> {
        Mirror::new(self.store.clone(), of, place, oldest).ok()
    }

    /// Asks the store, which may block. Who waits for a turn holds no thread.
    async fn ask<T>(
        &self,
        question: impl FnOnce(&Store) -> Result<T, StoreError>,
    ) -> Result<T, ProviderError> {
        let _turn = self.turns.acquire().await;
        Ok(unhurried(|| leftover::wiped(|| question(&self.store)))?)
    }
}

impl Provider for LocalStore {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(async move { self.ask(|_| self.answer(keys)).await })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async {
            let secrets = self.ask(|store| store.list(&self.namespace)).await?;
            Ok(secrets.into_iter().map(|secret| secret.name).collect())
        })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(self.ask(Store::recheck))
    }

    fn tend(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(self.ask(|store| {
            store.recheck()?;
            self.note_uses(store);
            self.learn_labels(store)?;
            self.warn_of_expiry(store)
        }))
    }

    fn flush(&self) {
        let _ = self.store.flush_uses();
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }

    fn store(&self) -> Option<&LocalStore> {
        Some(self)
    }
}

impl Changes for LocalStore {
    fn pulse(&self) -> Pulse {
        self.store.pulse().map_or(Pulse::Moving, Pulse::Still)
    }

    fn unchanged<'a>(
        &'a self,
        keys: &'a [SecretKey],
        since: u64,
    ) -> BoxFuture<'a, Result<Option<AsOf>, ProviderError>> {
        // What is no name stays missing.
        let names: Vec<_> = keys.iter().filter_map(|key| SecretName::parse(&key.path).ok()).collect();
        // Any secret may come to be like that.
        let is_of_all = keys.iter().any(|key| Selector::of_path(&key.path).is_some());
        let namespace = &self.namespace;
        Box::pin(async move {
            let surely = match is_of_all {
                true => self.store.surely_all_unchanged(namespace, since),
                false => self.store.surely_unchanged(namespace, &names, since),
            };
            let moment = match (surely, is_of_all) {
                (Some(moment), _) => Some(moment),
                (None, true) => self.ask(|store| store.all_unchanged(namespace, since)).await?,
                (None, false) => self.ask(|store| store.unchanged(namespace, &names, since)).await?,
            };
            Ok(moment.map(AsOf::moment))
        })
    }
}

impl LocalStore {
    /// Writes down how often each secret was given out. It is said once that it cannot be.
    fn note_uses(&self, store: &Store) {
        let mut noted = self.noted.lock().even_poisoned();
        if noted.0.elapsed() < NOTED {
            return;
        }
        noted.0 = Instant::now();
        if let Err(error) = store.flush_uses() {
            if !noted.1 {
                tracing::warn!(%error, "it is not counted which secrets are used");
            }
            noted.1 = true;
        }
    }

    /// Keeps in memory which secret has which label, so that who opens a file need not read them all.
    fn learn_labels(&self, store: &Store) -> Result<(), StoreError> {
        let mut learnt = self.learnt.lock().even_poisoned();
        let pulse = store.pulse();
        if !self.by_label.load(Ordering::Relaxed) || (pulse.is_some() && *learnt == pulse) {
            return Ok(());
        }
        let is_first = learnt.is_none();
        store.learn_labels(&self.namespace)?;
        *learnt = pulse;
        if is_first {
            tracing::debug!("the labels of all secrets are known");
        }
        Ok(())
    }

    /// A line in the log for each secret that expires within a week: at the start and once a day.
    fn warn_of_expiry(&self, store: &Store) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut warned = self.warned.lock().even_poisoned();
        if warned.is_some_and(|last| now.duration_since(last) < DAY) {
            return Ok(());
        }
        for secret in store.list(&self.namespace)? {
            if let Some(end) = secret.expires_at.filter(|end| now < *end && end.duration_since(now) <= SOON) {
                tracing::warn!(secret = %secret.name, expires = %end, "a secret expires soon: rotate it before");
            }
        }
        *warned = Some(now);
        Ok(())
    }

    /// A path that cannot be a secret's name is one that is missing.
    fn answer(&self, keys: &[SecretKey]) -> Result<Batch, StoreError> {
        let wanted: Vec<_> = keys.iter().map(question).collect();
        let proper: Vec<_> = wanted.iter().flatten().cloned().collect();
        if proper.iter().any(|question| matches!(question, Question::Like(_))) {
            self.expect_labels();
        }
        let reading = self.store.answers(&self.namespace, &proper, self.clock.now())?;
        let mut found = reading.answers.into_iter();
        let answers = wanted
            .iter()
            .map(|question| match question {
                Some(_) => found.next().unwrap_or(Err(Absent::Missing)),
                None => Err(Absent::Missing),
            })
            .collect();
        Ok(Batch { answers, as_of: AsOf::moment(reading.as_of) })
    }
}

fn question(key: &SecretKey) -> Option<Question> {
    match Selector::of_path(&key.path) {
        Some(selector) => Some(Question::Like(selector)),
        None => SecretName::parse(&key.path).ok().map(|name| Question::Named(name, key.version)),
    }
}

impl From<StoreError> for ProviderError {
    fn from(error: StoreError) -> Self {
        let text = match error.hint() {
            Some(hint) => format!("{error} (try: {hint})"),
            None => error.to_string(),
        };
        match error {
            StoreError::Sealed(_) => Self::Sealed(text),
            StoreError::Corrupt(_) | StoreError::Newer { .. } | StoreError::NotAStore(_) => {
                Self::Corrupt(text)
            }
            _ => Self::Unavailable(text),
        }
    }
}

#[cfg(test)]
mod tests;
