//! What a provider has refused lately, which is asked for by itself for a while. Part of `table`.

use std::time::Duration;

use super::table::Table;
use crate::secret::SecretKey;
use crate::sys::uptime::Uptime;

/// After this time it is asked for with others again.
const APART: Duration = Duration::from_secs(10);

impl Table {
    /// The provider has refused this one, alone. `is_over`: what it has said before is not good any more.
    pub(super) fn note_refused(&mut self, key: &SecretKey, is_over: bool, now: Uptime) {
        self.refused.insert(key.clone(), now);
        if is_over {
            self.forget_answer(key);
            self.changes += u64::from(self.records.remove(key).is_some());
        }
    }

    pub(super) fn was_refused(&self, key: &SecretKey, now: Uptime) -> bool {
        self.refused.get(key).is_some_and(|at| now.since(*at) < APART)
    }

    pub(super) fn forget_refused(&mut self, now: Uptime) {
        self.refused.retain(|_, at| now.since(*at) < APART);
    }
}
