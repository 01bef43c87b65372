//! Requests that have come back, because the process that was asked has ended before it answered: who
//! does so again and again may be what ends them. Uses the ledger.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::ledger::{Kept, Kind, Ledger, Record};
use crate::poison::EvenPoisoned;

/// As many processes may end before one request is answered; and more, if they do so faster than it
/// can be answered.
const MOST: u64 = 5;
const LONG: Duration = Duration::from_secs(10);
/// The kernel sends all of them again at once.
const SOON: Duration = Duration::from_secs(60);

/// How often each has come back, as far as that is known.
#[derive(Default)]
pub(super) struct Returned(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    begun: Option<Instant>,
    /// As the process before has left it.
    left: HashMap<u64, Kept>,
    counted: HashMap<u64, Option<Record>>,
}

impl Returned {
    pub(super) fn inherit(&self, ledger: &Ledger) {
        let mut counts = self.counts();
        counts.begun = Some(Instant::now());
        counts.left = ledger.take(Kind::Returned).into_iter().map(|kept| (kept.id, kept)).collect();
    }

    /// It has come back once more. Answers whether that is too often for it to be tried again.
    pub(super) fn count(&self, ledger: &Ledger, request: u64, now: Duration) -> bool {
        let mut counts = self.counts();
        let (before, first) = match counts.left.remove(&request).as_ref().map(|kept| &kept.words[..]) {
            Some(&[times, millis]) => (times, Duration::from_millis(millis)),
            _ => (0, now),
        };
        let times = before + 1;
        let is_deadly = times >= MOST && now.saturating_sub(first) >= LONG;
        if !is_deadly {
            let words = [times, first.as_millis() as u64];
            counts.counted.insert(request, ledger.keep(Kind::Returned, request, &words, &[]));
        }
        is_deadly
    }

    /// What has not come back by now has been answered.
    pub(super) fn forget_old(&self) {
        let mut counts = self.counts();
        if counts.begun.take_if(|begun| begun.elapsed() > SOON).is_some() {
            (counts.left, counts.counted) = Default::default();
        }
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.0.lock().even_poisoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one process after the other says that is asked the same, so many seconds after the start.
    fn asked_again(request: u64, seconds: &[u64]) -> Vec<bool> {
        let mut ledger = Ledger::create().unwrap();
        let ask = |seconds: &u64| {
            let descriptor = ledger.descriptor().unwrap().try_clone_to_owned().unwrap();
            ledger = Ledger::adopt(descriptor).unwrap();
            let returned = Returned::default();
            returned.inherit(&ledger);
            let answer = returned.count(&ledger, request, Duration::from_secs(*seconds));
            std::mem::forget(returned);
            answer
        };
        seconds.iter().map(ask).collect()
    }

    #[test]
    fn what_has_ended_five_processes_and_more_in_ten_seconds_is_not_tried_again() {
        let often: Vec<_> = (0..12).collect();
        assert_eq!(asked_again(7, &often).iter().position(|it| *it), Some(10), "for long enough");
        assert_eq!(asked_again(7, &[100, 200, 300, 400, 500]), [false, false, false, false, true]);
        assert_eq!(asked_again(7, &[3; 50]), [false; 50], "they end faster than it can be answered");
    }
}
