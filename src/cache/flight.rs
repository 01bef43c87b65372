//! Asking a provider: one question at a time for each secret, so many at once, within a time, twice
//! more if it fails at once. Goes on when those who wait for it have gone. Uses `table`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::table::{Flight, Told};
use super::turns::Turn;
use super::{Inner, Need};
use crate::provider::{Batch, ProviderError};
use crate::secret::SecretKey;
use crate::sys::uptime::Uptime;

/// What a question comes to.
pub(super) type Landing = Result<Told, ProviderError>;

/// How somebody gets an answer.
pub(super) enum Seat {
    /// There is nothing to wait for.
    None(Told),
    Aboard {
        landing: watch::Receiver<Option<Landing>>,
        began: Uptime,
        /// What would do if this takes too long.
        old: Option<Told>,
    },
}

/// A question that is about to be asked, and who is told.
type Begun = (SecretKey, watch::Sender<Option<Landing>>);

/// The most questions that are asked to find out which of one were meant by a refusal: all of a thousand.
const MOST_PARTS: usize = 2_048;
/// How often a provider is asked again that has failed at once.
const RETRIES: u32 = 2;
/// Between two tries, at least, at the first.
const PAUSE: Duration = Duration::from_millis(50);

impl Inner {
    /// For each key what is known, or a seat on the flight that finds out.
    pub(super) fn board(self: &Arc<Self>, keys: &[SecretKey], what: Need) -> Vec<Seat> {
        let now = Uptime::now();
        let mut begun: Vec<Begun> = Vec::new();
        let mut table = self.table();
        let seat = |key: &SecretKey| {
            if let Some(told) = table.fresh(key, what, now) {
                return Seat::None(told);
            }
            let old = table.old(key, what, now);
            // One that was lost has nobody who could still land it.
            let under_way = table.flights.get(key).filter(|flight| flight.landing.has_changed().is_ok());
            let Flight { began, landing, .. } = under_way.cloned().unwrap_or_else(|| {
                let (sender, landing) = watch::channel(None);
                let flight = Flight { began: now, changed: 0, landing };
                table.flights.insert(key.clone(), flight.clone());
                begun.push((key.clone(), sender));
                flight
            });
            Seat::Aboard { landing, began, old }
        };
        let seats: Vec<Seat> = keys.iter().map(seat).collect();
        drop(table);
        self.count(&seats, begun.len());
        self.take_off(begun);
        seats
    }

    fn count(&self, seats: &[Seat], begun: usize) {
        let hits = seats.iter().filter(|seat| matches!(seat, Seat::None(_))).count();
        let answers = [("hit", hits), ("miss", begun), ("joined", seats.len() - hits - begun)];
        for (answer, count) in answers.into_iter().filter(|(_, count)| *count > 0) {
            crate::metrics::get().cache_answers.of([&self.name, answer]).inc_by(count as u64);
        }
    }

