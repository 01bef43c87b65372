//! Who comes while another writes waits, and is written with all the others who wait: one write for
//! all of them. Nobody waits for longer than the budget. Uses std only.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::error::AuditError;
use super::event::Event;

/// How long it is waited for a disk that does not answer.
const BUDGET: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(super) struct Queue {
    /// Guards who waits; held for no write.
    state: Mutex<State>,
    /// Somebody has written.
    news: Condvar,
}

#[derive(Default)]
struct State {
    is_busy: bool,
    waiting: Vec<Waiting>,
}

/// An event that is to be written.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) event: Arc<Event>,
    pub(super) body: Arc<String>,
    outcome: Arc<OnceLock<Result<(), AuditError>>>,
}

impl Waiting {
    pub(super) fn new(event: &Event) -> Self {
        let body = Arc::new(event.body());
        Self { event: Arc::new(event.clone()), body, outcome: Arc::default() }
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.outcome, &other.outcome)
    }
}

impl Queue {
    /// Has it written, by us or by whoever writes next.
    pub(super) fn pass(
        &self,
        one: Waiting,
        path: Option<&Path>,
        write: impl FnOnce(&[Waiting]) -> Result<(), AuditError>,
    ) -> Result<(), AuditError> {
        let end = Instant::now() + BUDGET;
        let mut state = self.state();
        state.waiting.push(one.clone());
        loop {
            if let Some(outcome) = one.outcome.get() {
                return outcome.clone();
            }
            if !state.is_busy {
                // Who had taken it along has not come to an end.
                if !state.waiting.iter().any(|it| it.is(&one)) {
                    state.waiting.push(one.clone());
                }
                break;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // It may still be written: then the log says more than was given away.
                state.waiting.retain(|it| !it.is(&one));
                return Err(AuditError::Busy(path.unwrap_or(Path::new("")).to_owned()));
            }
            state = self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_busy = true;
        let batch = std::mem::take(&mut state.waiting);
        drop(state);
        let turn = Turn(self);
        let outcome = write(&batch);
        for it in &batch {
            let _ = it.outcome.set(outcome.clone());
        }
        drop(turn);
        outcome
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody writes; when it goes, the next one may.
struct Turn<'a>(&'a Queue);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().is_busy = false;
        self.0.news.notify_all();
    }
}
