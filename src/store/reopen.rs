//! What a process that keeps a store open does when its files are others than before, or do not say the
//! same: after a backup, a move, a change of keys, a writer that died. Uses the parts of `store`.

use std::sync::Arc;

use super::backend::RootRow;
use super::keyring::Masters;
use super::layout::{self, Layout};
use super::opened::Opened;
use super::sequence::WriterLock;
use super::{KeyError, Store, StoreError, StoreId, older};
use crate::poison::EvenPoisoned;

impl Store {
    /// Finds files that were replaced behind our back, and a sequence that is not what the store
    /// says: left by a dead writer, or by a backup put back. To be called each second by whoever
    /// keeps a store open.
    pub fn recheck(&self) -> Result<(), StoreError> {
        self.reopen_if_replaced()?;
        let stands = self.read(|view, opened| {
            opened.all_known(view.root.keyring_epoch).iter().try_for_each(|keys| view.top(keys).map(drop))?;
            let moment = opened.moment(view.root.epoch);
            Ok((!opened.has_gone_back(&view.root)).then_some(moment))
        })?;
        let Some(stands) = stands else { return self.reopen().and_then(|()| self.heal()) };
        match self.pulse() == Some(stands) {
            true => Ok(()),
            false => self.heal(),
        }
    }

    pub(super) fn reopen_if_replaced(&self) -> Result<(), StoreError> {
        match self.opened().is_replaced() {
            true => self.reopen(),
            false => Ok(()),
        }
    }

    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        self.reopen_with(None)
    }

    /// Opens the files that are there now, with the key that fits: a new one that is known, the one in
    /// use, or another that has come to the sources.
    pub(super) fn reopen_with(&self, new: Option<Arc<Masters>>) -> Result<(), StoreError> {
        layout::steadily(self.layout.dir(), || self.reopen_now(new.clone()))
    }

    fn reopen_now(&self, new: Option<Arc<Masters>>) -> Result<(), StoreError> {
        let layout = Layout::open(self.layout.dir())?;
        let mut slot = self.opened.write().even_poisoned();
        let backend = layout.backend().open(&layout.rows(), self.access)?;
        let root = backend.read()?.root()?;
        let known = new.into_iter().chain([slot.masters.clone()]);
        let masters = match known.into_iter().find(|masters| masters.id == root.key) {
            Some(masters) => masters,
            None => Arc::new(self.other_masters(&root)?),
        };
        older::update(&layout, &*backend, &masters)?;
        *slot = Arc::new(Opened::new(backend, layout, slot.generation + 1, masters)?);
        Ok(())
    }

    /// Of the master key that the store was given while it is open.
    fn other_masters(&self, root: &RootRow) -> Result<Masters, StoreError> {
        let none = || KeyError::NoneFits {
            skipped: vec!["the key in use: it is not the key of this store".into()],
            default: None,
        };
        let sources = self.sources.as_ref().filter(|_| root.store == self.id.0).ok_or_else(none)?;
        Ok(Masters::derive(&sources.find(self.layout.dir(), &StoreId(root.store), &root.key)?.key.0))
    }

    /// Sets right what the sequence says, unless a writer is at work or nobody can write here.
    pub(super) fn heal(&self) -> Result<(), StoreError> {
        match WriterLock::try_acquire(&self.layout.sequence()) {
            Ok(Some(lock)) => self.settle(&self.opened(), &lock),
            Ok(None) | Err(StoreError::ReadOnly) => Ok(()),
            Err(error) => Err(error),
        }?;
        self.reopen_if_replaced()
    }

    pub(super) fn settle(&self, opened: &Opened, lock: &WriterLock) -> Result<(), StoreError> {
        let root = opened.backend.read()?.root()?;
        opened.masters.check_root(&root)?;
        lock.mark_quiet(root.epoch).map_err(StoreError::io("write", &self.layout.sequence()))
    }
}
