//! The keys and what they are for: those derived from the master key, and those of a namespace,
//! random and wrapped. Uses `cipher` and the rows of `backend`.

use std::collections::BTreeMap;

use super::StoreError;
use super::backend::{KeyRow, NamespaceRow, RootRow};
use super::cipher::{Id, Key, Mac, SealingKey, associated, random, same};
use super::index::{Child, Leaf, Members, Node, Sum, mac_of};
use super::seen::Seen;
use crate::secret::{Namespace, SecretBytes};

const ROOT: &[u8] = b"sfs-root-v2";
const OLDER_ROOT: &[u8] = b"sfs-root-v1";
const PURPOSE_INDEX: u8 = 1;
pub(super) const PURPOSE_DATA: u8 = 2;
/// A key that new records are sealed with.
pub(super) const STATE_ACTIVE: u8 = 1;
/// A key that only opens what it has sealed.
const STATE_RETIRED: u8 = 2;
/// 3 is kept for one that waits for its destruction.
const STATES: std::ops::RangeInclusive<u8> = STATE_ACTIVE..=3;

/// What a master key opens.
pub(super) struct Masters {
    /// Names the master key without telling it.
    pub(super) id: Id,
    wrap: SealingKey,
    names: Key,
    root: Key,
    /// Authenticates backups.
    pub(super) backup: Key,
    pub(super) salt: SecretBytes,
}

impl Masters {
    pub(super) fn derive(master: &Key) -> Self {
        let id = id_of(master);
        Self {
            id,
            wrap: SealingKey::new(id, &master.derive("secretfs/v1/wrap")),
            names: master.derive("secretfs/v1/names"),
            root: master.derive("secretfs/v1/root"),
            backup: master.derive("secretfs/v1/backup"),
            salt: SecretBytes::copy_of(master.derive("secretfs/v1/salt").expose()),
        }
    }

    pub(super) fn namespace_mac(&self, store: &Id, name: &Namespace) -> Mac {
        self.names.mac(&[store, name.as_str().as_bytes()])
    }

    /// Puts the seal on a root.
    pub(super) fn seal_root(&self, root: &mut RootRow) {
        root.seal = self.root_seal(ROOT, root);
    }

    pub(super) fn check_root(&self, root: &RootRow) -> Result<(), StoreError> {
        // With our id in it: a root that only says another one is not of another master key.
        let is_ours = same(&root.seal, &self.root_seal(ROOT, &RootRow { key: self.id, ..root.clone() }));
        match (root.key == self.id, is_ours) {
            (true, true) => Ok(()),
            (false, false) => Err(StoreError::Rekeyed),
            _ => Err(StoreError::corrupt("its root does not authenticate")),
        }
    }

    /// Whether it is a sound root of a store of before there was a tree of its secrets.
    pub(super) fn is_older_root(&self, root: &RootRow) -> bool {
        root.key == self.id && same(&root.seal, &self.root_seal(OLDER_ROOT, root))
    }

    fn root_seal(&self, label: &[u8], root: &RootRow) -> Mac {
        let RootRow { store, key, epoch, keyring_epoch, keyring, seal: _ } = root;
        let (epoch, keyring_epoch) = (epoch.to_le_bytes(), keyring_epoch.to_le_bytes());
        self.root.mac(&[label, store, key, &epoch, &keyring_epoch, keyring])
    }

    /// What the root has of the sum that it vouches for.
    pub(super) fn seal_sum(&self, sum: &Sum) -> Mac {
        self.root.mac(&[b"keyring", &sum.0])
    }

    /// What the top of an index, sealed, adds to the sum.
    pub(super) fn top_member(&self, namespace: &Id, sealed: &[u8]) -> Mac {
        self.root.mac(&[b"index", namespace, mac_of(sealed)])
    }

    /// Adds a namespace and its keys to the sum that a root vouches for.
    pub(super) fn count_in(&self, sum: &mut Sum, namespace: &NamespaceRow, keys: &[KeyRow]) {
        sum.add(&self.root.mac(&[b"namespace", &namespace.id, &namespace.name_mac, &namespace.name]));
        for key in keys {
            let KeyRow { namespace, kid, purpose, state, wrapped, commitment } = key;
            sum.add(&self.root.mac(&[b"key", namespace, kid, &[*purpose, *state], wrapped, commitment]));
        }
    }

    /// A new namespace with its two keys.
    pub(super) fn new_namespace(
        &self,
        store: &Id,
        name: &Namespace,
    ) -> Result<(NamespaceRow, [KeyRow; 2]), StoreError> {
        let id = random()?;
        let keys = [self.new_key(store, &id, PURPOSE_INDEX)?, self.new_key(store, &id, PURPOSE_DATA)?];
        Ok((self.namespace_row(store, id, name)?, keys))
    }

