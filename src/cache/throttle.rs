//! A provider that wants to be left alone is: nobody asks it before the time that it has said, or before
//! one that grows if it says none. Pure; moments are arguments.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::provider::ProviderError;
use crate::sys::uptime::Uptime;

#[derive(Default)]
pub(super) struct Throttle {
    /// Guards the bookkeeping; held for no call.
    pause: Mutex<Option<Pause>>,
}

struct Pause {
    until: Uptime,
    why: String,
    /// In a row, without an answer between them.
    times: u32,
}

/// If it does not say how long: at first and at most, twice as long each time.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

impl Throttle {
    /// Why not to ask now, if it must not be.
    pub(super) fn refuse(&self, now: Uptime) -> Result<(), ProviderError> {
        match &*self.pause() {
            Some(pause) if pause.until > now => {
                let left = pause.until.since(now);
                let why = format!("not asked for {:.0} s more: {}", left.as_secs_f64().ceil(), pause.why);
                Err(ProviderError::Throttled { why, after: Some(left) })
            }
            _ => Ok(()),
        }
    }

    /// Takes note of how it went. Questions that were under way may come back after one that was refused.
    pub(super) fn heed(&self, error: Option<&ProviderError>, now: Uptime) {
        let mut pause = self.pause();
        let Some(ProviderError::Throttled { why, after }) = error else {
            if pause.as_ref().is_some_and(|pause| pause.until <= now) {
                *pause = None;
            }
            return;
        };
        let times = pause.as_ref().map_or(0, |pause| pause.times);
        let usual = FIRST.saturating_mul(1 << times.min(5)).min(LONGEST);
        let until = now + after.unwrap_or(usual);
        let until = pause.as_ref().map_or(until, |pause| pause.until.max(until));
        *pause = Some(Pause { until, why: why.clone(), times: times + 1 });
    }

    fn pause(&self) -> MutexGuard<'_, Option<Pause>> {
        self.pause.lock().expect("nothing panics while it holds this")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled(after: Option<u64>) -> ProviderError {
        ProviderError::Throttled { why: "busy".to_owned(), after: after.map(Duration::from_secs) }
    }

    fn left(throttle: &Throttle, now: Uptime) -> u64 {
        match throttle.refuse(now) {
            Ok(()) => 0,
            Err(ProviderError::Throttled { after, .. }) => after.unwrap().as_secs(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn nobody_asks_before_its_time_and_then_somebody_may() {
        let (throttle, now) = (Throttle::default(), Uptime::now());
        assert_eq!(left(&throttle, now), 0, "the control");
        throttle.heed(Some(&throttled(Some(7))), now);
        assert_eq!(left(&throttle, now), 7);
        let why = throttle.refuse(now).unwrap_err().to_string();
        assert_eq!(why, "not asked for 7 s more: busy");
        // A question from before comes back.
        throttle.heed(None, now + Duration::from_secs(1));
        assert_eq!(left(&throttle, now + Duration::from_secs(1)), 6);
        // Another one, with less.
        throttle.heed(Some(&throttled(Some(1))), now + Duration::from_secs(2));
        assert_eq!(left(&throttle, now + Duration::from_secs(2)), 5);
        assert_eq!(left(&throttle, now + Duration::from_secs(7)), 0);
    }

    #[test]
    fn without_a_time_it_is_left_alone_for_longer_and_longer() {
        let (throttle, mut now) = (Throttle::default(), Uptime::now());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            throttle.heed(Some(&throttled(None)), now);
            assert_eq!(left(&throttle, now), seconds);
            now = now + Duration::from_secs(seconds);
        }
        throttle.heed(Some(&ProviderError::Denied("void".to_owned())), now);
        throttle.heed(Some(&throttled(None)), now);
        assert_eq!(left(&throttle, now), 1, "it has answered between them");
    }
}
