//! Who comes while another writes waits, and is written with all the others who wait: one write for
//! all of them. A disk that does not answer holds up one thread, and nobody else for longer than the
//! budget. Uses std only.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use super::error::AuditError;
use super::event::Event;
use crate::poison::EvenPoisoned;

/// How long it is waited for a disk that does not answer.
pub const BUDGET: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(super) struct Queue {
    /// Guards who waits; held for no write.
    state: Mutex<State>,
    /// Somebody has written.
    written: Condvar,
    /// The helper has something to write.
    wanted: Condvar,
}

#[derive(Default)]
struct State {
    /// Since when somebody writes.
    busy: Option<Instant>,
    waiting: Vec<Waiting>,
    /// How many have gone before anybody had taken them along.
    left: u64,
    /// Threads that wait until somebody has written: without them nobody is woken, which costs more
    /// than the write.
    crowd: usize,
    /// A thread of its own writes for who must not be held up.
    has_helper: bool,
}

/// An event that is to be written.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) event: Arc<Event>,
    pub(super) body: Arc<String>,
    outcome: Arc<OnceLock<Result<(), AuditError>>>,
}

/// Who writes an event, if nobody does just then.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Its own thread. A disk that hangs holds that up.
    Itself,
    /// The helper, if there is one.
    Another,
}

impl Waiting {
    pub(super) fn new(event: Event) -> Self {
        let body = Arc::new(event.body());
        Self { event: Arc::new(event), body, outcome: Arc::default() }
    }

    /// Only this one was not written, whatever becomes of those beside it.
    pub(super) fn fail(&self, error: AuditError) {
        let _ = self.outcome.set(Err(error));
    }

    #[cfg(test)]
    pub(super) fn outcome(&self) -> Option<&Result<(), AuditError>> {
        self.outcome.get()
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
        by: By,
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
            // Who had taken it along may not have come to an end.
            if !state.waiting.iter().any(|it| it.is(&one)) && state.busy.is_none() {
                state.waiting.push(one.clone());
            }
            if state.busy.is_none() {
                if by == By::Itself || !state.has_helper {
                    break;
                }
                self.wanted.notify_one();
            }
            let left = end.min(state.end().unwrap_or(end)).saturating_duration_since(Instant::now());
            if left.is_zero() {
                // It may still be written: then the log says more than was given away.
                let before = state.waiting.len();
                state.waiting.retain(|it| !it.is(&one));
                state.left += (before - state.waiting.len()) as u64;
                return Err(AuditError::late(path));
            }
            state.crowd += 1;
            state = self.written.wait_timeout(state, left).even_poisoned().0;
            state.crowd -= 1;
        }
        let outcome = self.write(state, write);
        one.outcome.get().cloned().unwrap_or(outcome)
    }

    /// Has it written together with what comes next. Nobody waits for it.
    pub(super) fn push(&self, one: Waiting) {
        self.state().waiting.push(one);
    }

    /// Writes what others want to have written. Comes back now and then, and if nobody wants that.
    pub(super) fn help(&self, time: Duration, write: impl FnOnce(&[Waiting]) -> Result<(), AuditError>) {
        let mut state = self.state();
        state.has_helper = true;
        if state.waiting.is_empty() || state.busy.is_some() {
            state = self.wanted.wait_timeout(state, time).even_poisoned().0;
        }
        if !state.waiting.is_empty() && state.busy.is_none() {
            let _ = self.write(state, write);
        }
    }

    /// Has it written a while later. For tests, which have to find that out.
    pub(super) fn leave(self: &Arc<Self>, one: Waiting) {
        let this = self.clone();
        std::thread::spawn(move || {
            std::thread::sleep(BUDGET);
            this.state().waiting.push(one);
            this.wanted.notify_one();
        });
    }

    pub(super) fn has_helper(&self) -> bool {
        self.state().has_helper
    }

    /// How many have gone unwritten since it was asked last.
    pub(super) fn take_left(&self) -> u64 {
        std::mem::take(&mut self.state().left)
    }

    /// Whether somebody has been writing for longer than anybody should wait.
    pub(super) fn is_late(&self) -> bool {
        self.state().end().is_some_and(|end| end <= Instant::now())
    }

    fn write(
        &self,
        mut state: MutexGuard<'_, State>,
        write: impl FnOnce(&[Waiting]) -> Result<(), AuditError>,
    ) -> Result<(), AuditError> {
        state.busy = Some(Instant::now());
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
        self.state.lock().even_poisoned()
    }
}

impl State {
    /// When nobody waits any longer for who writes now.
    fn end(&self) -> Option<Instant> {
        self.busy.map(|since| since + BUDGET)
    }
}

/// Somebody writes; when it goes, the next one may.
struct Turn<'a>(&'a Queue);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy = None;
        let (is_awaited, has_more) = (state.crowd > 0, !state.waiting.is_empty());
        drop(state);
        if is_awaited {
            self.0.written.notify_all();
        }
        if has_more {
            self.0.wanted.notify_one();
        }
    }
}
