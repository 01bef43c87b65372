//! Stops asking for what fails again and again, and tries it now and then. Says at once what is
//! wrong meanwhile, so that no reader waits for it. Each secret for itself, so that a bad one costs
//! the others nothing; and all that have failed together, as long as nothing is answered. Pure;
//! moments are arguments.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::provider::ProviderError;
use crate::secret::SecretKey;
use crate::sys::uptime::Uptime;

pub(super) struct Breaker {
    provider: String,
    /// Guards the bookkeeping; held for no call.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Failures without an answer between them, whoever asked.
    streak: u32,
    open: Option<Open>,
    /// The secrets whose last question failed.
    failed: HashMap<SecretKey, Failed>,
}

/// Nothing is answered.
struct Open {
    why: ProviderError,
    /// When one of those who failed may try.
    retry_at: Uptime,
}

struct Failed {
    times: u32,
    why: ProviderError,
    wait: Duration,
    retry_at: Uptime,
    /// Its waiting was put down to the provider once, and is not again.
    is_forgiven: bool,
}

/// The failures in a row that are enough.
const FAILURES: u32 = 5;
/// How long it is not asked then, at first and at most: twice as long after each failed try.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// Between two tries, whoever makes them, while nothing is answered.
const TRY: Duration = Duration::from_millis(250);
/// Secrets that have failed, beyond which those whose time has come are forgotten.
const MOST: usize = 100_000;

impl Breaker {
    pub(super) fn new(provider: &str) -> Self {
        Self { provider: provider.to_owned(), state: Mutex::default() }
    }

    /// Why not to ask for these now, if it must not be.
    pub(super) fn refuse(&self, keys: &[SecretKey], now: Uptime) -> Result<(), ProviderError> {
        self.state().refuse(keys, now)
    }

    /// Whether to ask for these now, by who does so then.
    pub(super) fn admit(&self, keys: &[SecretKey], now: Uptime) -> Result<(), ProviderError> {
        let mut state = self.state();
        state.refuse(keys, now)?;
        let has_failed = state.has_failed(keys);
        if let Some(open) = state.open.as_mut().filter(|_| has_failed) {
            // The one who tries; the next one may soon, also if this one is lost.
            open.retry_at = now + TRY;
            show(&self.provider, TRYING);
        }
        Ok(())
    }

    /// Whether one of these has failed when it was asked for last.
    pub(super) fn suspects(&self, keys: &[SecretKey]) -> bool {
        self.state().has_failed(keys)
    }

    /// Takes note of how it went.
    pub(super) fn heed(&self, keys: &[SecretKey], error: Option<&ProviderError>, now: Uptime) {
        let mut state = self.state();
        match error {
            Some(error) if error.is_outage() => state.fail(keys, error, now, &self.provider),
            // It answers, even if nobody can use the answer.
            _ => state.answer(keys, now, &self.provider),
        }
    }

    pub(super) fn health(&self) -> Result<(), ProviderError> {
        match &self.state().open {
            Some(open) => Err(open.why.clone()),
            None => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }
}

impl State {
    fn has_failed(&self, keys: &[SecretKey]) -> bool {
        keys.iter().any(|key| self.failed.contains_key(key))
    }

    fn refuse(&self, keys: &[SecretKey], now: Uptime) -> Result<(), ProviderError> {
        let next = self.open.as_ref().map_or(now, |open| open.retry_at);
        for failed in keys.iter().filter_map(|key| self.failed.get(key)) {
            let left = failed.retry_at.max(next).since(now);
            if !left.is_zero() {
                return Err(ProviderError::Unavailable(format!(
                    "not asked for {:.0} s more: it has failed {} times in a row: {}",
                    left.as_secs_f64().ceil(),
                    failed.times.max(if self.open.is_some() { self.streak } else { 0 }),
                    failed.why
                )));
            }
        }
        Ok(())
    }

