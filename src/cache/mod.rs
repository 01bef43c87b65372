//! What stands between the readers and a provider elsewhere, itself a provider: keeps answers for a
//! while, asks once however many want to know, and says so when it has to serve an old answer.
//! Uses `provider`; its parts are `table`, `certain`, `refused` and `lament` (what is kept, and told of it),
//! `breaker`, `throttle`, `turns`, `flight` and `aside` (how it is asked), `watch` (how it tells by itself),
//! and `copies` (what the store keeps of it).

mod aside;
mod breaker;
mod certain;
mod copies;
mod flight;
mod lament;
mod refresh;
mod refused;
mod table;
#[cfg(test)]
mod tests;
mod throttle;
mod turns;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::config::{Keeping, Limits};
use crate::provider::{
    AsOf, Batch, BoxFuture, Changes, Lender, Memory, Mirror, Provider, ProviderError, Pulse, Refreshed, Step,
};
use crate::secret::{Absent, SecretKey};
use crate::sys::uptime::Uptime;
use breaker::Breaker;
use copies::Copies;
use flight::Seat;
use lament::Lament;
use table::{Table, Told};
use throttle::Throttle;
use turns::Turns;
use watch::Watch;

/// A provider, with a memory in front of it. Freshness, as readers see it:
///
/// * within its time to live an answer costs one pulse;
/// * after that the next one who asks waits until the provider has confirmed or changed it;
/// * if the provider tells of changes by itself, an answer is good until it does, and as above otherwise;
/// * with `max_stale`, if the provider fails or lets wait, the old answer is given and marked;
/// * with `mirror`, if the provider is down and nothing is known here, the store's copy is given and marked;
/// * who has waited for many answers can open what is made of them, however long the last of them took;
/// * where no reader waits, answers are asked for with a part of the turns;
/// * a change that anybody meets moves the pulse, so that all files with that secret hear of it.
///
/// Times are the machine's own clock, so that setting the date makes nothing younger, and a night
/// asleep makes it older.
pub struct Cache(Arc<Inner>);

struct Inner {
    name: String,
    upstream: Arc<dyn Provider>,
    limits: Limits,
    /// Guards the bookkeeping; held for no call.
    table: Mutex<Table>,
    turns: Turns,
    breaker: Breaker,
    throttle: Throttle,
    watch: Watch,
    copies: Option<Copies>,
}

/// How long a reader waits for a provider where an old answer would do.
const PATIENCE: Duration = Duration::from_millis(250);

impl Cache {
    /// `name` is the provider's in the config.
    pub fn new(name: &str, upstream: Arc<dyn Provider>, limits: Limits, keeping: Keeping) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            upstream,
            turns: Turns::new(&limits),
            table: Mutex::new(Table::new(keeping)),
            breaker: Breaker::new(name),
            throttle: Throttle::default(),
            watch: Watch::default(),
            copies: None,
            limits,
        }))
    }

    /// Has copies kept there of what is answered.
    pub fn mirrored(mut self, mirror: Mirror) -> Self {
        let inner = Arc::get_mut(&mut self.0).expect("nobody else has it yet");
        inner.copies = Some(Copies::new(mirror));
        self
    }
}

impl Inner {
    /// What is known of each key in the end, asked for where it is not known well enough.
    async fn tell(self: &Arc<Self>, keys: &[SecretKey], what: Need) -> Result<Vec<Told>, ProviderError> {
        let mut told = Vec::with_capacity(keys.len());
        for (key, seat) in keys.iter().zip(self.board(keys, what)) {
            told.push(self.land_with(key, seat).await?);
        }
        Ok(told)
    }

    /// The landing of a flight, or an old answer in place of one that takes too long or fails.
    async fn land_with(&self, key: &SecretKey, seat: Seat) -> Result<Told, ProviderError> {
        let (mut landing, began, old) = match seat {
            Seat::None(told) => return Ok(told),
            Seat::Aboard { landing, began, old } => (landing, began, old),
        };
        let lost = || Err(ProviderError::Unavailable("the question was lost".to_owned()));
        let landed = async {
            match landing.wait_for(Option::is_some).await {
                Ok(landed) => landed.clone().expect("waited until it is there"),
                Err(_) => lost(),
            }
        };
        let Some(old) = old else {
            return landed.await.or_else(|error| match self.copy_of(key, &error) {
                Some(copy) => Ok(self.stale(key, copy, &error.to_string())),
                None => Err(error),
            });
        };
        let patience = PATIENCE.saturating_sub(Uptime::now().since(began));
        match tokio::time::timeout(patience, landed).await {
            Ok(Ok(told)) => Ok(told),
            // An answer, and the end of what was known.
            Ok(Err(error)) if error.is_refusal() || (old.is_copy && !error.is_no_answer()) => Err(error),
            Ok(Err(error)) => Ok(self.stale(key, old, &error.to_string())),
            Err(_) => Ok(self.stale(key, old, "no answer yet")),
        }
    }

    fn stale(&self, key: &SecretKey, old: Told, why: &str) -> Told {
        let (kind, what) = match old.is_copy {
            true => ("mirror", "mirror: the store's copy is served"),
            false => ("stale", "stale: an old answer is served"),
        };
        crate::metrics::get().cache_answers.of([&*self.name, kind]).inc();
        let (now, provider) = (Uptime::now(), &self.name);
        let lament = self.table().tell_stale(key, now);
        let age = now.since(old.checked).as_secs();
        match lament {
            Lament::ByName => tracing::warn!(provider, secret = key.path, age, why, "{what}"),
            Lament::ForMany => tracing::warn!(provider, age, why, "{what}; so are more, untold for a minute"),
            Lament::Silent => {}
        }
        // Asked again by whoever comes next.
        Told { is_stale: true, until: old.checked, end: Some(old.checked), ..old }
    }

