//! What the root of the store vouches for: the namespaces, each with its keys and the top of its
//! index. Read once, checked, and from then on looked at and changed here: rows that say now this and
//! now that are taken at their first word. Uses the rows of `backend` and the keys of `keyring`.

use super::StoreError;
use super::backend::{KeyRow, NamespaceRow, Read, RootRow};
use super::cipher::{Id, Mac, same};
use super::index::{Sum, TOP};
use super::keyring::Masters;

pub(super) struct Spaces(Vec<Space>);

/// A namespace as its rows have it.
pub(super) struct Space {
    pub(super) row: NamespaceRow,
    pub(super) keys: Vec<KeyRow>,
    /// Sealed. There is none in a damaged store only.
    pub(super) top: Option<Vec<u8>>,
}

impl Spaces {
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn read(rows: &dyn Read) -> Result<Self, StoreError> {
        let space = |row: NamespaceRow| {
            let (keys, top) = (rows.keys(&row.id)?, rows.node(&row.id, TOP)?);
            Ok(Space { row, keys, top })
        };
        rows.namespaces()?.into_iter().map(space).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the root vouches for these.
    pub(super) fn are_of(&self, root: &RootRow, masters: &Masters) -> bool {
        same(&self.seal(masters), &root.keyring)
    }

    /// What the root has of them. Not the sum itself: of sums, others could be made.
    pub(super) fn seal(&self, masters: &Masters) -> Mac {
        let mut sum = Sum::default();
        for Space { row, keys, top } in &self.0 {
            masters.count_in(&mut sum, row, keys);
            top.iter().for_each(|top| sum.add(&masters.top_member(&row.id, top)));
        }
        masters.seal_sum(&sum)
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = Space> {
        self.0.into_iter()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Space> {
        self.0.iter()
    }

    pub(super) fn named(&self, name: &Mac) -> Option<&Space> {
        self.0.iter().find(|space| space.row.name_mac == *name)
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Space> {
        self.0.iter().find(|space| space.row.id == *id)
    }

    pub(super) fn get_mut(&mut self, id: &Id) -> Option<&mut Space> {
        self.0.iter_mut().find(|space| space.row.id == *id)
    }

    pub(super) fn add(&mut self, space: Space) {
        self.0.push(space);
    }

    pub(super) fn remove(&mut self, id: &Id) {
        self.0.retain(|space| space.row.id != *id);
    }
}

impl Space {
    pub(super) fn put_key(&mut self, key: KeyRow) {
        self.keys.retain(|it| it.kid != key.kid);
        self.keys.push(key);
    }
}