    fn fail(&mut self, keys: &[SecretKey], error: &ProviderError, now: Uptime, provider: &str) {
        self.streak += 1;
        let nothing_is_answered = self.streak >= FAILURES;
        if self.failed.len() >= MOST {
            self.failed.retain(|_, failed| failed.retry_at > now);
        }
        for key in keys {
            let others = u32::try_from(self.failed.len()).unwrap_or(u32::MAX);
            let failed = self.failed.entry(key.clone()).or_insert_with(|| Failed::new(error, now));
            failed.again(error, nothing_is_answered.then_some(others), now);
        }
        if !nothing_is_answered {
            return;
        }
        show(provider, OPEN);
        if self.open.is_none() {
            tracing::warn!(provider, failures = self.streak, %error, "breaker_state: open");
            crate::metrics::get().breaker_opened.of([provider]).inc();
            self.open = Some(Open { why: error.clone(), retry_at: now + FIRST });
        }
    }

    fn answer(&mut self, keys: &[SecretKey], now: Uptime, provider: &str) {
        self.streak = 0;
        keys.iter().for_each(|key| drop(self.failed.remove(key)));
        if self.open.take().is_some() {
            tracing::warn!(provider, "breaker_state: closed");
            show(provider, CLOSED);
            self.failed.values_mut().for_each(|failed| failed.forgive(now));
        }
    }
}

impl Failed {
    fn new(error: &ProviderError, now: Uptime) -> Self {
        Self { times: 0, why: error.clone(), wait: Duration::ZERO, retry_at: now, is_forgiven: false }
    }

    /// `others`: how many have failed, if nothing is answered. All of them try before this one
    /// does again.
    fn again(&mut self, error: &ProviderError, others: Option<u32>, now: Uptime) {
        self.times += 1;
        self.why = error.clone();
        if others.is_some() || self.times >= FAILURES || !self.wait.is_zero() {
            let tries = TRY.saturating_mul(others.unwrap_or(0)).saturating_mul(2);
            self.wait = (self.wait * 2).max(tries).clamp(FIRST, LONGEST);
            self.retry_at = now + self.wait;
        }
    }

