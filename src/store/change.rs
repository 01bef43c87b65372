//! Writes to the store: everything that one transaction does. Uses the rows of `backend` and the
//! keys of `keyring`.

mod keys;
mod metadata;
mod versions;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jiff::Timestamp;

use super::backend::{HeaderRow, Write};
use super::cipher::{Mac, random};
use super::index::{Leaf, Members, Node, TOP};
use super::keyring::{Masters, NamespaceKeys, RecordPlace};
use super::record::{Header, Record};
use super::salvage::Remains;
use super::spaces::Space;
use super::view::{View, open_row};
use super::witness::{Deed, What};
use super::{Edit, NewVersion, SecretInfo, StoreError};
use crate::secret::{FieldName, Namespace, SecretBytes, SecretName};
pub use versions::{Fate, Keep};

/// Who changes something, and when.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub now: Timestamp,
    pub by: String,
}

/// The changes of one transaction to one namespace. Nothing of it is there before all of it is.
pub struct Change<'a> {
    pub(super) rows: &'a dyn Write,
    pub(super) view: View<'a>,
    keys: NamespaceKeys,
    stamp: Stamp,
    leaves: BTreeMap<Leaf, Touched>,
    /// Whether the namespace is made by this transaction.
    pub(super) is_first: bool,
    deeds: Vec<Deed>,
    is_import: bool,
}

/// The secrets of a leaf as this transaction changes them; vouched for anew at its end.
struct Touched {
    members: Members,
    /// In which they changed last.
    epoch: u64,
}

impl<'a> Change<'a> {
    /// Begins on what `rows` holds; makes the namespace if there is none.
    pub(super) fn new(
        rows: &'a dyn Write,
        masters: &'a Masters,
        namespace: &Namespace,
        stamp: Stamp,
    ) -> Result<Self, StoreError> {
        let mut view = View::new(rows, masters)?;
        view.root.epoch += 1;
        let there = view.namespace(namespace)?;
        let is_first = there.is_none();
        let keys = match there {
            Some(keys) => keys,
            None => add_namespace(rows, &mut view, namespace)?,
        };
        // To the millisecond, as it is stored.
        let now = Timestamp::from_millisecond(stamp.now.as_millisecond()).unwrap_or(stamp.now);
        let deeds = if is_first { vec![Deed::of(What::Namespace)] } else { Vec::new() };
        let (stamp, leaves) = (Stamp { now, ..stamp }, BTreeMap::new());
        Ok(Self { rows, view, keys, stamp, leaves, is_first, deeds, is_import: false })
    }

    /// When it happens.
    pub fn now(&self) -> Timestamp {
        self.stamp.now
    }

    /// What is put from here on comes from elsewhere.
    pub fn import(&mut self) {
        self.is_import = true;
    }

    pub(super) fn take_deeds(&mut self) -> Vec<Deed> {
        std::mem::take(&mut self.deeds)
    }

    fn did(&mut self, what: What, name: &SecretName, version: Option<u64>) {
        self.deeds.push(Deed { what, name: Some(name.to_string()), version });
    }

    /// A secret as this transaction sees it; `None` if there is none.
    pub fn describe(&mut self, name: &SecretName) -> Result<Option<SecretInfo>, StoreError> {
        Ok(self.find(name)?.map(|(header, _)| SecretInfo::from(header)))
    }

    /// The values that are active now, whatever their state; none if there is no such secret.
    pub fn fields(&mut self, name: &SecretName) -> Result<BTreeMap<FieldName, SecretBytes>, StoreError> {
        match self.find(name)? {
            Some((header, _)) => Ok(self.view.active(&self.keys, &header)?.fields),
            None => Ok(BTreeMap::new()),
        }
    }

