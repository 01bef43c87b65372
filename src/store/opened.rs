//! The files of a store as one process holds them open: the backend, the sequence, the keys of the
//! namespaces, and how moments are told apart. Uses the parts of `store`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::StoreError;
use super::backend::{Backend, RootRow};
use super::cipher::Mac;
use super::keyring::{Masters, NamespaceKeys};
use super::layout::{Identity, Layout};
use super::seen::Top;
use super::sequence::{Mark, Sequence};
use super::view::View;
use crate::poison::EvenPoisoned;
use crate::secret::{Namespace, SecretName};

/// The files as they were found when they were opened last.
pub(super) struct Opened {
    pub(super) layout: Layout,
    pub(super) backend: Box<dyn Backend>,
    pub(super) sequence: Option<Sequence>,
    pub(super) identity: Identity,
    /// Counts how often the files were replaced, so that no two moments look the same.
    pub(super) generation: u64,
    /// The epoch and the seal of the root at the last look.
    looked_at: Mutex<(u64, Mac)>,
    pub(super) masters: Arc<Masters>,
    namespaces: Mutex<Namespaces>,
}

/// Namespaces with their keys opened, all as of one epoch of the keyring.
#[derive(Default)]
struct Namespaces {
    keyring_epoch: u64,
    known: HashMap<Namespace, Arc<NamespaceKeys>>,
}

/// A moment is an epoch, told apart from those of files that were there before.
const EPOCH_BITS: u32 = 48;

impl Opened {
    pub(super) fn new(
        backend: Box<dyn Backend>,
        layout: Layout,
        generation: u64,
        masters: Arc<Masters>,
    ) -> Result<Self, StoreError> {
        let identity = layout.identity().map_err(StoreError::io("look at", &layout.rows()))?;
        // Without it the store is asked each time.
        let sequence = Sequence::open(&layout.sequence()).ok();
        let looked_at = Mutex::default();
        let namespaces = Mutex::default();
        Ok(Self { layout, backend, sequence, identity, generation, looked_at, masters, namespaces })
    }

    /// Whether these are no longer the files at that place.
    pub(super) fn is_replaced(&self) -> bool {
        self.layout.identity().map_or(true, |now| now != self.identity)
    }

    /// Whether the store stands at an earlier commit than at the last look, or at another one of that
    /// number: something took the place of its rows, and what is called an epoch from now on is another.
    pub(super) fn has_gone_back(&self, root: &RootRow) -> bool {
        let now = (root.epoch, root.seal);
        let mut looked_at = self.looked_at.lock().even_poisoned();
        let before = std::mem::replace(&mut *looked_at, now);
        before.0 > now.0 || (before.0 == now.0 && before.1 != now.1)
    }

    pub(super) fn moment(&self, epoch: u64) -> u64 {
        self.generation << EPOCH_BITS | epoch
    }

    /// The epoch of a moment of these files; `None` for one of files that were there before.
    pub(super) fn epoch(&self, moment: u64) -> Option<u64> {
        (moment >> EPOCH_BITS == self.generation).then_some(moment & ((1 << EPOCH_BITS) - 1))
    }

    pub(super) fn pulse(&self) -> Option<u64> {
        match self.sequence.as_ref()?.read() {
            Mark::Quiet(epoch) => Some(self.moment(epoch)),
            Mark::Moving | Mark::Replaced => None,
        }
    }

    pub(super) fn surely_unchanged(
        &self,
        namespace: &Namespace,
        names: &[SecretName],
        since: u64,
    ) -> Option<u64> {
        self.surely(namespace, since, |keys, top, since| {
            names.iter().all(|name| top.none_since(since, &keys.name_mac(name.as_str())))
        })
    }

    /// The moment up to which `is_as_it_was` is known, from memory, of what was seen of a namespace.
    pub(super) fn surely(
        &self,
        namespace: &Namespace,
        since: u64,
        is_as_it_was: impl FnOnce(&NamespaceKeys, &Top, u64) -> bool,
    ) -> Option<u64> {
        let keys = self.known(namespace)?;
        let top = keys.seen.top()?;
        let (since, as_of) = (self.epoch(since)?, self.moment(top.as_of));
        (self.pulse() == Some(as_of) && is_as_it_was(&keys, &top, since)).then_some(as_of)
    }

    fn known(&self, name: &Namespace) -> Option<Arc<NamespaceKeys>> {
        self.namespaces().known.get(name).cloned()
    }

    /// The keys that are known and still those of this epoch of the keyring.
    pub(super) fn all_known(&self, keyring_epoch: u64) -> Vec<Arc<NamespaceKeys>> {
        let cache = self.namespaces();
        let is_current = cache.keyring_epoch == keyring_epoch;
        cache.known.values().filter(|_| is_current).cloned().collect()
    }

    pub(super) fn namespace(
        &self,
        view: &View<'_>,
        name: &Namespace,
    ) -> Result<Option<Arc<NamespaceKeys>>, StoreError> {
        let mut cache = self.namespaces();
        if cache.keyring_epoch == view.root.keyring_epoch
            && let Some(keys) = cache.known.get(name)
        {
            return Ok(Some(keys.clone()));
        }
        let Some(keys) = view.namespace(name)?.map(Arc::new) else { return Ok(None) };
        // A view of an older commit must not bring old keys back.
        if cache.keyring_epoch < view.root.keyring_epoch {
            *cache = Namespaces { keyring_epoch: view.root.keyring_epoch, known: HashMap::new() };
        }
        if cache.keyring_epoch == view.root.keyring_epoch {
            cache.known.insert(name.clone(), keys.clone());
        }
        Ok(Some(keys))
    }

    fn namespaces(&self) -> MutexGuard<'_, Namespaces> {
        self.namespaces.lock().even_poisoned()
    }
}