    /// What was refused just now is asked for by itself, so that it is refused alone.
    fn take_off(self: &Arc<Self>, begun: Vec<Begun>) {
        let most = self.largest_question();
        let (alone, others): (Vec<_>, Vec<_>) =
            begun.into_iter().partition(|(key, _)| self.upstream.is_alone(key));
        let table = self.table();
        let now = Uptime::now();
        let (refused, others): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|(key, _)| table.was_refused(key, now));
        drop(table);
        let each = || Arc::new(AtomicUsize::new(0));
        alone.into_iter().for_each(|one| self.take_off_with(vec![one], &each()));
        for mut begun in [others, refused] {
            while !begun.is_empty() {
                let batch = begun.split_off(begun.len().saturating_sub(most));
                self.take_off_with(batch, &Arc::new(AtomicUsize::new(MOST_PARTS)));
            }
        }
    }

    /// How many secrets one question holds.
    pub(super) fn largest_question(&self) -> usize {
        self.limits.batch.unwrap_or(usize::MAX).min(self.upstream.largest_batch()).max(1)
    }

    /// `parts`: how many more questions may come of this one.
    fn take_off_with(self: &Arc<Self>, batch: Vec<Begun>, parts: &Arc<AtomicUsize>) {
        tokio::spawn(self.clone().fly(batch, parts.clone()));
    }

    async fn fly(self: Arc<Self>, mut begun: Vec<Begun>, parts: Arc<AtomicUsize>) {
        let keys: Vec<_> = begun.iter().map(|(key, _)| key.clone()).collect();
        let outcome = self.ask(&keys).await;
        // What is wrong with one of them is no matter of the others.
        if outcome.as_ref().is_err_and(ProviderError::may_be_of_one) && self.may_part(&keys, &parts) {
            let half = begun.split_off(begun.len() / 2);
            [begun, half].into_iter().for_each(|half| self.take_off_with(half, &parts));
            return;
        }
        let tell = begun.into_iter().map(|(_, tell)| tell);
        if outcome.is_ok() {
            self.keep_watch();
        }
        let landings = self.land(&keys, &outcome);
        match &outcome {
            Ok(batch) => self.note_answers(&keys, batch),
            Err(error) => self.note_refusal(&keys, error),
        }
        for (landing, tell) in landings.into_iter().zip(tell) {
            tell.send_replace(Some(landing));
        }
    }

    fn may_part(&self, keys: &[SecretKey], parts: &AtomicUsize) -> bool {
        let now = Uptime::now();
        let table = self.table();
        let is_known = keys.iter().all(|key| table.was_refused(key, now));
        let less = |left: usize| left.checked_sub(2);
        keys.len() > 1 && !is_known && parts.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok()
    }

    fn land(&self, keys: &[SecretKey], outcome: &Result<Batch, ProviderError>) -> Vec<Landing> {
        let now = Uptime::now();
        let mut table = self.table();
        let changed: Vec<_> =
            keys.iter().map(|key| table.flights.remove(key).map_or(0, |flight| flight.changed)).collect();
        match outcome {
            Ok(batch) => {
                let answers = keys.iter().zip(&batch.answers).zip(changed);
                answers
                    .map(|((key, it), changed)| Ok(table.land(key, it, &batch.as_of, changed, now)))
                    .collect()
            }
            Err(error) => {
                // Of several nobody knows which was meant.
                if let [key] = keys
                    && error.may_be_of_one()
                {
                    table.note_refused(key, error.is_refusal(), now);
                }
                keys.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    async fn ask(&self, keys: &[SecretKey]) -> Result<Batch, ProviderError> {
        let end = Instant::now() + self.limits.timeout;
        let mut tries = 0;
        loop {
            // A breaker that refuses will do so again.
            let turn = match self.turn(keys, end).await {
                Ok(turn) => turn,
                Err(error) => return self.upstream.lender().and_then(|it| it.at_hand(keys)).ok_or(error),
            };
            let outcome = turn.spend(self.ask_once(keys, end)).await;
            tries += 1;
            let pause = (PAUSE + jitter()) * tries;
            let is_over = tries > RETRIES || Instant::now() + pause >= end;
            match outcome {
                Err(error) if error.is_passing() && !is_over => tokio::time::sleep(pause).await,
                outcome => return outcome,
            }
        }
    }

    /// Who need not ask waits for no turn; who has waited may find that it need not ask now.
    async fn turn(&self, keys: &[SecretKey], end: Instant) -> Result<Turn<'_>, ProviderError> {
        self.throttle.refuse(Uptime::now())?;
        self.breaker.refuse(keys, Uptime::now())?;
        let turn = timeout_at(end, self.turns.take(self.breaker.suspects(keys))).await;
        let turn = turn.map_err(|_| self.late("is busy with other questions"))?;
        self.throttle.refuse(Uptime::now())?;
        self.breaker.admit(keys, Uptime::now())?;
        Ok(turn)
    }

    async fn ask_once(&self, keys: &[SecretKey], end: Instant) -> Result<Batch, ProviderError> {
        let asked = timeout_at(end, self.upstream.fetch(keys)).await;
        let outcome = asked.unwrap_or_else(|_| Err(self.late("has not answered")));
        if matches!(outcome, Err(ProviderError::Paused(_))) {
            // Says nothing of how it is.
            return outcome;
        }
        let metrics = crate::metrics::get();
        metrics.provider_calls.of([&self.name]).inc();
        if let Err(error) = &outcome {
            metrics.provider_errors.of([&self.name, error.kind()]).inc();
            tracing::warn!(provider = self.name, kind = error.kind(), %error, "provider_error");
        }
        self.throttle.heed(outcome.as_ref().err(), Uptime::now());
        self.breaker.heed(keys, outcome.as_ref().err(), Uptime::now());
        outcome
    }

    /// Bounds what no flight does.
    pub(super) async fn within_time<T>(
        &self,
        work: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        self.throttle.refuse(Uptime::now())?;
        let outcome = self.bounded(work).await;
        self.throttle.heed(outcome.as_ref().err(), Uptime::now());
        outcome
    }

    /// That nothing had to be done says nothing of how the provider is.
    pub(super) async fn tended(&self) -> Result<(), ProviderError> {
        let outcome = self.bounded(self.upstream.tend()).await;
        if outcome.is_err() {
            self.throttle.heed(outcome.as_ref().err(), Uptime::now());
        }
        outcome
    }

    async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let worked = tokio::time::timeout(self.limits.timeout, work).await;
        worked.unwrap_or_else(|_| Err(self.late("has not answered")))
    }

    fn late(&self, how: &str) -> ProviderError {
        ProviderError::Timeout(format!("it {how} within {:?}", self.limits.timeout))
    }
}

/// Up to a second pause, so that those who failed together do not come back together.
pub(super) fn jitter() -> Duration {
    let random = getrandom::u32().unwrap_or_default();
    PAUSE.mul_f64(f64::from(random) / f64::from(u32::MAX))
}