    /// Adds a version, and the secret if there is none, and activates it. Returns its number.
    pub fn put(&mut self, name: &SecretName, new: NewVersion, edit: &Edit) -> Result<u64, StoreError> {
        let old = self.find(name)?;
        let mut header = match &old {
            Some((header, _)) => header.clone(),
            None => self.new_header(name)?,
        };
        let what = match old {
            _ if self.is_import => What::Import,
            Some(_) => What::Rotate,
            None => What::Create,
        };
        apply(&mut header, edit);
        new.check(name, header.kind)?;
        header.latest += 1;
        let new_version = header.latest;
        header.active = new_version;
        header.activated = self.stamp.now;
        header.activated_by = None;
        header.expires = new.expires_at;
        header.fields = new.fields.keys().map(ToString::to_string).collect();
        let mac = self.keys.name_mac(name.as_str());
        let record = Record {
            created: self.stamp.now,
            created_by: self.stamp.by.clone(),
            kind: Some(header.kind),
            expires: new.expires_at,
            fields: new.fields,
        };
        let sealed = self.seal_record(&mac, &mut header, new_version, &record)?;
        self.put_header(&mac, header, old.map(|(_, blob)| blob))?;
        self.rows.put_record(&self.keys.id, &mac, new_version, &sealed)?;
        self.did(what, name, Some(new_version));
        Ok(new_version)
    }

    /// Removes a secret with all its versions.
    pub fn remove(&mut self, name: &SecretName) -> Result<(), StoreError> {
        if self.find(name)?.is_none() {
            return Err(StoreError::SecretMissing(name.to_string()));
        }
        let mac = self.keys.name_mac(name.as_str());
        self.replace(&mac, None)?;
        self.did(What::Remove, name, None);
        self.rows.remove_secret(&self.keys.id, &mac)
    }

    fn find(&mut self, name: &SecretName) -> Result<Option<(Header, Vec<u8>)>, StoreError> {
        let mac = self.keys.name_mac(name.as_str());
        let row = self.rows.header(&self.keys.id, &mac)?;
        self.touch(&mac)?
            .members
            .check(&mac, row.as_ref().map(|row| row.header.as_slice()))
            .and_then(|()| row.map(|row| Ok((open_row(&self.keys, &row)?, row.header))).transpose())
            .map_err(|error| error.about(name.as_str()))
    }

    fn new_header(&self, name: &SecretName) -> Result<Header, StoreError> {
        let now = self.stamp.now;
        Ok(Header {
            name: name.to_string(),
            id: hex(&random::<16>()?),
            kind: Default::default(),
            fields: Vec::new(),
            description: None,
            tags: Default::default(),
            label: None,
            owner: Some(self.stamp.by.clone()),
            created: now,
            updated: now,
            activated: now,
            activated_by: None,
            expires: None,
            active: 0,
            latest: 0,
            disabled: false,
            revoked: Default::default(),
            ends: Default::default(),
            gone: Default::default(),
            prints: Default::default(),
            epoch: 0,
        })
    }

    /// Seals a header in place of `old`, as of this change.
    fn put_header(
        &mut self,
        name: &Mac,
        mut header: Header,
        old: Option<Vec<u8>>,
    ) -> Result<Header, StoreError> {
        header.updated = self.stamp.now;
        header.epoch = self.view.root.epoch;
        if let Some(old) = &old
            && !self.keys.is_current(old)?
        {
            self.reseal_records(name, &mut header)?;
        }
        let blob = self.keys.seal_header(name, &header.encode())?;
        self.replace(name, Some(&blob))?;
        self.rows
            .put_header(&self.keys.id, &HeaderRow { name: *name, active: header.active, header: blob })?;
        Ok(header)
    }

    /// Its header has to know it.
    fn seal_record(
        &self,
        name: &Mac,
        header: &mut Header,
        version: u64,
        record: &Record,
    ) -> Result<Vec<u8>, StoreError> {
        let place = RecordPlace { name, secret: &header.id, version };
        let blob = self.keys.seal_record(place, &record.encode())?;
        header.note_record(version, &blob);
        Ok(blob)
    }

