//! The outcome of a judgement. A [`Grant`] can only be made here, and nothing is resolved without
//! one: a search for `Grant::new` lists every place that says yes. Uses the words only.

use crate::secret::SecretKey;

/// Yes with its proof, or no with its reason.
#[must_use]
pub enum Decision {
    Granted(Grant),
    Denied(Denial),
}

/// The proof that policy allowed these secrets to one caller.
#[derive(Clone)]
pub struct Grant {
    keys: Vec<SecretKey>,
}

impl Grant {
    pub(super) fn new(keys: &[SecretKey]) -> Self {
        Self { keys: keys.to_vec() }
    }

    /// Both, of the same rules.
    pub fn and(mut self, other: &Self) -> Self {
        self.keys.extend_from_slice(&other.keys);
        self
    }

    pub fn covers(&self, key: &SecretKey) -> bool {
        self.keys.contains(key)
    }
}

/// Why policy said no. The denied caller only ever learns that it was.
#[derive(Clone, Debug)]
pub struct Denial {
    pub reason: String,
}

impl Denial {
    pub(super) fn new(reason: &str) -> Self {
        Self { reason: reason.to_owned() }
    }
}
