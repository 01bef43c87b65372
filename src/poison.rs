//! Locks that a thread has held when it panicked. What lies behind those that are asked so is whole
//! between any two steps, and a reader must be answered: such a lock is taken like any other. Uses std.

use std::sync::{LockResult, PoisonError};

pub trait EvenPoisoned {
    type Guard;

    /// The guard, also if somebody has panicked with it.
    fn even_poisoned(self) -> Self::Guard;
}

impl<G> EvenPoisoned for LockResult<G> {
    type Guard = G;

    fn even_poisoned(self) -> G {
        self.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    #[test]
    fn who_panics_keeps_nobody_else_waiting() {
        let count = Mutex::new(1);
        let panicked = thread::scope(|scope| {
            let fail = || {
                *count.lock().even_poisoned() += 1;
                let _held = count.lock().even_poisoned();
                panic!("while it is held");
            };
            scope.spawn(fail).join().is_err()
        });
        assert!(panicked && count.lock().is_err(), "the control");
        assert_eq!(*count.lock().even_poisoned(), 2);
    }
}
