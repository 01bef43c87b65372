//! Stops asking a provider that fails again and again, and tries it now and then. Says at once what
//! is wrong meanwhile, so that no reader waits for it. Pure; moments are arguments.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::provider::ProviderError;
use crate::secret::SecretKey;
use crate::sys::uptime::Uptime;

pub(super) struct Breaker {
    provider: String,
    /// Guards the bookkeeping; held for no call.
    streak: Mutex<Streak>,
}

/// Failures without an answer between them.
#[derive(Default)]
struct Streak {
    failures: u32,
    /// Whose questions failed. One bad secret must not cut the others off: who has not failed yet
    /// may ask, even while the breaker is open.
    failed: BTreeSet<SecretKey>,
    open: Option<Open>,
}

struct Open {
    why: ProviderError,
    wait: Duration,
    retry_at: Uptime,
    /// Somebody tries it.
    is_tried: bool,
}

/// The failures in a row that open it.
const FAILURES: u32 = 5;
/// How long it stays open at first, and at most: twice as long after each failed try.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

impl Breaker {
    pub(super) fn new(provider: &str) -> Self {
        Self { provider: provider.to_owned(), streak: Mutex::default() }
    }

    /// Why not to ask for these now, if it must not be.
    pub(super) fn refuse(&self, keys: &[SecretKey], now: Uptime) -> Result<(), ProviderError> {
        self.streak().refuse(keys, now)
    }

    /// Whether to ask for these now, by who does so then.
    pub(super) fn admit(&self, keys: &[SecretKey], now: Uptime) -> Result<(), ProviderError> {
        let mut streak = self.streak();
        streak.refuse(keys, now)?;
        let has_failed = streak.has_failed(keys);
        if let Some(open) = streak.open.as_mut().filter(|_| has_failed) {
            // The one who tries; the next may when this one has failed, or was lost.
            (open.retry_at, open.is_tried) = (now + open.wait, true);
            show(&self.provider, TRYING);
        }
        Ok(())
    }

    /// Takes note of how it went.
    pub(super) fn heed(&self, keys: &[SecretKey], error: Option<&ProviderError>, now: Uptime) {
        let mut streak = self.streak();
        match error {
            Some(error) if error.is_outage() => streak.fail(keys, error, now, &self.provider),
            // It answers, even if nobody can use the answer.
            _ => streak.end(&self.provider),
        }
    }

    pub(super) fn health(&self) -> Result<(), ProviderError> {
        match &self.streak().open {
            Some(open) => Err(open.why.clone()),
            None => Ok(()),
        }
    }

    fn streak(&self) -> MutexGuard<'_, Streak> {
        self.streak.lock().expect("nothing panics while it holds this")
    }
}

impl Streak {
    fn has_failed(&self, keys: &[SecretKey]) -> bool {
        keys.iter().any(|key| self.failed.contains(key))
    }

    fn refuse(&self, keys: &[SecretKey], now: Uptime) -> Result<(), ProviderError> {
        let Some(open) = &self.open else { return Ok(()) };
        let left = open.retry_at.since(now);
        if left.is_zero() || !self.has_failed(keys) {
            return Ok(());
        }
        Err(ProviderError::Unavailable(format!(
            "not asked for {:.0} s more: it has failed {} times in a row: {}",
            left.as_secs_f64().ceil(),
            self.failures,
            open.why
        )))
    }

    fn fail(&mut self, keys: &[SecretKey], error: &ProviderError, now: Uptime, provider: &str) {
        self.failures += 1;
        self.failed.extend(keys.iter().cloned());
        if self.failures < FAILURES {
            return;
        }
        let wait = match &self.open {
            None => FIRST,
            Some(open) if open.is_tried => (open.wait * 2).min(LONGEST),
            // Asked before it was opened.
            Some(_) => return,
        };
        if self.open.is_none() {
            tracing::warn!(provider, failures = self.failures, %error, "breaker_state: open");
            crate::metrics::get().breaker_opened.of([provider]).inc();
        }
        show(provider, OPEN);
        self.open = Some(Open { why: error.clone(), wait, retry_at: now + wait, is_tried: false });
    }

    fn end(&mut self, provider: &str) {
        if self.open.is_some() {
            tracing::warn!(provider, "breaker_state: closed");
            show(provider, CLOSED);
        }
        *self = Self::default();
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
    fn one_at_a_time_tries_it_and_closes_it() {
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
}