    /// It may be that only the provider was to blame: that can be found out at once.
    fn forgive(&mut self, now: Uptime) {
        if !std::mem::replace(&mut self.is_forgiven, true) {
            self.retry_at = now;
        }
    }
}

/// As the metric has them.
const CLOSED: i64 = 0;
const TRYING: i64 = 1;
const OPEN: i64 = 2;

fn show(provider: &str, state: i64) {
    crate::metrics::get().breaker_state.of([provider]).set(state);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> ProviderError {
        ProviderError::Unavailable("down".to_owned())
    }

    /// A breaker after this many failures of `bad`, one a millisecond.
    fn after(failures: u32) -> (Breaker, [SecretKey; 1], Uptime) {
        let (breaker, bad, now) = (Breaker::new("p"), [SecretKey::named("bad")], Uptime::now());
        for _ in 0..failures {
            breaker.admit(&bad, now).unwrap();
            breaker.heed(&bad, Some(&failed()), now);
        }
        (breaker, bad, now)
    }

    #[test]
    fn it_opens_after_five_failures_and_says_why() {
        let (breaker, bad, now) = after(4);
        assert!(breaker.admit(&bad, now).is_ok() && breaker.health().is_ok());
        let (breaker, bad, now) = after(5);
        let refusal = breaker.admit(&bad, now).unwrap_err().to_string();
        assert!(refusal.contains("5 times") && refusal.contains("down"), "{refusal}");
        assert!(breaker.health().is_err());
    }

    #[test]
    fn an_answer_between_them_keeps_it_closed() {
        let (breaker, bad, now) = after(4);
        breaker.heed(&bad, None, now);
        breaker.heed(&bad, Some(&failed()), now);
        assert!(breaker.admit(&bad, now).is_ok());
    }

    #[test]
    fn an_answer_of_no_use_is_no_outage() {
        let (breaker, bad, now) = after(4);
        for _ in 0..9 {
            breaker.heed(&bad, Some(&ProviderError::Invalid("garbage".to_owned())), now);
        }
        assert!(breaker.admit(&bad, now).is_ok());
    }

    #[test]
    fn one_at_a_time_tries_it_and_an_answer_closes_it() {
        let (breaker, bad, now) = after(5);
        let later = now + FIRST;
        assert!(breaker.admit(&bad, later).is_ok());
        assert!(breaker.admit(&bad, later).is_err(), "a second one meanwhile");
        breaker.heed(&bad, Some(&failed()), later);
        assert!(breaker.admit(&bad, later + FIRST).is_err(), "it waits for twice as long");
        assert!(breaker.admit(&bad, later + FIRST * 2).is_ok());
        breaker.heed(&bad, None, later);
        assert!(breaker.admit(&bad, later).is_ok() && breaker.health().is_ok());
    }

    #[test]
    fn a_bad_secret_cuts_no_other_off() {
        let (breaker, bad, now) = after(5);
        let good = [SecretKey::named("good")];
        assert!(breaker.admit(&bad, now).is_err() && breaker.admit(&good, now).is_ok());
        breaker.heed(&good, Some(&failed()), now);
        assert!(breaker.admit(&good, now).is_err(), "it has had its try");
    }

    #[test]
    fn a_bad_secret_is_asked_for_less_and_less_while_others_are_answered() {
        let (breaker, mut now) = (Breaker::new("p"), Uptime::now());
        let (bad, good) = ([SecretKey::named("bad")], [SecretKey::named("good")]);
        let (mut asked, start) = (0, now);
        while now.since(start) < Duration::from_secs(300) {
            now = now + Duration::from_millis(100);
            breaker.admit(&good, now).unwrap();
            breaker.heed(&good, None, now);
            if breaker.admit(&bad, now).is_ok() {
                asked += 1;
                breaker.heed(&bad, Some(&failed()), now);
            }
        }
        assert!((10..=25).contains(&asked), "{asked} times in 300 s");
        assert!(breaker.health().is_ok() && breaker.suspects(&bad) && !breaker.suspects(&good));
        assert!(breaker.admit(&bad, now).unwrap_err().to_string().contains("times in a row: down"));
        breaker.heed(&bad, None, now);
        assert!(breaker.admit(&bad, now).is_ok() && !breaker.suspects(&bad), "forgotten with its answer");
    }

    /// As those do that `ready:` asks for each second.
    #[test]
    fn bad_secrets_that_try_first_keep_a_good_one_from_it_for_a_moment_only() {
        let (breaker, mut now) = (Breaker::new("p"), Uptime::now());
        let key = |number: u32| [SecretKey::named(&number.to_string())];
        (0..6).for_each(|number| breaker.heed(&key(number), Some(&failed()), now));
        let (good, start, mut tries) = (key(5), now, 0);
        loop {
            now = now + Duration::from_millis(100);
            for bad in (0..5).map(key) {
                if breaker.admit(&bad, now).is_ok() {
                    tries += 1;
                    breaker.heed(&bad, Some(&failed()), now);
                }
            }
            if breaker.admit(&good, now).is_ok() {
                break;
            }
        }
        let took = now.since(start);
        assert!(took < Duration::from_secs(6) && tries >= 3, "after {took:?} and {tries} tries of others");
        breaker.heed(&good, None, now);
        assert!(breaker.health().is_ok());
        // They may be good now, too; who is not, is found out once.
        assert!((0..5).map(key).all(|bad| breaker.admit(&bad, now).is_ok()));
        (0..5).for_each(|number| breaker.heed(&key(number), Some(&failed()), now));
        assert!(breaker.health().is_err());
        breaker.heed(&good, None, now);
        assert!((0..5).map(key).all(|bad| breaker.admit(&bad, now).is_err()));
    }
}