    pub(super) fn namespace_row(
        &self,
        store: &Id,
        id: Id,
        name: &Namespace,
    ) -> Result<NamespaceRow, StoreError> {
        let sealed = self.wrap.seal(&associated("sfs-ns-v1", &[store, &id]), name.as_str().as_bytes())?;
        Ok(NamespaceRow { id, name_mac: self.namespace_mac(store, name), name: sealed })
    }

    pub(super) fn new_key(&self, store: &Id, namespace: &Id, purpose: u8) -> Result<KeyRow, StoreError> {
        let (kid, key) = (random()?, Key::random()?);
        self.wrapped(store, namespace, kid, (purpose, STATE_ACTIVE), &key)
    }

    /// A key that was active and now only opens.
    pub(super) fn retired(&self, store: &Id, row: &KeyRow) -> Result<KeyRow, StoreError> {
        let key = self.unwrap_key(store, &row.namespace, row)?;
        self.wrapped(store, &row.namespace, row.kid, (row.purpose, STATE_RETIRED), &key)
    }

    /// The same key under another master key.
    pub(super) fn rewrapped(&self, new: &Self, store: &Id, row: &KeyRow) -> Result<KeyRow, StoreError> {
        let key = self.unwrap_key(store, &row.namespace, row)?;
        new.wrapped(store, &row.namespace, row.kid, (row.purpose, row.state), &key)
    }

    fn wrapped(
        &self,
        store: &Id,
        namespace: &Id,
        kid: Id,
        (purpose, state): (u8, u8),
        key: &Key,
    ) -> Result<KeyRow, StoreError> {
        let associated = key_place(store, namespace, &kid, purpose, state);
        let (wrapped, commitment) = (self.wrap.seal(&associated, key.expose())?, commitment(key, &kid));
        Ok(KeyRow { namespace: *namespace, kid, purpose, state, wrapped, commitment })
    }

    /// The name of a namespace, for lists.
    pub(super) fn namespace_name(&self, store: &Id, row: &NamespaceRow) -> Result<Namespace, StoreError> {
        let name = self.wrap.open(&associated("sfs-ns-v1", &[store, &row.id]), &row.name)?;
        let name = std::str::from_utf8(&name).ok().and_then(|name| Namespace::parse(name).ok());
        let name = name.ok_or_else(|| StoreError::corrupt("a namespace has no proper name"))?;
        match self.namespace_mac(store, &name) == row.name_mac {
            true => Ok(name),
            false => Err(StoreError::corrupt("a namespace has two names")),
        }
    }

    /// Opens the keys of a namespace.
    pub(super) fn unwrap(
        &self,
        store: &Id,
        row: &NamespaceRow,
        keys: &[KeyRow],
    ) -> Result<NamespaceKeys, StoreError> {
        self.namespace_name(store, row)?;
        let (mut index, mut active, mut data) = (None, None, BTreeMap::new());
        for key in keys {
            let opened = self.unwrap_key(store, &row.id, key)?;
            match (key.purpose, key.state) {
                (PURPOSE_INDEX, STATE_ACTIVE) if index.is_none() => index = Some(opened),
                (PURPOSE_DATA, state) => {
                    if state == STATE_ACTIVE && active.replace(key.kid).is_some() {
                        return Err(StoreError::corrupt("a namespace has two active keys"));
                    }
                    data.insert(key.kid, SealingKey::new(key.kid, &opened));
                }
                _ => return Err(StoreError::corrupt("a key has an unknown purpose")),
            }
        }
        let (Some(index), Some(active)) = (index, active) else {
            return Err(StoreError::corrupt("a namespace has lost a key"));
        };
        let (names, index) = (index.derive("secretfs/v1/secret-names"), index.derive("secretfs/v1/buckets"));
        let seen = Seen::default();
        Ok(NamespaceKeys { id: row.id, store: *store, names, index, active, data, seen })
    }

    /// What the keys of an audit log begin with, if it is of the namespace with these keys. From one
    /// of them that no other takes the place of; nobody keeps it.
    pub(super) fn audit_seed(
        &self,
        store: &Id,
        namespace: &Id,
        keys: &[KeyRow],
    ) -> Result<SecretBytes, StoreError> {
        let index = keys.iter().find(|key| (key.purpose, key.state) == (PURPOSE_INDEX, STATE_ACTIVE));
        let index = index.ok_or_else(|| StoreError::corrupt("a namespace has lost a key"))?;
        let index = self.unwrap_key(store, namespace, index)?;
        Ok(SecretBytes::copy_of(index.derive("secretfs/v1/audit").expose()))
    }

