//! Tells when somebody sets the machine's clock. Lifetimes go by a clock that nobody sets; what is judged by the date
//! (certificates, tokens, secrets that expire) is judged by the new one. Uses `sys` and jiff.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::metrics;
use crate::sys::uptime::Uptime;

const PERIOD: Duration = Duration::from_secs(1);
/// Who keeps a clock right moves it by less than that in a second.
const LEAST: SignedDuration = SignedDuration::from_secs(1);

/// How far the clock is ahead of the machine's own.
struct Lead(SignedDuration);

impl Lead {
    fn of(clock: Timestamp, own: Uptime) -> Self {
        let own = SignedDuration::try_from(own.since(Uptime::START)).unwrap_or_default();
        Self(clock.duration_since(Timestamp::UNIX_EPOCH) - own)
    }

    /// By how much it was set since the last look.
    fn step(&mut self, now: Self) -> Option<SignedDuration> {
        let step = now.0 - std::mem::replace(&mut self.0, now.0);
        (step.abs() >= LEAST).then_some(step)
    }
}

pub(super) async fn watch() {
    let now = || Lead::of(Timestamp::now(), Uptime::now());
    let mut lead = now();
    loop {
        tokio::time::sleep(PERIOD).await;
        if let Some(step) = lead.step(now()) {
            metrics::get().clock_jumps.inc();
            let seconds = step.as_secs();
            tracing::warn!(
                seconds,
                "clock_jump: the clock was set; what is judged by the date is judged by the new one"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_once_and_a_clock_that_is_kept_right_never() {
        let (start, own) = (Timestamp::UNIX_EPOCH, Uptime::START);
        let at = |clock: i64, millis: u64| {
            let clock = start + SignedDuration::from_millis(clock);
            Lead::of(clock, own + Duration::from_millis(millis))
        };
        let mut lead = at(5_000, 1_000);
        assert_eq!(lead.step(at(6_400, 2_000)), None, "slewed");
        assert_eq!(lead.step(at(3_607_400, 3_000)), Some(SignedDuration::from_secs(3_600)));
        assert_eq!(lead.step(at(3_608_400, 4_000)), None);
        assert_eq!(lead.step(at(3_604_400, 5_000)), Some(SignedDuration::from_secs(-5)));
        assert_eq!(lead.step(at(3_604_400 + 28_800_000, 5_000 + 28_800_000)), None, "a night asleep");
    }
}
