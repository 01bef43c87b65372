//! A token and its time: until when it is good, and when something has to be done about it. Pure bookkeeping.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::login::Granted;
use crate::poison::EvenPoisoned;
use crate::provider::ProviderError;
use crate::secret::SecretBytes;
use crate::sys::uptime::Uptime;

/// To be shown with each question.
pub(super) struct Pass {
    pub(super) token: SecretBytes,
    /// Which one it is of those that we have had.
    pub(super) generation: u64,
    /// From a login of ours, not from somebody else.
    pub(super) is_ours: bool,
    pub(super) is_counted: bool,
    /// Something was lent with it, and ends with it.
    pub(super) has_lent: AtomicBool,
    /// It was had because another one was refused something, and is refused the same in the same words.
    pub(super) is_in_vain: AtomicBool,
    made: Uptime,
    state: Mutex<State>,
}

struct State {
    life: Option<Life>,
    due: Option<Uptime>,
}

/// How long something lives that can be renewed.
#[derive(Clone, Copy)]
pub(super) struct Life {
    pub(super) is_renewable: bool,
    /// What it had at first: a renewal that gives less is near the end of all.
    at_first: Duration,
    until: Option<Uptime>,
    /// When it is time to do something.
    due: Option<Uptime>,
}

/// After a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// The token of a login just now is not void, if what is refused is so by a policy; and who has logged in in vain does not
/// do so again and again.
const YOUNG: Duration = Duration::from_secs(10);
const IN_VAIN: Duration = Duration::from_secs(3600);
/// What a server may round off.
const SLACK: Duration = Duration::from_secs(2);

impl Life {
    pub(super) const ENDLESS: Self =
        Self { is_renewable: false, at_first: Duration::ZERO, until: None, due: None };

    pub(super) fn of(granted: &Granted, at_first: u64) -> Self {
        Self::new(granted.ttl, granted.is_renewable && !granted.is_counted, at_first)
    }

    /// From now on for so many seconds; 0: for ever.
    pub(super) fn new(ttl: u64, is_renewable: bool, at_first: u64) -> Self {
        if ttl == 0 {
            return Self::ENDLESS;
        }
        let (now, ttl) = (Uptime::now(), Duration::from_secs(ttl));
        Self {
            is_renewable,
            at_first: Duration::from_secs(at_first).max(ttl),
            until: Some(now + ttl),
            due: Some(now + in_time(ttl)),
        }
    }

    /// It was renewed for so many seconds.
    pub(super) fn renewed(self, ttl: u64) -> Self {
        let is_near_end = Duration::from_secs(ttl) + SLACK.min(self.at_first / 4) < self.at_first;
        let at_first = self.at_first.as_secs();
        Self { is_renewable: self.is_renewable && !is_near_end, ..Self::new(ttl, true, at_first) }
    }

    pub(super) fn is_due(self) -> bool {
        self.due.is_some_and(|due| Uptime::now() >= due)
    }

    pub(super) fn is_over(self) -> bool {
        self.until.is_some_and(|until| Uptime::now() >= until)
    }

    pub(super) fn put_off(self) -> Self {
        Self { due: self.due.map(|_| Uptime::now() + PAUSE), ..self }
    }

    pub(super) fn until(self) -> Option<Uptime> {
        self.until
    }

    pub(super) fn due(self) -> Option<Uptime> {
        self.due
    }

    /// What to say where nothing can be done about it.
    pub(super) fn ends(self) -> ProviderError {
        let left = self.until.map_or(Duration::ZERO, |until| until.since(Uptime::now()));
        ProviderError::Denied(format!(
            "our token ends in {} s and cannot be renewed: put a new one in its place",
            left.as_secs()
        ))
    }
}

/// At two thirds of its time, and not all at once.
fn in_time(ttl: Duration) -> Duration {
    let random = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
    ttl.mul_f64(0.6 + random / 10.0)
}

impl Pass {
    pub(super) fn ours(granted: Granted, generation: u64) -> Self {
        let life = Life::of(&granted, granted.ttl);
        Self {
            token: granted.token,
            generation,
            is_ours: true,
            is_counted: granted.is_counted,
            has_lent: AtomicBool::new(false),
            is_in_vain: AtomicBool::new(false),
            made: Uptime::now(),
            state: Mutex::new(State { due: life.due, life: Some(life) }),
        }
    }

    /// Of which nothing is known yet.
    pub(super) fn given(token: SecretBytes, generation: u64) -> Self {
        let now = Uptime::now();
        let state = Mutex::new(State { life: None, due: Some(now) });
        let (has_lent, is_in_vain) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { token, generation, is_ours: false, is_counted: false, has_lent, is_in_vain, made: now, state }
    }

    /// Whether it may be void, where the server does not tell that from a right that is lacking.
    pub(super) fn may_be_void(&self, is_refused_by_policy: bool) -> bool {
        let young = match self.is_in_vain.load(Ordering::Relaxed) {
            true => IN_VAIN,
            false if is_refused_by_policy => YOUNG,
            false => Duration::ZERO,
        };
        !self.is_ours || Uptime::now().since(self.made) >= young
    }

    pub(super) fn has_lent(&self) -> bool {
        self.has_lent.load(Ordering::Relaxed)
    }

    pub(super) fn is_good(&self) -> bool {
        !self.state().life.is_some_and(Life::is_over)
    }

    pub(super) fn is_due(&self) -> bool {
        self.state().due.is_some_and(|due| Uptime::now() >= due)
    }

    pub(super) fn life(&self) -> Option<Life> {
        self.state().life
    }

    pub(super) fn live(&self, life: Life) {
        let mut state = self.state();
        (state.life, state.due) = (Some(life), life.due);
    }

    pub(super) fn renewed(&self, ttl: u64) {
        let life = self.life().map(|life| life.renewed(ttl));
        life.into_iter().for_each(|life| self.live(life));
    }

    pub(super) fn put_off(&self) {
        self.state().due = Some(Uptime::now() + PAUSE);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().even_poisoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_done_at_two_thirds() {
        let now = Uptime::now();
        for _ in 0..100 {
            let life = Life::new(3600, true, 3600);
            let due = life.due.unwrap().since(now);
            assert!(due >= Duration::from_secs(2160) && due <= Duration::from_secs(2521), "{due:?}");
        }
        assert!(Life::new(0, true, 0).due.is_none(), "for ever");
    }

    #[test]
    fn a_renewal_that_gives_less_is_the_last() {
        let life = Life::new(3600, true, 3600);
        assert!(life.renewed(3600).is_renewable && life.renewed(3599).is_renewable);
        assert!(!life.renewed(1800).is_renewable);
        assert!(life.renewed(3600).renewed(3600).is_renewable);
        assert!(!Life::new(100, true, 3600).renewed(100).is_renewable, "it had more at first");
        let short = Life::new(4, true, 4);
        assert!(short.renewed(4).is_renewable && !short.renewed(2).is_renewable);
    }
}
