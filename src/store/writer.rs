//! A second hand on the same store, that writes where the first only reads. Uses `opened`.

use std::sync::{Arc, RwLock};

use super::layout::Layout;
use super::opened::Opened;
use super::uses::Tallies;
use super::{Access, Store, StoreError};
use crate::secret::SecretBytes;

impl Store {
    /// The same store, opened for writing with the key that is known already. Who reads goes on as before.
    pub fn writer(&self) -> Result<Self, StoreError> {
        let layout = Layout::open(self.dir())?;
        let backend = layout.backend().open(&layout.rows(), Access::Write)?;
        let masters = self.opened().masters.clone();
        masters.check_root(&backend.read()?.root()?)?;
        let opened = RwLock::new(Arc::new(Opened::new(backend, layout.clone(), 0, masters)?));
        let writer = Self {
            layout,
            access: Access::Write,
            sources: self.sources.clone(),
            key_source: self.key_source.clone(),
            id: self.id,
            salt: SecretBytes::copy_of(self.salt.expose()),
            opened,
            tallies: Tallies::default(),
            witness: None,
        };
        writer.heal()?;
        Ok(writer)
    }
}