    fn unwrap_key(&self, store: &Id, namespace: &Id, row: &KeyRow) -> Result<Key, StoreError> {
        if !STATES.contains(&row.state) {
            return Err(StoreError::corrupt("a key has an unknown state"));
        }
        let place = key_place(store, namespace, &row.kid, row.purpose, row.state);
        let key = self.wrap.open(&place, &row.wrapped)?;
        let key = Key::from_bytes(&key).ok_or_else(|| StoreError::corrupt("a key has a wrong length"))?;
        match same(&row.commitment, &commitment(&key, &row.kid)) {
            true => Ok(key),
            false => Err(StoreError::corrupt("a key is not the one that was committed to")),
        }
    }
}

pub(super) fn id_of(master: &Key) -> Id {
    master.derive("secretfs/v1/key-id").expose()[..16].try_into().expect("half of 32")
}

fn key_place(store: &Id, namespace: &Id, kid: &Id, purpose: u8, state: u8) -> Vec<u8> {
    associated("sfs-key-v1", &[store, namespace, kid, &[purpose, state]])
}

/// AES-GCM alone lets one blob open under two keys.
fn commitment(key: &Key, kid: &Id) -> Mac {
    key.mac(&[b"secretfs/v1/commit", kid])
}

/// The opened keys of one namespace.
pub(super) struct NamespaceKeys {
    pub(super) id: Id,
    store: Id,
    names: Key,
    index: Key,
    active: Id,
    data: BTreeMap<Id, SealingKey>,
    /// What was read of the namespace with these keys.
    pub(super) seen: Seen,
}

impl NamespaceKeys {
    pub(super) fn name_mac(&self, name: &str) -> Mac {
        self.names.mac(&[name.as_bytes()])
    }

    pub(super) fn index_key(&self) -> &Key {
        &self.index
    }

    pub(super) fn seal_node(&self, number: u8, node: &Node) -> Vec<u8> {
        node.seal(&self.index, &self.node_place(number))
    }

    pub(super) fn open_node(&self, number: u8, sealed: &[u8]) -> Result<Node, StoreError> {
        Node::open(&self.index, &self.node_place(number), sealed)
    }

    /// What is said of the secrets of a leaf, if they changed last in this epoch.
    pub(super) fn vouch_for(&self, leaf: Leaf, members: &Members, epoch: u64) -> Child {
        let place = [leaf.node, leaf.child];
        members.as_child(&self.index, &associated("sfs-leaf-v2", &[&self.store, &self.id, &place]), epoch)
    }

    fn node_place(&self, number: u8) -> Vec<u8> {
        associated("sfs-node-v2", &[&self.store, &self.id, &[number]])
    }

    pub(super) fn seal_header(&self, name: &Mac, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.active().seal(&self.header_place(name, &self.active), plain)
    }

    pub(super) fn open_header(
        &self,
        name: &Mac,
        blob: &[u8],
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, StoreError> {
        let key = self.key_of(blob)?;
        key.open(&self.header_place(name, &key.kid), blob)
    }

    pub(super) fn seal_record(&self, place: RecordPlace<'_>, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.active().seal(&self.record_place(place, &self.active), plain)
    }

    pub(super) fn open_record(
        &self,
        place: RecordPlace<'_>,
        blob: &[u8],
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, StoreError> {
        let key = self.key_of(blob)?;
        key.open(&self.record_place(place, &key.kid), blob)
    }

    /// Whether it is sealed with the active key.
    pub(super) fn is_current(&self, blob: &[u8]) -> Result<bool, StoreError> {
        Ok(super::cipher::key_id(blob)? == self.active)
    }

    fn active(&self) -> &SealingKey {
        &self.data[&self.active]
    }

    fn key_of(&self, blob: &[u8]) -> Result<&SealingKey, StoreError> {
        let kid = super::cipher::key_id(blob)?;
        self.data.get(&kid).ok_or_else(|| StoreError::corrupt("a record names a key that is not there"))
    }

    fn header_place(&self, name: &Mac, kid: &Id) -> Vec<u8> {
        associated("sfs-head-v1", &[&self.store, &self.id, name, kid])
    }

    fn record_place(&self, place: RecordPlace<'_>, kid: &Id) -> Vec<u8> {
        let RecordPlace { name, secret, version } = place;
        let version = version.to_le_bytes();
        associated("sfs-rec-v1", &[&self.store, &self.id, name, secret.as_bytes(), &version, kid])
    }
}

/// Which version of which secret a record is.
#[derive(Clone, Copy)]
pub(super) struct RecordPlace<'a> {
    pub(super) name: &'a Mac,
    /// The random id of the secret.
    pub(super) secret: &'a str,
    pub(super) version: u64,
}
