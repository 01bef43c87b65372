//! What an import has found, before it is known whether it can be taken over: secrets with their
//! values, each with the place that it comes from. Uses the words of `secret` and `store`.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use jiff::Timestamp;

use crate::cli::json_values::Entry;
use crate::secret::SecretBytes;
use crate::store::Edit;

/// A secret that is to be taken over, or why it cannot be.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) content: Result<Content, String>,
}

pub(super) struct Content {
    pub(super) entry: Entry,
    /// Its type, and what else is known of it; nothing says: as it is in the store.
    pub(super) edit: Edit,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) is_disabled: bool,
}

/// Where it was found.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) source: Rc<str>,
    pub(super) line: Option<usize>,
}

impl Content {
    pub(super) fn new(entry: Entry, edit: Edit) -> Self {
        Self { entry, edit, expires_at: None, is_disabled: false }
    }

    pub(super) fn of_value(value: SecretBytes, edit: &Edit) -> Self {
        Self::new(Entry::Value(value), edit.clone())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// Of two values for one name nobody knows which is meant.
pub(super) fn refuse_twins(found: &mut [Found]) {
    let mut first: HashMap<String, Place> = HashMap::new();
    for it in found {
        match first.get(&it.name) {
            Some(place) => it.content = Err(format!("it is given twice, first at {place}")),
            None => drop(first.insert(it.name.clone(), it.place.clone())),
        }
    }
}
