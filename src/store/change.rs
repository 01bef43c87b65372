//! Writes to the store: everything that one transaction does. Uses the rows of `backend` and the
//! keys of `keyring`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::backend::{HeaderRow, Write};
use super::cipher::{Mac, random};
use super::index::{BUCKETS, Bucket, bucket_of};
use super::keyring::{Masters, NamespaceKeys, RecordPlace};
use super::record::{Header, Record};
use super::view::View;
use super::{Edit, NewVersion, StoreError};
use crate::secret::{FieldName, Namespace, SecretBytes, SecretName};

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
        let keys = match view.namespace(namespace)? {
            Some(keys) => keys,
            None => add_namespace(rows, &mut view, namespace)?,
        };
        // To the millisecond, as it is stored.
        let now = Timestamp::from_millisecond(stamp.now.as_millisecond()).unwrap_or(stamp.now);
        Ok(Self { rows, view, keys, stamp: Stamp { now, ..stamp } })
    }

    /// Whether the namespace has this secret now.
    pub fn has(&self, name: &SecretName) -> Result<bool, StoreError> {
        Ok(self.view.header(&self.keys, name)?.is_some())
    }

    /// The values that are active now, whatever their state; none if there is no such secret.
    pub fn fields(&self, name: &SecretName) -> Result<BTreeMap<FieldName, SecretBytes>, StoreError> {
        Ok(self.view.active(&self.keys, name)?.map(|record| record.fields).unwrap_or_default())
    }

    /// Adds a version, and the secret if there is none, and activates it. Returns its number.
    pub fn put(&mut self, name: &SecretName, new: NewVersion, edit: &Edit) -> Result<u64, StoreError> {
        let old = self.view.header_row(&self.keys, name)?;
        let mut header = match &old {
            Some((header, _)) => header.clone(),
            None => self.new_header(name)?,
        };
        apply(&mut header, edit);
        new.check(name, header.kind)?;
        header.latest += 1;
        header.active = header.latest;
        header.activated = self.stamp.now;
        header.expires = new.expires_at;
        header.fields = new.fields.keys().map(ToString::to_string).collect();
        let mac = self.keys.name_mac(name.as_str());
        self.put_header(&mac, header.clone(), old.map(|(_, blob)| blob))?;
        self.put_record(&mac, &header, new)?;
        Ok(header.latest)
    }

    /// Removes a secret with all its versions.
    pub fn remove(&mut self, name: &SecretName) -> Result<(), StoreError> {
        let Some((_, blob)) = self.view.header_row(&self.keys, name)? else {
            return Err(StoreError::SecretMissing(name.to_string()));
        };
        let mac = self.keys.name_mac(name.as_str());
        self.reseal(&mac, Some(&blob), None)?;
        self.rows.remove_secret(&self.keys.id, &mac)
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
            expires: None,
            active: 0,
            latest: 0,
            disabled: false,
            revoked: Default::default(),
            epoch: 0,
        })
    }

    fn put_header(&self, name: &Mac, mut header: Header, old: Option<Vec<u8>>) -> Result<(), StoreError> {
        header.updated = self.stamp.now;
        header.epoch = self.view.root.epoch;
        let blob = self.keys.seal_header(name, &header.encode())?;
        self.reseal(name, old.as_deref(), Some(&blob))?;
        self.rows.put_header(&self.keys.id, &HeaderRow { name: *name, active: header.active, header: blob })
    }

    fn put_record(&self, name: &Mac, header: &Header, new: NewVersion) -> Result<(), StoreError> {
        let record = Record {
            created: self.stamp.now,
            created_by: self.stamp.by.clone(),
            expires: new.expires_at,
            fields: new.fields,
        };
        let place = RecordPlace { name, secret: &header.id, version: header.latest };
        let blob = self.keys.seal_record(place, &record.encode())?;
        self.rows.put_record(&self.keys.id, name, header.latest, &blob)
    }

    /// Brings the seal of the secret's bucket up to date.
    fn reseal(&self, name: &Mac, old: Option<&[u8]>, new: Option<&[u8]>) -> Result<(), StoreError> {
        let number = bucket_of(name);
        let mut bucket = self.view.bucket(&self.keys, number)?;
        bucket.epoch = self.view.root.epoch;
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
        put_bucket(self.rows, &self.keys, number, &bucket)
    }

    /// Writes the root that vouches for what was done.
    pub(super) fn seal(mut self) -> Result<u64, StoreError> {
        self.view.masters.seal_root(&mut self.view.root);
        self.rows.put_root(&self.view.root)?;
        Ok(self.view.root.epoch)
    }
}

fn apply(header: &mut Header, edit: &Edit) {
    let Edit { kind, description, label, owner, tags } = edit.clone();
    header.kind = kind.unwrap_or(header.kind);
    header.description = description.or(header.description.take());
    header.label = label.or(header.label.take());
    header.owner = owner.or(header.owner.take());
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
