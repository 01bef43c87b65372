//! The names of a store's namespaces, for lists and for "did you mean".

use super::{Store, StoreError};
use crate::secret::Namespace;

impl Store {
    /// Those that have ever held a secret, by name.
    pub fn namespaces(&self) -> Result<Vec<Namespace>, StoreError> {
        self.read(|view, _| {
            view.check_keyring(None)?;
            let rows = view.rows.namespaces()?;
            let names = rows.iter().map(|row| view.masters.namespace_name(&view.root.store, row));
            let mut names = names.collect::<Result<Vec<_>, _>>()?;
            names.sort();
            Ok(names)
        })
    }
}
