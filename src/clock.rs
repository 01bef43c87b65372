//! The time as an argument, so that expiry can be tested. Uses jiff.

use jiff::Timestamp;

/// The day of this version. A clock that is right shows no earlier one.
pub const RELEASED: &str = "2026-11-22";

pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// The time of the machine.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
