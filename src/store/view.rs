//! Reads the store as of one commit: from rows that nobody trusts to answers that are right, or
//! an error. Uses the rows of `backend` and the keys of `keyring`.

use std::sync::Arc;

use jiff::Timestamp;

use super::backend::{HeaderRow, Read, RootRow, Write};
use super::cipher::{Mac, same};
use super::index::{BUCKETS, Bucket, Sum, bucket_of};
use super::keyring::{Masters, NamespaceKeys, RecordPlace};
use super::record::{Header, Record};
use super::seen::{Changes, Members, beginning};
use super::uses::Tallies;
use super::{StoreError, VersionInfo};
use crate::secret::{Absent, Answer, Namespace, SecretName, SecretVersion};

pub(super) struct View<'a> {
    pub(super) rows: &'a dyn Read,
    pub(super) masters: &'a Masters,
    pub(super) root: RootRow,
}

/// When a value is asked for, and where it is counted that it was given.
pub(super) struct Asked<'a> {
    pub(super) now: Timestamp,
    pub(super) tallies: &'a Tallies,
}

impl<'a> View<'a> {
    pub(super) fn new(rows: &'a dyn Read, masters: &'a Masters) -> Result<Self, StoreError> {
        let root = rows.root()?;
        masters.check_root(&root)?;
        Ok(Self { rows, masters, root })
    }

    /// The keys of a namespace. That there is none is checked against what the root vouches for.
    pub(super) fn namespace(&self, name: &Namespace) -> Result<Option<NamespaceKeys>, StoreError> {
        let store = &self.root.store;
        let mac = self.masters.namespace_mac(store, name);
        let Some(row) = self.rows.namespace(&mac)? else {
            return self.check_keyring(Some(&mac)).map(|()| None);
        };
        if row.name_mac != mac {
            return Err(StoreError::corrupt("a namespace was found under another name"));
        }
        self.masters.unwrap(store, &row, &self.rows.keys(&row.id)?).map(Some)
    }

    /// Whether the namespaces and keys are those that the root vouches for, and `absent` is none
    /// of them: a damaged index finds nothing, too.
    pub(super) fn check_keyring(&self, absent: Option<&Mac>) -> Result<(), StoreError> {
        let mut sum = Sum::default();
        let mut is_absent = true;
        for namespace in self.rows.namespaces()? {
            is_absent &= absent != Some(&namespace.name_mac);
            self.masters.count_in(&mut sum, &namespace, &self.rows.keys(&namespace.id)?);
        }
        match is_absent && same(&sum.0, &self.root.keyring) {
            true => Ok(()),
            false => Err(StoreError::corrupt("a namespace or a key was removed or changed")),
        }
    }

    /// Writes a root that vouches for the namespaces and keys as they are now, on `self` the old one
    /// having been checked. Returns the new epoch.
    pub(super) fn vouch_for_keyring(
        &mut self,
        rows: &dyn Write,
        masters: &Masters,
    ) -> Result<u64, StoreError> {
        let mut sum = Sum::default();
        for namespace in rows.namespaces()? {
            masters.count_in(&mut sum, &namespace, &rows.keys(&namespace.id)?);
        }
        self.root.epoch += 1;
        self.root.keyring_epoch = self.root.epoch;
        self.root.keyring = sum.0;
        masters.seal_root(&mut self.root);
        rows.put_root(&self.root)?;
        Ok(self.root.epoch)
    }

    pub(super) fn namespaces(&self) -> Result<Vec<Namespace>, StoreError> {
        self.check_keyring(None)?;
        let rows = self.rows.namespaces()?;
        let names = rows.iter().map(|row| self.masters.namespace_name(&self.root.store, row));
        let mut names = names.collect::<Result<Vec<_>, _>>()?;
        names.sort();
        Ok(names)
    }

    /// The header of a secret. That there is none is checked against the seal of its bucket.
    pub(super) fn header(
        &self,
        keys: &NamespaceKeys,
        name: &SecretName,
    ) -> Result<Option<Header>, StoreError> {
        match self.find(keys, name)? {
            Some((header, _)) => Ok(Some(header)),
            None => self.check_absent(keys, &keys.name_mac(name.as_str()), None).map(|()| None),
        }
    }

    /// The header with its blob. That there is none is not checked.
    pub(super) fn find(
        &self,
        keys: &NamespaceKeys,
        name: &SecretName,
    ) -> Result<Option<(Header, Vec<u8>)>, StoreError> {
        let mac = keys.name_mac(name.as_str());
        let Some(row) = self.rows.header(&keys.id, &mac)? else { return Ok(None) };
        let header =
            open_header(keys, &mac, row.active, &row.header).map_err(|error| error.about(name.as_str()))?;
        Ok(Some((header, row.header)))
    }

