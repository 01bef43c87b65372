//! The clock of all requests that cannot be answered at once: one thread, which answers in place of who is
//! late. A reader that waits in FUSE cannot be killed, so it never depends on a disk or a provider.
//! Uses std and `metrics`.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::metrics;

type Late = Box<dyn FnOnce() + Send>;

/// To be kept as long as deadlines shall be met.
pub(super) struct Deadlines(Arc<Clock>);

struct Clock {
    /// Guards what is due; held for no call.
    due: Mutex<Due>,
    earlier: Condvar,
}

#[derive(Default)]
struct Due {
    late: BTreeMap<(Instant, u64), Late>,
    made: u64,
    /// When the clock looks next. A later deadline need not wake it.
    look: Option<Instant>,
    is_over: bool,
}

/// An answer that is given once: by who has it, or by who will not wait for it any longer.
pub(super) struct Once<T>(Arc<Mutex<Option<Answer<T>>>>);

type Answer<T> = Box<dyn FnOnce(T) + Send>;

/// A deadline that is not reached yet.
pub(super) struct Deadline {
    clock: Arc<Clock>,
    key: (Instant, u64),
}

impl Deadlines {
    pub(super) fn start() -> Self {
        let clock = Arc::new(Clock { due: Mutex::default(), earlier: Condvar::new() });
        let own = clock.clone();
        let thread = thread::Builder::new().name("secretfs-clock".to_owned());
        thread.spawn(move || own.run()).expect("one thread at the start");
        Self(clock)
    }

    /// Requests that wait for their answer.
    pub(super) fn count(&self) -> usize {
        self.0.due().late.len()
    }

    /// Wraps `answer`, which is called once: with what the caller has for it, or with `late`
    /// if that takes longer than this.
    pub(super) fn answer_within<T: Send + 'static>(
        &self,
        time: Duration,
        late: T,
        answer: impl FnOnce(T) + Send + 'static,
    ) -> impl FnOnce(T) + Send + 'static {
        let answer = Once::new(answer);
        let own = answer.clone();
        let deadline = self.within(time, move || {
            if let Some(answer) = own.take() {
                metrics::get().deadline_hits.inc();
                answer(late);
            }
        });
        move |outcome| {
            deadline.met();
            drop(answer.give(outcome));
        }
    }

    /// Calls `late` in a thread of its own after this time, unless the deadline was met.
    pub(super) fn within(&self, time: Duration, late: impl FnOnce() + Send + 'static) -> Deadline {
        let at = Instant::now() + time;
        let mut due = self.0.due();
        due.made += 1;
        let key = (at, due.made);
        due.late.insert(key, Box::new(late));
        if due.look.is_none_or(|look| at < look) {
            due.look = Some(at);
            self.0.earlier.notify_one();
        }
        Deadline { clock: self.0.clone(), key }
    }
}

impl<T> Once<T> {
    pub(super) fn new(answer: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(answer)))))
    }

    /// There for the first who asks.
    pub(super) fn take(&self) -> Option<Answer<T>> {
        self.0.lock().expect("nothing panics while it holds this").take()
    }

    pub(super) fn is_given(&self) -> bool {
        self.0.lock().expect("nothing panics while it holds this").is_none()
    }

    /// The outcome comes back if somebody else has answered.
    pub(super) fn give(&self, outcome: T) -> Option<T> {
        match self.take() {
            Some(answer) => {
                answer(outcome);
                None
            }
            None => Some(outcome),
        }
    }
}

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        self.0.due().is_over = true;
        self.0.earlier.notify_one();
    }
}

impl Deadline {
    pub(super) fn met(self) {
        let late = self.clock.due().late.remove(&self.key);
        drop(late);
    }
}

impl Clock {
    fn run(&self) {
        let mut due = self.due();
        while !due.is_over {
            let now = Instant::now();
            if let Some(entry) = due.late.first_entry()
                && entry.key().0 <= now
            {
                let late = entry.remove();
                drop(due);
                late();
                due = self.due();
                continue;
            }
            due.look = due.late.first_key_value().map(|((at, _), _)| *at);
            due = match due.look {
                Some(at) => {
                    self.earlier.wait_timeout(due, at - now).unwrap_or_else(|dead| dead.into_inner()).0
                }
                None => self.earlier.wait(due).unwrap_or_else(|dead| dead.into_inner()),
            };
        }
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().expect("nothing panics while it holds this")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_is_late_is_answered_in_the_order_of_time() {
        let deadlines = Deadlines::start();
        let (tell, told) = mpsc::channel();
        let late = |name: &'static str| {
            let tell = tell.clone();
            move || tell.send(name).unwrap()
        };
        let start = Instant::now();
        let _second = deadlines.within(Duration::from_millis(60), late("second"));
        let _first = deadlines.within(Duration::from_millis(20), late("first"));
        deadlines.within(Duration::from_millis(40), late("met")).met();
        assert_eq!((told.recv().unwrap(), told.recv().unwrap()), ("first", "second"));
        assert!(start.elapsed() >= Duration::from_millis(60));
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "who was in time is left alone");
    }
}
