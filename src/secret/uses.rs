//! How often a secret was given out and when last, as far as one process has counted it since it
//! wrote that down. Uses std and jiff.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;

/// Counts the uses of one secret. Costs two atomic operations.
#[derive(Default)]
pub struct Uses {
    count: AtomicU64,
    /// In milliseconds.
    last: AtomicI64,
}

impl Uses {
    /// A secret that is named in several ways is used once.
    pub fn distinct(uses: impl Iterator<Item = Arc<Self>>) -> Vec<Arc<Self>> {
        let mut uses: Vec<_> = uses.collect();
        uses.sort_unstable_by_key(Arc::as_ptr);
        uses.dedup_by(|one, other| Arc::ptr_eq(one, other));
        uses
    }

    /// Somebody was given a value of it.
    pub fn count(&self, at: Timestamp) {
        self.add(1, at.as_millisecond());
    }

    /// What was counted since the last time, with when it was counted last; `None` if nothing.
    pub fn take(&self) -> Option<(u64, i64)> {
        let count = self.count.swap(0, Ordering::AcqRel);
        (count > 0).then(|| (count, self.last.load(Ordering::Acquire)))
    }

    /// Counts again what was taken and could not be written down.
    pub fn add(&self, count: u64, last: i64) {
        self.last.fetch_max(last, Ordering::AcqRel);
        self.count.fetch_add(count, Ordering::AcqRel);
    }
}