    /// The moment that these belong to, all together. `began`: when somebody began to ask for them.
    fn as_of(&self, keys: &[SecretKey], told: &[Told], began: Uptime) -> AsOf {
        let table = self.table();
        let each = || keys.iter().zip(told);
        let moment = each().map(|(key, told)| table.moment_of(key, told)).min();
        let now = Uptime::now();
        let opened = now + now.since(began).min(ONE_OPEN);
        let until = told.iter().map(|told| told.good_for(opened));
        let stale_since = told.iter().filter(|told| told.is_stale).map(|told| told.checked).min();
        let is_lent = told.iter().any(|told| told.is_lent);
        AsOf { moment: moment.unwrap_or_else(|| table.moment()), until: until.min(), stale_since, is_lent }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics while it holds this")
    }
}

/// What is asked for: values, or only whether they have changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Values,
    Changes,
    /// The values as they are now, whatever is known.
    Anew,
}

/// Every answer is good for the open that asked, whose lookup and open are two questions: also one that is
/// asked for each time, and the first of many of which the last took longer than the first was good.
const ONE_OPEN: Duration = Duration::from_millis(100);

impl Keeping {
    fn keeps(&self, key: &SecretKey) -> bool {
        !self.no_cache.contains(&key.path)
    }

    /// How long an answer is good.
    fn time_of(&self, key: &SecretKey, absent: &Option<Absent>) -> Duration {
        match absent {
            _ if !self.keeps(key) => ONE_OPEN,
            None => self.ttl,
            Some(_) => self.negative_ttl,
        }
    }

    /// How much longer an answer may be served.
    fn stale_time_of(&self, key: &SecretKey, absent: &Option<Absent>) -> Duration {
        match absent {
            None if self.keeps(key) => self.max_stale.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }
}

impl Provider for Cache {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(async move {
            let began = Uptime::now();
            let mut told = self.0.tell(keys, Need::Values).await?;
            let as_of = self.0.as_of(keys, &told, began);
            let answers = told.iter_mut().map(|told| told.answer.take().unwrap_or(Err(Absent::Missing)));
            Ok(Batch { answers: answers.collect(), as_of })
        })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(self.0.within_time(self.0.upstream.names()))
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async {
            self.0.breaker.health()?;
            self.0.within_time(self.0.upstream.health()).await
        })
    }

    /// Also while it wants to be left alone: a login that is not renewed now is lost.
    fn tend(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(self.0.tended())
    }

    fn flush(&self) {
        self.0.flush_copies();
        self.0.upstream.flush();
    }

    /// Whoever tries wants to know how it is now.
    fn steps(&self) -> BoxFuture<'_, Vec<Step>> {
        self.0.upstream.steps()
    }

    fn sweep(&self) {
        let mut table = self.0.table();
        let wiped = table.sweep(Uptime::now());
        let (left, pushed_out) = (table.answers(), table.pushed_out());
        // Wiped outside the lock.
        drop(table);
        drop(wiped);
        let metrics = crate::metrics::get();
        metrics.cache_entries.of([&self.0.name]).set(left as i64);
        metrics.cache_evictions.of([&self.0.name]).inc_by(pushed_out);
        self.0.upstream.sweep();
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }

    fn memory(&self) -> Option<&dyn Memory> {
        Some(self)
    }

    fn lender(&self) -> Option<&dyn Lender> {
        self.0.upstream.lender()
    }
}

impl Memory for Cache {
    fn behind(&self) -> Arc<dyn Provider> {
        self.0.upstream.clone()
    }

    fn time(&self) -> Duration {
        self.0.limits.timeout
    }

    fn is_known_for(&self, keys: &[SecretKey]) -> bool {
        self.0.table().knows_any(keys) && !self.0.breaker.suspects(keys)
    }

    fn refresh(&self) -> BoxFuture<'_, Refreshed> {
        Box::pin(self.0.refresh())
    }

    fn stale_since(&self) -> Option<Uptime> {
        self.0.table().stale_since()
    }
}

impl Changes for Cache {
    /// Moves with each change of an answer that was known.
    fn pulse(&self) -> Pulse {
        Pulse::Still(self.0.table().changes())
    }

    fn unchanged<'a>(
        &'a self,
        keys: &'a [SecretKey],
        since: u64,
    ) -> BoxFuture<'a, Result<Option<AsOf>, ProviderError>> {
        Box::pin(async move {
            if !self.0.table().knows_all(keys, since) {
                return Ok(None);
            }
            let began = Uptime::now();
            let told = self.0.tell(keys, Need::Changes).await?;
            let is_same = told.iter().all(|told| told.changed <= since);
            Ok(is_same.then(|| self.0.as_of(keys, &told, began)))
        })
    }

    fn unchanged_aside<'a>(
        &'a self,
        keys: &'a [SecretKey],
        since: u64,
    ) -> BoxFuture<'a, Result<Option<AsOf>, ProviderError>> {
        Box::pin(self.0.unchanged_aside(keys, since))
    }
}
