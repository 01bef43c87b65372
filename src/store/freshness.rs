//! Whether anything may have changed since a reader looked last: asked at every lookup, so answered
//! from memory where that is certain. Uses `view` and `opened`.

use super::{Store, StoreError};
use crate::secret::{Namespace, SecretName};

impl Store {
    /// Whether any of these may have changed after `since`. If not, the moment up to which that
    /// is known.
    pub fn unchanged(
        &self,
        namespace: &Namespace,
        names: &[SecretName],
        since: u64,
    ) -> Result<Option<u64>, StoreError> {
        self.read(|view, opened| {
            let as_of = opened.moment(view.root.epoch);
            let Some(since) = opened.epoch(since).filter(|_| since <= as_of) else { return Ok(None) };
            let Some(keys) = opened.namespace(view, namespace)? else { return Ok(None) };
            for name in names {
                if view.last_change(&keys, name)? > since {
                    return Ok(None);
                }
            }
            Ok(Some(as_of))
        })
    }

    /// As [`Store::unchanged`], from memory: `None` if the files have to be asked. Does not block.
    pub fn surely_unchanged(&self, namespace: &Namespace, names: &[SecretName], since: u64) -> Option<u64> {
        self.opened().surely_unchanged(namespace, names, since)
    }

    /// Whether anything of a namespace may have changed after `since`: what is like something can
    /// become another secret by any change. If not, the moment up to which that is known.
    pub fn all_unchanged(&self, namespace: &Namespace, since: u64) -> Result<Option<u64>, StoreError> {
        self.read(|view, opened| {
            let as_of = opened.moment(view.root.epoch);
            let Some(since) = opened.epoch(since).filter(|_| since <= as_of) else { return Ok(None) };
            let Some(keys) = opened.namespace(view, namespace)? else { return Ok(None) };
            Ok((view.top(&keys)?.newest() <= since).then_some(as_of))
        })
    }

    /// As [`Store::all_unchanged`], from memory: `None` if the files have to be asked.
    pub fn surely_all_unchanged(&self, namespace: &Namespace, since: u64) -> Option<u64> {
        self.opened().surely(namespace, since, |_, top, since| top.newest() <= since)
    }
}