    /// Puts a secret of another store in here, as it was there.
    pub(super) fn adopt(&mut self, Remains { header, records }: &Remains) -> Result<(), StoreError> {
        let mut header = Header { epoch: self.view.root.epoch, prints: BTreeMap::new(), ..header.clone() };
        let mac = self.keys.name_mac(&header.name);
        let seal = |(version, record): &(u64, Record)| {
            Ok((*version, self.seal_record(&mac, &mut header, *version, record)?))
        };
        let sealed = records.iter().map(seal).collect::<Result<Vec<_>, StoreError>>()?;
        let blob = self.keys.seal_header(&mac, &header.encode())?;
        self.replace(&mac, Some(&blob))?;
        self.rows.put_header(&self.keys.id, &HeaderRow { name: mac, active: header.active, header: blob })?;
        sealed
            .iter()
            .try_for_each(|(version, blob)| self.rows.put_record(&self.keys.id, &mac, *version, blob))
    }

    /// Puts a new header, or none, among those that are vouched for.
    fn replace(&mut self, name: &Mac, new: Option<&[u8]>) -> Result<(), StoreError> {
        let epoch = self.view.root.epoch;
        let touched = self.touch(name)?;
        touched.epoch = epoch;
        match new {
            Some(header) => touched.members.put(name, header),
            None => touched.members.remove(name),
        }
        Ok(())
    }

    /// The leaf of a secret.
    fn touch(&mut self, name: &Mac) -> Result<&mut Touched, StoreError> {
        match self.leaves.entry(Leaf::of(name)) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(place) => {
                let (vouched, members) = self.view.members(&self.keys, *place.key())?;
                Ok(place.insert(Touched { members: (*members).clone(), epoch: vouched.epoch }))
            }
        }
    }

    /// Writes the index and the root that vouch for what was done.
    pub(super) fn seal(mut self) -> Result<u64, StoreError> {
        let leaves: Vec<_> = std::mem::take(&mut self.leaves).into_iter().collect();
        if !leaves.is_empty() {
            self.seal_index(&leaves)?;
        }
        self.view.put_root(self.rows)
    }

    fn seal_index(&mut self, leaves: &[(Leaf, Touched)]) -> Result<(), StoreError> {
        let keys = &self.keys;
        let mut top = self.view.top(keys)?.node.clone();
        for of_node in leaves.chunk_by(|one, next| one.0.node == next.0.node) {
            let number = of_node[0].0.node;
            let mut node = (*self.view.node(keys, number)?).clone();
            for (leaf, Touched { members, epoch }) in of_node {
                node.set(leaf.child, keys.vouch_for(*leaf, members, *epoch));
            }
            let sealed = keys.seal_node(number, &node);
            self.rows.put_node(&keys.id, number, &sealed)?;
            top.set(number, node.as_child(&sealed));
        }
        let sealed = keys.seal_node(TOP, &top);
        self.rows.put_node(&keys.id, TOP, &sealed)?;
        self.view.space_mut(keys)?.top = Some(sealed);
        Ok(())
    }
}

fn apply(header: &mut Header, edit: &Edit) {
    let Edit { kind, description, label, owner, tags } = edit.clone();
    header.kind = kind.unwrap_or(header.kind);
    let changed = |new: Option<String>, old: &mut Option<String>| {
        *old = new.or(old.take()).filter(|text| !text.is_empty());
    };
    changed(description, &mut header.description);
    changed(label, &mut header.label);
    changed(owner, &mut header.owner);
    header.tags = tags.unwrap_or(std::mem::take(&mut header.tags));
}

/// Makes a namespace with its keys and an empty index, and lets the root vouch for it.
pub(super) fn add_namespace(
    rows: &dyn Write,
    view: &mut View<'_>,
    name: &Namespace,
) -> Result<NamespaceKeys, StoreError> {
    let store = view.root.store;
    let (namespace, new_keys) = view.masters.new_namespace(&store, name)?;
    let keys = view.masters.unwrap(&store, &namespace, &new_keys)?;
    let top = keys.seal_node(TOP, &Node::empty(view.root.epoch));
    rows.put_namespace(&namespace)?;
    new_keys.iter().try_for_each(|key| rows.put_key(key))?;
    rows.put_node(&keys.id, TOP, &top)?;
    view.spaces_mut()?.add(Space { row: namespace, keys: new_keys.into(), top: Some(top) });
    view.root.keyring_epoch = view.root.epoch;
    Ok(keys)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
