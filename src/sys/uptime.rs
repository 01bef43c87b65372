//! The machine's own clock: nobody sets it, and it goes on while the machine sleeps. Uses nix.

use std::ops::Add;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A moment of CLOCK_BOOTTIME, counted from long before the machine was started: what was heard of
/// earlier has one, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(Duration);

/// A hundred years.
const BEFORE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Uptime {
    /// When the machine was started.
    pub const START: Self = Self(BEFORE);

    pub fn now() -> Self {
        let since_start: Duration =
            clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every Linux has this clock").into();
        Self(BEFORE + since_start)
    }

    pub fn ago(time: Duration) -> Self {
        Self(Self::now().0.saturating_sub(time))
    }

    /// Nothing, if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Uptime {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_was_a_time_before_the_start() {
        let month = Duration::from_secs(30 * 24 * 3600);
        let long_ago = Uptime::ago(Uptime::now().since(Uptime::START) + month);
        assert!(long_ago < Uptime::START);
        assert!(Uptime::now().since(long_ago) >= month && long_ago.since(Uptime::now()).is_zero());
    }
}
