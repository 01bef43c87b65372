//! A store whose root is damaged or gone: with the identity that `FORMAT` has and any key that opens
//! something, the rest can be looked at and saved. Uses the parts of `store`.

use std::path::Path;
use std::sync::{Arc, RwLock};

use super::backend::{Read, RootRow};
use super::keyring::Masters;
use super::layout::Layout;
use super::opened::Opened;
use super::spaces::Spaces;
use super::uses::Tallies;
use super::view::View;
use super::{Access, KeyError, KeySources, SecretBytes, Store, StoreError, StoreId};

impl Store {
    /// Opens it for [`Store::inspect`] and [`Store::save_into`], whatever its root is like. A sound one
    /// is opened as ever.
    pub fn open_damaged(dir: &Path, sources: &KeySources) -> Result<Self, StoreError> {
        let refused = match Self::open(dir, Access::Read, sources) {
            // A damaged root may name another key.
            Err(error @ (StoreError::Corrupt(_) | StoreError::Sealed(KeyError::NoneFits { .. }))) => error,
            outcome => return outcome,
        };
        let layout = Layout::open(dir)?;
        let id = StoreId(*layout.id());
        let backend = layout.backend().open(&layout.rows(), Access::Read)?;
        let rows = backend.read()?;
        let found = sources.any(layout.dir(), &id, &|masters| opens_some(&*rows, masters, &id));
        let masters = Arc::new(found.map_err(|error| match refused {
            StoreError::Sealed(_) => refused,
            _ => error.into(),
        })?);
        drop(rows);
        let salt = SecretBytes::copy_of(masters.salt.expose());
        let opened = RwLock::new(Arc::new(Opened::new(backend, layout.clone(), 0, masters)?));
        let tallies = Tallies::default();
        Ok(Self {
            layout,
            access: Access::Read,
            sources: None,
            key_source: None,
            id,
            salt,
            opened,
            tallies,
            witness: None,
        })
    }

    /// As `read`; with a damaged root, of what is there without it, and why that is not to be relied on.
    pub(super) fn read_anyhow<T>(
        &self,
        work: impl FnOnce(&View<'_>, Option<StoreError>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let damage = match self.read(|_, _| Ok(())) {
            Ok(()) => return self.read(|view, _| work(view, None)),
            Err(damage @ StoreError::Corrupt(_)) => damage,
            // It names another key, too.
            Err(StoreError::Sealed(_)) => StoreError::corrupt("its root does not authenticate"),
            Err(error) => return Err(error),
        };
        let opened = self.opened();
        let rows = opened.backend.read()?;
        let root = guess(&*rows, &opened.masters, &self.id)?;
        work(&View::under(&*rows, &opened.masters, root), Some(damage))
    }
}

/// Whether the name of a namespace opens with it.
fn opens_some(rows: &dyn Read, masters: &Masters, id: &StoreId) -> bool {
    let namespaces = rows.namespaces().unwrap_or_default();
    namespaces.iter().any(|row| masters.namespace_name(&id.0, row).is_ok())
}

/// A root for the namespaces and keys that are there. Each of them is still authenticated by itself;
/// that one is gone, or is an older one, cannot be seen.
fn guess(rows: &dyn Read, masters: &Masters, id: &StoreId) -> Result<RootRow, StoreError> {
    let (keyring, seal) = (Spaces::read(rows)?.seal(masters), Default::default());
    Ok(RootRow { store: id.0, key: masters.id, epoch: 1, keyring_epoch: 1, keyring, seal })
}
