//! Requests that have come back, because the process that was asked has ended before it answered: who
//! does so again and again may be what ends them. Uses the ledger.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ledger::{Kept, Kind, Ledger, Record};

/// As many processes may end before one request is answered.
const MOST: u64 = 5;
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
    pub(super) fn count(&self, ledger: &Ledger, request: u64) -> bool {
        let mut counts = self.counts();
        let before = counts.left.remove(&request).and_then(|kept| kept.words.first().copied());
        let times = before.unwrap_or_default() + 1;
        if times < MOST {
            let record = ledger.keep(Kind::Returned, request, &[times], &[]);
            counts.counted.insert(request, record);
        }
        times >= MOST
    }

    /// What has not come back by now has been answered.
    pub(super) fn forget_old(&self) {
        let mut counts = self.counts();
        if counts.begun.take_if(|begun| begun.elapsed() > SOON).is_some() {
            (counts.left, counts.counted) = Default::default();
        }
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of one process after the other that is asked the same.
    fn asked_again(request: u64, ledger: &mut Ledger) -> bool {
        let descriptor = ledger.descriptor().unwrap().try_clone_to_owned().unwrap();
        *ledger = Ledger::adopt(descriptor).unwrap();
        let returned = Returned::default();
        returned.inherit(ledger);
        let answer = returned.count(ledger, request);
        std::mem::forget(returned);
        answer
    }

    #[test]
    fn what_has_ended_five_processes_is_not_tried_again() {
        let mut ledger = Ledger::create().unwrap();
        let answers: Vec<_> = (0..5).map(|_| asked_again(7, &mut ledger)).collect();
        assert_eq!(answers, [false, false, false, false, true]);
        assert!(!asked_again(8, &mut ledger), "another one");
    }
}
