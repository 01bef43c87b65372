//! From the root down to one secret: every part of the index is checked against what vouches for it,
//! so that a row that was removed, added or put back as it was before is found. Part of `view`.

use std::sync::Arc;

use super::StoreError;
use super::backend::{HeaderRow, Write};
use super::cipher::Mac;
use super::index::{Child, FANOUT, Leaf, Members, Node, TOP, range_of};
use super::keyring::NamespaceKeys;
use super::seen::Top;
use super::spaces::{Space, Spaces};
use super::view::View;

impl View<'_> {
    /// The namespaces, with their keys and the tops of their indexes, that the root vouches for.
    pub(super) fn spaces(&self) -> Result<&Spaces, StoreError> {
        match self.spaces_anyhow()? {
            (spaces, true) => Ok(spaces),
            _ => Err(StoreError::corrupt("a namespace, a key or an index was removed or changed")),
        }
    }

    /// Those that there are, and whether the root vouches for them.
    pub(super) fn spaces_anyhow(&self) -> Result<(&Spaces, bool), StoreError> {
        if self.spaces.get().is_none() {
            let spaces = Spaces::read(self.rows)?;
            let are_vouched_for = spaces.are_of(&self.root, self.masters);
            let _ = self.spaces.set((spaces, are_vouched_for));
        }
        let (spaces, are_vouched_for) = self.spaces.get().expect("just read");
        Ok((spaces, *are_vouched_for))
    }

    /// To be changed, each time with the rows.
    pub(super) fn spaces_mut(&mut self) -> Result<&mut Spaces, StoreError> {
        self.spaces()?;
        Ok(&mut self.spaces.get_mut().expect("just read").0)
    }

    pub(super) fn space_mut(&mut self, keys: &NamespaceKeys) -> Result<&mut Space, StoreError> {
        self.spaces_mut()?.get_mut(&keys.id).ok_or_else(gone)
    }

    /// Writes a root that vouches for what was made of the namespaces. Returns the new epoch.
    pub(super) fn vouch(&mut self, rows: &dyn Write) -> Result<u64, StoreError> {
        self.root.epoch += 1;
        self.root.keyring_epoch = self.root.epoch;
        self.put_root(rows)
    }

    /// Writes the root as of this epoch.
    pub(super) fn put_root(&mut self, rows: &dyn Write) -> Result<u64, StoreError> {
        self.root.keyring = self.spaces()?.seal(self.masters);
        self.masters.seal_root(&mut self.root);
        rows.put_root(&self.root)?;
        Ok(self.root.epoch)
    }

    /// The top of the index of a namespace.
    pub(super) fn top(&self, keys: &NamespaceKeys) -> Result<Arc<Top>, StoreError> {
        if let Some(top) = keys.seen.top().filter(|top| top.is_of(&self.root)) {
            return Ok(top);
        }
        let sealed = self.spaces()?.get(&keys.id).and_then(|space| space.top.as_ref()).ok_or_else(gone)?;
        let top = Arc::new(Top::new(&self.root, keys.open_node(TOP, sealed)?));
        keys.seen.remember_top(top.clone());
        Ok(top)
    }

    /// A node below the top.
    pub(super) fn node(&self, keys: &NamespaceKeys, number: u8) -> Result<Arc<Node>, StoreError> {
        let vouched = self.top(keys)?.node.child(number);
        if let Some(node) = keys.seen.node(number, &vouched) {
            return Ok(node);
        }
        let node = Arc::new(self.read_node(keys, number, &vouched)?);
        keys.seen.remember_node(number, vouched, node.clone());
        Ok(node)
    }

    fn read_node(&self, keys: &NamespaceKeys, number: u8, vouched: &Child) -> Result<Node, StoreError> {
        if vouched.is_empty() {
            return Ok(Node::empty(vouched.epoch));
        }
        let sealed = self.rows.node(&keys.id, number)?.ok_or_else(gone)?;
        let node = keys.open_node(number, &sealed)?;
        match node.as_child(&sealed) == *vouched {
            true => Ok(node),
            false => Err(StoreError::corrupt("a part of its index was put back as it was before")),
        }
    }

    /// The secrets of a leaf, and what vouches for them.
    pub(super) fn members(
        &self,
        keys: &NamespaceKeys,
        leaf: Leaf,
    ) -> Result<(Child, Arc<Members>), StoreError> {
        let vouched = self.node(keys, leaf.node)?.child(leaf.child);
        if let Some(members) = keys.seen.members(leaf, &vouched) {
            return Ok((vouched, members));
        }
        let mut members = Members::default();
        self.rows.headers(&keys.id, &leaf.range(), &mut |row| {
            members.push(row.name, &row.header);
            Ok(())
        })?;
        compare(&vouched, &keys.vouch_for(leaf, &members, vouched.epoch))?;
        let members = Arc::new(members);
        keys.seen.remember_members(leaf, vouched, members.clone());
        Ok((vouched, members))
    }

    /// Whether this is the header of that secret; with `None`, whether there is no such secret.
    pub(super) fn check_header(
        &self,
        keys: &NamespaceKeys,
        name: &Mac,
        header: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        self.members(keys, Leaf::of(name))?.1.check(name, header)
    }

    /// Whether these are all the secrets below a node, in their order.
    pub(super) fn check_node(
        &self,
        keys: &NamespaceKeys,
        number: u8,
        rows: &[HeaderRow],
    ) -> Result<(), StoreError> {
        let node = self.node(keys, number)?;
        let mut found: [Members; FANOUT as usize] = std::array::from_fn(|_| Members::default());
        for row in rows {
            found[usize::from(Leaf::of(&row.name).child)].push(row.name, &row.header);
        }
        for ((child, vouched), members) in (0..).zip(node.children()).zip(&found) {
            compare(vouched, &keys.vouch_for(Leaf { node: number, child }, members, vouched.epoch))?;
        }
        Ok(())
    }

    /// The headers below a node, checked to be all.
    pub(super) fn rows_below(&self, keys: &NamespaceKeys, node: u8) -> Result<Vec<HeaderRow>, StoreError> {
        let rows = self.rows.header_rows(&keys.id, &range_of(node))?;
        self.check_node(keys, node, &rows).map(|()| rows)
    }
}

impl Members {
    pub(super) fn check(&self, name: &Mac, header: Option<&[u8]>) -> Result<(), StoreError> {
        match self.has(name, header) {
            true => Ok(()),
            false => Err(not_as_left()),
        }
    }
}

fn compare(vouched: &Child, found: &Child) -> Result<(), StoreError> {
    match vouched == found {
        true => Ok(()),
        false => Err(not_as_left()),
    }
}

fn gone() -> StoreError {
    StoreError::corrupt("a part of its index is gone")
}

fn not_as_left() -> StoreError {
    StoreError::corrupt("a secret was removed, or replaced by an older one")
}