    /// One version of a secret, the active one if none is named.
    pub(super) fn answer(
        &self,
        keys: &NamespaceKeys,
        name: &SecretName,
        version: Option<u64>,
        asked: &Asked<'_>,
    ) -> Result<Answer, StoreError> {
        let mac = keys.name_mac(name.as_str());
        match self.rows.secret(&keys.id, &mac, version)? {
            None => self.check_absent(keys, &mac, None).map(|()| Err(Absent::Missing)),
            Some(row) => open_header(keys, &mac, row.active, &row.header)
                .and_then(|header| open_version(keys, &mac, &header, version, row.record, asked))
                .map_err(|error| error.about(name.as_str())),
        }
    }

    /// The record of the active version, for whoever writes the next one.
    pub(super) fn active(&self, keys: &NamespaceKeys, header: &Header) -> Result<Record, StoreError> {
        self.record(keys, header, header.active)
            .and_then(|record| record.ok_or_else(|| StoreError::corrupt("its active version is gone")))
            .map_err(|error| error.about(&header.name))
    }

    /// The record of a version; `None` if there never was one, or no longer is.
    pub(super) fn record(
        &self,
        keys: &NamespaceKeys,
        header: &Header,
        version: u64,
    ) -> Result<Option<Record>, StoreError> {
        if !header.has(version) {
            return Ok(None);
        }
        let mac = keys.name_mac(&header.name);
        let row = self.rows.secret(&keys.id, &mac, Some(version))?;
        let blob = row.and_then(|row| row.record).map(|(_, blob)| blob);
        self.open_stored(keys, header, version, blob.as_ref())
    }

    /// Opens the blob of a version that should be there.
    pub(super) fn open_stored(
        &self,
        keys: &NamespaceKeys,
        header: &Header,
        version: u64,
        blob: Option<&Vec<u8>>,
    ) -> Result<Option<Record>, StoreError> {
        let blob = blob.ok_or_else(|| StoreError::corrupt(format!("version {version} is gone")))?;
        let name = keys.name_mac(&header.name);
        open_record(keys, RecordPlace { name: &name, secret: &header.id, version }, blob).map(Some)
    }

    /// All headers of a namespace, checked to be all.
    pub(super) fn headers(&self, keys: &NamespaceKeys) -> Result<Vec<Header>, StoreError> {
        let mut headers = Vec::new();
        let mut found = vec![Bucket::default(); usize::from(BUCKETS)];
        self.rows.headers(&keys.id, None, &mut |row| {
            count_in(&mut found[usize::from(bucket_of(&row.name))], keys, &row);
            headers.push(open_header(keys, &row.name, row.active, &row.header)?);
            Ok(())
        })?;
        for (bucket, found) in (0..BUCKETS).zip(found) {
            compare(&self.bucket(keys, bucket)?, &found)?;
        }
        headers.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(headers)
    }

    /// Whether these are all the secrets of a bucket.
    pub(super) fn check_bucket(
        &self,
        keys: &NamespaceKeys,
        bucket: u8,
        rows: &[HeaderRow],
    ) -> Result<(), StoreError> {
        let mut found = Bucket::default();
        rows.iter().for_each(|row| count_in(&mut found, keys, row));
        compare(&self.bucket(keys, bucket)?, &found)
    }

    pub(super) fn open_row(&self, keys: &NamespaceKeys, row: &HeaderRow) -> Result<Header, StoreError> {
        open_header(keys, &row.name, row.active, &row.header)
    }

    /// The versions that there are, oldest first.
    pub(super) fn versions(
        &self,
        keys: &NamespaceKeys,
        name: &SecretName,
    ) -> Result<Option<Vec<VersionInfo>>, StoreError> {
        let Some(header) = self.header(keys, name)? else { return Ok(None) };
        let mac = keys.name_mac(name.as_str());
        let mut versions = Vec::new();
        for (version, blob) in self.rows.records(&keys.id, &mac)? {
            let place = RecordPlace { name: &mac, secret: &header.id, version };
            let record = open_record(keys, place, &blob).map_err(|error| error.about(name.as_str()))?;
            let expires_at = header.end_of(version, &record);
            versions.push(VersionInfo {
                version,
                active: version == header.active,
                created_at: record.created,
                created_by: record.created_by,
                expires_at,
                revoked_at: header.revoked.get(&version).copied(),
                fields: record.fields.keys().map(ToString::to_string).collect(),
            });
        }
        let due = (1..=header.latest).filter(|&version| header.has(version));
        match versions.iter().map(|version| version.version).eq(due) {
            true => Ok(Some(versions)),
            false => Err(StoreError::corrupt("a version is gone").about(name.as_str())),
        }
    }

    /// The epoch of the last change to a secret, or to those that it would be among.
    pub(super) fn last_change(&self, keys: &NamespaceKeys, name: &SecretName) -> Result<u64, StoreError> {
        let mac = keys.name_mac(name.as_str());
        match self.rows.header(&keys.id, &mac)? {
            Some(row) => open_header(keys, &mac, row.active, &row.header)
                .map(|header| header.epoch)
                .map_err(|error| error.about(name.as_str())),
            None => self.bucket(keys, bucket_of(&mac)).map(|bucket| bucket.epoch),
        }
    }

