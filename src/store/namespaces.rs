//! The namespaces of a store as a whole: which there are, made and removed. Each has keys of its
//! own, so that it is gone with them. Uses `view` and the transactions of `store`.

use serde::Serialize;

use super::backend::Write;
use super::change::Stamp;
use super::keyring::NamespaceKeys;
use super::view::View;
use super::witness::{Deed, What};
use super::{Store, StoreError};
use crate::secret::Namespace;

/// A namespace without its secrets.
#[derive(Clone, Debug, Serialize)]
pub struct NamespaceInfo {
    pub name: String,
    /// How many secrets it has.
    pub secrets: u64,
}

impl Store {
    /// The namespaces, by name.
    pub fn namespaces(&self) -> Result<Vec<Namespace>, StoreError> {
        self.read(|view, _| view.namespaces())
    }

    /// The same with what is in them, all as of one commit.
    pub fn describe_namespaces(&self) -> Result<Vec<NamespaceInfo>, StoreError> {
        self.read(|view, opened| {
            let describe = |name: &Namespace| {
                let keys = opened.namespace(view, name)?;
                let keys = keys.ok_or_else(|| StoreError::corrupt("a namespace is there and is not"))?;
                Ok(NamespaceInfo { name: name.to_string(), secrets: view.top(&keys)?.node.count() })
            };
            view.namespaces()?.iter().map(describe).collect()
        })
    }

    /// Makes an empty namespace with keys of its own.
    pub fn create_namespace(&self, namespace: &Namespace, stamp: Stamp) -> Result<(), StoreError> {
        self.change(namespace, stamp, |change| match change.is_first {
            true => Ok(()),
            false => Err(StoreError::NamespaceExists(namespace.to_string())),
        })
    }

    /// Removes a namespace: first its keys, without which nothing of it can be read, then its rows.
    pub fn remove_namespace(&self, namespace: &Namespace) -> Result<(), StoreError> {
        if *namespace == Namespace::default() {
            return Err(StoreError::Refused(format!("the namespace `{namespace}` is always there")));
        }
        self.tell(namespace, &[Deed::of(What::RemoveNamespace)])?;
        self.change_keyring(namespace, remove)
    }
}

/// Its keys first.
pub(super) fn remove(view: &mut View<'_>, rows: &dyn Write, keys: &NamespaceKeys) -> Result<(), StoreError> {
    view.space_mut(keys)?.keys.iter().try_for_each(|key| rows.remove_key(&keys.id, &key.kid))?;
    rows.remove_namespace(&keys.id)?;
    view.spaces_mut()?.remove(&keys.id);
    Ok(())
}
