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
use super::index::{BUCKETS, Bucket, bucket_of};
use super::keyring::{Masters, NamespaceKeys, RecordPlace};
use super::record::{Header, Record};
use super::salvage::Remains;
use super::view::View;
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
    buckets: BTreeMap<u8, Touched>,
    /// Whether the namespace is made by this transaction.
    pub(super) is_first: bool,
}

/// A bucket as this transaction changes it; sealed anew at its end.
struct Touched {
    bucket: Bucket,
    /// Its rows were summed up: who finds nothing need not do it again.
    is_checked: bool,
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
        Ok(Self { rows, view, keys, stamp: Stamp { now, ..stamp }, buckets: BTreeMap::new(), is_first })
    }

    /// When it happens.
    pub fn now(&self) -> Timestamp {
        self.stamp.now
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
        apply(&mut header, edit);
        new.check(name, header.kind)?;
        header.latest += 1;
        header.active = header.latest;
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
        let header = self.put_header(&mac, header, old.map(|(_, blob)| blob))?;
        self.put_record(&mac, &header.id, header.latest, &record)?;
        Ok(header.latest)
    }

    /// Removes a secret with all its versions.
    pub fn remove(&mut self, name: &SecretName) -> Result<(), StoreError> {
        let Some((_, blob)) = self.find(name)? else {
            return Err(StoreError::SecretMissing(name.to_string()));
        };
        let mac = self.keys.name_mac(name.as_str());
        self.replace(&mac, Some(&blob), None)?;
        self.rows.remove_secret(&self.keys.id, &mac)
    }

    fn find(&mut self, name: &SecretName) -> Result<Option<(Header, Vec<u8>)>, StoreError> {
        if let Some(found) = self.view.find(&self.keys, name)? {
            return Ok(Some(found));
        }
        let mac = self.keys.name_mac(name.as_str());
        let touched = touch(&mut self.buckets, &self.view, &self.keys, bucket_of(&mac))?;
        if !touched.is_checked {
            self.view.check_absent(&self.keys, &mac, Some(&touched.bucket))?;
            touched.is_checked = true;
        }
        Ok(None)
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
            self.reseal_records(name, &header)?;
        }
        let blob = self.keys.seal_header(name, &header.encode())?;
        self.replace(name, old.as_deref(), Some(&blob))?;
        self.rows
            .put_header(&self.keys.id, &HeaderRow { name: *name, active: header.active, header: blob })?;
        Ok(header)
    }

    fn put_record(&self, name: &Mac, secret: &str, version: u64, record: &Record) -> Result<(), StoreError> {
        let blob = self.keys.seal_record(RecordPlace { name, secret, version }, &record.encode())?;
        self.rows.put_record(&self.keys.id, name, version, &blob)
    }

    /// Puts a secret of another store in here, as it was there.
    pub(super) fn adopt(&mut self, Remains { header, records }: &Remains) -> Result<(), StoreError> {
        let header = Header { epoch: self.view.root.epoch, ..header.clone() };
        let mac = self.keys.name_mac(&header.name);
        let blob = self.keys.seal_header(&mac, &header.encode())?;
        self.replace(&mac, None, Some(&blob))?;
        self.rows.put_header(&self.keys.id, &HeaderRow { name: mac, active: header.active, header: blob })?;
        records.iter().try_for_each(|(version, record)| self.put_record(&mac, &header.id, *version, record))
    }

    /// Changes a secret, and so its bucket.
    fn replace(&mut self, name: &Mac, old: Option<&[u8]>, new: Option<&[u8]>) -> Result<(), StoreError> {
        self.exchange(name, old, new)?.epoch = self.view.root.epoch;
        Ok(())
    }

    /// Takes the old header out of the secret's bucket and the new one in.
    fn exchange(
        &mut self,
        name: &Mac,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<&mut Bucket, StoreError> {
        let Touched { bucket, .. } = touch(&mut self.buckets, &self.view, &self.keys, bucket_of(name))?;
        if let Some(old) = old {
            bucket.count = bucket
                .count
                .checked_sub(1)
                .ok_or_else(|| StoreError::corrupt("a secret is there that its bucket does not know"))?;
            bucket.sum.remove(&self.keys.member(name, old));
        }
        if let Some(new) = new {
            bucket.count += 1;
            bucket.sum.add(&self.keys.member(name, new));
        }
        Ok(bucket)
    }

    /// Writes the seals and the root that vouch for what was done.
    pub(super) fn seal(mut self) -> Result<u64, StoreError> {
        for (&number, touched) in &self.buckets {
            put_bucket(self.rows, &self.keys, number, &touched.bucket)?;
        }
        self.view.masters.seal_root(&mut self.view.root);
        self.rows.put_root(&self.view.root)?;
        Ok(self.view.root.epoch)
    }
}

fn touch<'a>(
    buckets: &'a mut BTreeMap<u8, Touched>,
    view: &View<'_>,
    keys: &NamespaceKeys,
    number: u8,
) -> Result<&'a mut Touched, StoreError> {
    match buckets.entry(number) {
        Entry::Occupied(there) => Ok(there.into_mut()),
        Entry::Vacant(place) => {
            Ok(place.insert(Touched { bucket: view.bucket(keys, number)?, is_checked: false }))
        }
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

/// Makes a namespace with its keys and its empty buckets, and lets the root vouch for it.
pub(super) fn add_namespace(
    rows: &dyn Write,
    view: &mut View<'_>,
    name: &Namespace,
) -> Result<NamespaceKeys, StoreError> {
    let store = view.root.store;
    let (namespace, new_keys) = view.masters.new_namespace(&store, name)?;
    let keys = view.masters.unwrap(&store, &namespace, &new_keys)?;
    rows.put_namespace(&namespace)?;
    for key in &new_keys {
        rows.put_key(key)?;
    }
    for number in 0..BUCKETS {
        put_bucket(rows, &keys, number, &Bucket { epoch: view.root.epoch, ..Bucket::default() })?;
    }
    let mut sum = super::index::Sum(view.root.keyring);
    view.masters.count_in(&mut sum, &namespace, &new_keys);
    view.root.keyring = sum.0;
    view.root.keyring_epoch = view.root.epoch;
    Ok(keys)
}

fn put_bucket(rows: &dyn Write, keys: &NamespaceKeys, number: u8, bucket: &Bucket) -> Result<(), StoreError> {
    rows.put_bucket(&keys.id, number, &bucket.seal(keys.bucket_key(), &keys.bucket_place(number)))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
