//! What follows when a worker has ended: another one, after a pause if several have failed in a row;
//! or the end of the holder, if nobody relies on it yet.

use std::time::{Duration, Instant};

use super::Holder;
use super::child::Stage;

/// Who has served for this long has not failed at once.
const LASTED: Duration = Duration::from_millis(250);
/// So many workers in a row may fail before there is a pause.
pub(super) const AT_ONCE: u32 = 3;
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// From the end of a worker's link to its own.
pub(super) const ENDING: Duration = Duration::from_secs(1);

impl Holder {
    /// Answers with an exit status if that is the end.
    pub(super) fn bury_coming(&mut self) -> Option<u8> {
        let worker = self.coming.take()?;
        let (pid, was_going) = (worker.pid.as_raw(), worker.stage == Stage::Going);
        let (why, takes) = (worker.last_words.clone(), worker.takes.clone());
        let status = worker.end(ENDING, || {});
        if !self.is_relied_on && why.is_some() {
            self.refuse_start();
            return Some(status.code().map_or(1, |code| code as u8));
        }
        tracing::error!(worker = pid, %status, why, "the worker ended before it served");
        if let Some(device) = takes {
            self.end_deadly(&device);
        }
        self.tell_failure(why.as_deref());
        if !was_going {
            self.refuse(why.as_deref().unwrap_or("the new worker ended before it was ready"));
        }
        self.is_upgrade = false;
        self.pause();
        None
    }

    /// One worker after the other has died over this mount. What its readers wait for would be asked
    /// of the next one again: they get an error, so that all others are served.
    fn end_deadly(&mut self, device: &str) {
        tracing::error!(device, "deadly_request: workers end over what this mount is asked; it is made anew");
        self.past.aborts += 1;
        self.kept.abort_one(device);
        // What it was is known, and done about: nobody needs to wait for long.
        self.failures = AT_ONCE;
    }

    /// Gives it so long to end by itself.
    pub(super) fn bury_serving(&mut self, patience: Duration) {
        let Some(worker) = self.serving.take() else { return };
        (self.silent_since, self.is_inherited) = (Instant::now(), false);
        let (pid, lasted) = (worker.pid.as_raw(), worker.since.elapsed() >= LASTED);
        let status = worker.end(patience, || self.kept.abort());
        tracing::error!(worker = pid, %status, "the worker has ended; another one takes over");
        self.give_upgrade_up();
        if lasted {
            self.failures = 0;
        }
        self.past.crashes += 1;
        self.pause();
    }

    /// Nobody waits for a program that may never get ready, now that readers do.
    fn give_upgrade_up(&mut self) {
        if self.is_upgrade
            && let Some(coming) = self.coming.take_if(|it| it.stage == Stage::Preparing)
        {
            tracing::error!("upgrade_failed: the worker has ended before its successor was ready");
            coming.end(Duration::ZERO, || {});
            self.is_upgrade = false;
            self.past.upgrades = self.past.upgrades.saturating_sub(1);
        }
    }

    /// Until the next start: none, unless several have failed in a row.
    pub(super) fn pause(&mut self) {
        self.failures += 1;
        let doublings = self.failures.checked_sub(AT_ONCE + 1).map(|it| it.min(16));
        let pause = doublings.map_or(Duration::ZERO, |it| (SHORTEST_PAUSE * (1 << it)).min(LONGEST_PAUSE));
        self.next_start = Instant::now() + pause;
    }
}