    pub(super) fn bucket(&self, keys: &NamespaceKeys, bucket: u8) -> Result<Bucket, StoreError> {
        let sealed = self.rows.bucket(&keys.id, bucket)?;
        let sealed = sealed.ok_or_else(|| StoreError::corrupt("a bucket is gone"))?;
        Bucket::open(keys.bucket_key(), &keys.bucket_place(bucket), &sealed)
    }

    /// Remembers when each bucket changed last, unless that is known as of this commit.
    pub(super) fn look_at_changes(&self, keys: &NamespaceKeys) -> Result<(), StoreError> {
        if keys.changes().is_some_and(|changes| changes.as_of == self.root.epoch) {
            return Ok(());
        }
        let buckets = (0..BUCKETS).map(|bucket| self.bucket(keys, bucket)).collect::<Result<Vec<_>, _>>()?;
        keys.remember_changes(Changes::new(self.root.epoch, buckets.into_iter()));
        Ok(())
    }

    /// Whether the bucket that this secret would be in is whole without it: a damaged index
    /// finds nothing, too. `sealed` is what the bucket shall hold, if its seal says otherwise.
    pub(super) fn check_absent(
        &self,
        keys: &NamespaceKeys,
        name: &Mac,
        sealed: Option<&Bucket>,
    ) -> Result<(), StoreError> {
        let bucket = bucket_of(name);
        let sealed = match sealed {
            Some(sealed) => *sealed,
            None => self.bucket(keys, bucket)?,
        };
        if keys.members(bucket).is_some_and(|members| members.lack(&sealed, name)) {
            return Ok(());
        }
        let (mut found, mut names, mut is_absent) = (Bucket::default(), Vec::new(), true);
        self.rows.headers(&keys.id, Some(bucket), &mut |row| {
            is_absent &= row.name != *name;
            names.push(beginning(&row.name));
            count_in(&mut found, keys, &row);
            Ok(())
        })?;
        if !is_absent {
            return Err(StoreError::corrupt("a secret is there that its index does not find"));
        }
        compare(&sealed, &found)?;
        keys.remember_members(bucket, Members::new(sealed, names));
        Ok(())
    }
}

pub(super) fn count_in(bucket: &mut Bucket, keys: &NamespaceKeys, row: &HeaderRow) {
    bucket.count += 1;
    bucket.sum.add(&keys.member(&row.name, &row.header));
}

pub(super) fn compare(sealed: &Bucket, found: &Bucket) -> Result<(), StoreError> {
    match sealed.count == found.count && sealed.sum == found.sum {
        true => Ok(()),
        false => Err(StoreError::corrupt("a secret was removed, or replaced by an older one")),
    }
}

pub(super) fn open_header(
    keys: &NamespaceKeys,
    name: &Mac,
    active: u64,
    blob: &[u8],
) -> Result<Header, StoreError> {
    let header = Header::decode(&keys.open_header(name, blob)?)?;
    match header.active == active && keys.name_mac(&header.name) == *name {
        true => Ok(header),
        false => Err(StoreError::corrupt("its row says another version than its header")),
    }
}

fn open_record(keys: &NamespaceKeys, place: RecordPlace<'_>, blob: &[u8]) -> Result<Record, StoreError> {
    Record::decode(&keys.open_record(place, blob)?)
}

fn open_version(
    keys: &NamespaceKeys,
    name: &Mac,
    header: &Header,
    version: Option<u64>,
    record: Option<(u64, Vec<u8>)>,
    asked: &Asked<'_>,
) -> Result<Answer, StoreError> {
    let wanted = version.unwrap_or(header.active);
    if header.gone.contains(wanted) {
        return Ok(Err(Absent::Revoked));
    }
    let Some((found, blob)) = record else {
        return match (1..=header.latest).contains(&wanted) {
            true => Err(StoreError::corrupt(format!("version {wanted} is gone"))),
            false => Ok(Err(Absent::Missing)),
        };
    };
    if found != wanted {
        return Err(StoreError::corrupt("its row says another version than its header"));
    }
    let record = open_record(keys, RecordPlace { name, secret: &header.id, version: wanted }, &blob)?;
    if header.disabled || header.revoked.contains_key(&wanted) {
        return Ok(Err(Absent::Revoked));
    }
    let expires_at = header.end_of(wanted, &record);
    if expires_at.is_some_and(|end| end <= asked.now) {
        return Ok(Err(Absent::Expired));
    }
    let is_active = wanted == header.active;
    Ok(Ok(Arc::new(SecretVersion {
        kind: record.kind.unwrap_or(header.kind),
        fields: record.fields,
        version: wanted,
        created_at: header.created,
        updated_at: if is_active { header.activated } else { record.created },
        expires_at,
        uses: asked.tallies.of(&header.id),
    })))
}
