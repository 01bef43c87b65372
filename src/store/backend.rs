//! Where rows are kept: the one trait that a backend fulfils. It sees ids, MACs, numbers and
//! sealed blobs, never a name or a value, and need not be trusted: what it gives back is checked.

mod kind;

use std::time::Duration;

use super::StoreError;
use super::cipher::{Id, Mac};
use super::index::{Range, TOP};
pub use kind::BackendKind;

/// How long a writer waits for another.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps the rows of one store. Shared by all threads.
pub(super) trait Backend: Send + Sync {
    /// A view of one commit, however long it is held and whoever writes meanwhile.
    fn read(&self) -> Result<Box<dyn Read + '_>, StoreError>;

    /// The one writer; waits for another a few seconds, then says busy. Dropped without
    /// `commit`, it leaves everything as it was.
    fn write(&self) -> Result<Box<dyn Write + '_>, StoreError>;

    /// Takes what was removed or replaced out of the files, as far as a commit leaves it there.
    /// False if readers are in the way, for longer than a writer waits for another.
    fn scrub(&self, _: Scrub) -> Result<bool, StoreError> {
        Ok(true)
    }
}

/// What is scrubbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrub {
    /// Where commits are written first. What is left elsewhere are fragments that nothing opens, or
    /// whose keys are gone.
    Log,
    /// Everything: the files are written anew, which takes as long as they are large.
    Files,
}

pub(super) trait Read {
    fn root(&self) -> Result<RootRow, StoreError>;
    fn namespaces(&self) -> Result<Vec<NamespaceRow>, StoreError>;
    fn keys(&self, namespace: &Id) -> Result<Vec<KeyRow>, StoreError>;
    fn header(&self, namespace: &Id, name: &Mac) -> Result<Option<HeaderRow>, StoreError>;
    /// The secret's header and the record of one version of it: of the active one if none is named.
    fn secret(
        &self,
        namespace: &Id,
        name: &Mac,
        version: Option<u64>,
    ) -> Result<Option<SecretRow>, StoreError>;
    /// Headers of a namespace in the order of their MACs.
    fn headers(&self, namespace: &Id, range: &Range, each: &mut EachHeader) -> Result<(), StoreError>;
    /// All records of a secret, oldest first.
    fn records(&self, namespace: &Id, name: &Mac) -> Result<Vec<(u64, Vec<u8>)>, StoreError>;
    /// A node of the index of a namespace, or its top.
    fn node(&self, namespace: &Id, number: u8) -> Result<Option<Vec<u8>>, StoreError>;

    fn header_rows(&self, namespace: &Id, range: &Range) -> Result<Vec<HeaderRow>, StoreError> {
        let mut rows = Vec::new();
        self.headers(namespace, range, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    /// All nodes of a namespace that there are, by their numbers.
    fn nodes(&self, namespace: &Id) -> Result<Vec<(u8, Vec<u8>)>, StoreError> {
        let node = |number| Ok(self.node(namespace, number)?.map(|sealed| (number, sealed)));
        (0..=TOP).filter_map(|number| node(number).transpose()).collect()
    }
}

pub(super) type EachHeader<'a> = dyn FnMut(HeaderRow) -> Result<(), StoreError> + 'a;

pub(super) trait Write: Read {
    fn put_root(&self, root: &RootRow) -> Result<(), StoreError>;
    fn put_namespace(&self, namespace: &NamespaceRow) -> Result<(), StoreError>;
    fn put_key(&self, key: &KeyRow) -> Result<(), StoreError>;
    fn put_header(&self, namespace: &Id, header: &HeaderRow) -> Result<(), StoreError>;
    fn put_record(&self, namespace: &Id, name: &Mac, version: u64, record: &[u8]) -> Result<(), StoreError>;
    fn put_node(&self, namespace: &Id, number: u8, sealed: &[u8]) -> Result<(), StoreError>;
    /// Removes the header and every record.
    fn remove_secret(&self, namespace: &Id, name: &Mac) -> Result<(), StoreError>;
    fn remove_record(&self, namespace: &Id, name: &Mac, version: u64) -> Result<(), StoreError>;
    fn remove_key(&self, namespace: &Id, kid: &Id) -> Result<(), StoreError>;
    /// Removes the namespace with all of its rows.
    fn remove_namespace(&self, namespace: &Id) -> Result<(), StoreError>;
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// The one row that every commit rewrites.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RootRow {
    pub(super) store: Id,
    /// The id of the master key.
    pub(super) key: Id,
    /// Counts commits.
    pub(super) epoch: u64,
    /// The epoch in which namespaces or keys changed last.
    pub(super) keyring_epoch: u64,
    /// A MAC over all namespaces, keys and tops of indexes.
    pub(super) keyring: Mac,
    /// Authenticates this row.
    pub(super) seal: Mac,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct NamespaceRow {
    pub(super) id: Id,
    pub(super) name_mac: Mac,
    /// The sealed name.
    pub(super) name: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct KeyRow {
    pub(super) namespace: Id,
    pub(super) kid: Id,
    pub(super) purpose: u8,
    pub(super) state: u8,
    pub(super) wrapped: Vec<u8>,
    pub(super) commitment: Mac,
}

#[derive(PartialEq, Eq)]
pub(super) struct HeaderRow {
    pub(super) name: Mac,
    /// A copy of what the header says, for the join with the record. Believed by nobody.
    pub(super) active: u64,
    pub(super) header: Vec<u8>,
}

pub(super) struct SecretRow {
    pub(super) active: u64,
    pub(super) header: Vec<u8>,
    pub(super) record: Option<(u64, Vec<u8>)>,
}

#[cfg(test)]
pub(super) mod suite;
