//! Whoever wants to know what is done to a store is told before it is there, and can refuse it.
//! Uses the words.

use std::sync::Arc;

use super::{Store, StoreError};
use crate::secret::Namespace;

/// What a transaction does to one secret, or to a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    pub what: What,
    /// None for a namespace.
    pub name: Option<String>,
    pub version: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Create,
    /// A version more.
    Rotate,
    Import,
    Activate,
    /// What is known of it beside its values.
    Edit,
    Disable,
    Enable,
    Remove,
    /// Values of old versions.
    Destroy,
    Namespace,
    RemoveNamespace,
    /// Another key, of the namespace or of all.
    Key,
}

/// Has to agree to what is done. An answer is a reason against it, with what to do about it.
pub trait Witness: Send + Sync {
    fn tell(&self, namespace: &Namespace, deeds: &[Deed]) -> Result<(), (String, Option<String>)>;

    /// What was told last has failed after all.
    fn take_back(&self, namespace: &Namespace, deeds: &[Deed]);
}

impl Deed {
    pub(super) fn of(what: What) -> Self {
        Self { what, name: None, version: None }
    }
}

impl Store {
    pub fn witnessed_by(mut self, witness: Arc<dyn Witness>) -> Self {
        self.witness = Some(witness);
        self
    }

    pub(super) fn tell(&self, namespace: &Namespace, deeds: &[Deed]) -> Result<(), StoreError> {
        match &self.witness {
            Some(witness) if !deeds.is_empty() => witness
                .tell(namespace, deeds)
                .map_err(|(problem, mend)| StoreError::Unwitnessed { problem, mend }),
            _ => Ok(()),
        }
    }

    pub(super) fn take_back(&self, namespace: &Namespace, deeds: &[Deed]) {
        if let Some(witness) = &self.witness
            && !deeds.is_empty()
        {
            witness.take_back(namespace, deeds);
        }
    }
}
