//! Reads the store as of one commit: from rows that nobody trusts to answers that are right, or
//! an error. Uses the rows of `backend` and the keys of `keyring`.

use std::cell::OnceCell;
use std::sync::Arc;

use jiff::Timestamp;

use super::backend::{HeaderRow, Read, RootRow};
use super::cipher::Mac;
use super::index::{FANOUT, Leaf};
use super::keyring::{Masters, NamespaceKeys, RecordPlace};
use super::record::{Header, Record};
use super::spaces::Spaces;
use super::uses::Tallies;
use super::{StoreError, VersionInfo};
use crate::secret::{Absent, Answer, Namespace, SecretName, SecretVersion};

pub(super) struct View<'a> {
    pub(super) rows: &'a dyn Read,
    pub(super) masters: &'a Masters,
    pub(super) root: RootRow,
    /// What it vouches for, and whether it does.
    pub(super) spaces: OnceCell<(Spaces, bool)>,
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
        Ok(Self::under(rows, masters, root))
    }

    /// Under a root that is not the one of the rows, or is not to be checked.
    pub(super) fn under(rows: &'a dyn Read, masters: &'a Masters, root: RootRow) -> Self {
        Self { rows, masters, root, spaces: OnceCell::new() }
    }

    /// The keys of a namespace; `None` if there is none.
    pub(super) fn namespace(&self, name: &Namespace) -> Result<Option<NamespaceKeys>, StoreError> {
        let store = &self.root.store;
        let space = self.spaces()?.named(&self.masters.namespace_mac(store, name));
        space.map(|space| self.masters.unwrap(store, &space.row, &space.keys)).transpose()
    }

    pub(super) fn namespaces(&self) -> Result<Vec<Namespace>, StoreError> {
        let names =
            self.spaces()?.iter().map(|space| self.masters.namespace_name(&self.root.store, &space.row));
        let mut names = names.collect::<Result<Vec<_>, _>>()?;
        names.sort();
        Ok(names)
    }

    /// The header of a secret; `None` if there is none.
    pub(super) fn header(
        &self,
        keys: &NamespaceKeys,
        name: &SecretName,
    ) -> Result<Option<Header>, StoreError> {
        let mac = keys.name_mac(name.as_str());
        let row = self.rows.header(&keys.id, &mac)?;
        self.check_header(keys, &mac, row.as_ref().map(|row| row.header.as_slice()))
            .and_then(|()| row.map(|row| open_row(keys, &row)).transpose())
            .map_err(|error| error.about(name.as_str()))
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
        let row = self.rows.secret(&keys.id, &mac, version)?;
        let checked = self.check_header(keys, &mac, row.as_ref().map(|row| row.header.as_slice()));
        let answer = checked.and_then(|()| match row {
            None => Ok(Err(Absent::Missing)),
            Some(row) => open_header(keys, &mac, row.active, &row.header)
                .and_then(|header| open_version(keys, &mac, &header, version, row.record, asked)),
        });
        answer.map_err(|error| error.about(name.as_str()))
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
        open_record(keys, (&name, header), version, blob).map(Some)
    }

    /// All headers of a namespace, by name.
    pub(super) fn headers(&self, keys: &NamespaceKeys) -> Result<Vec<Header>, StoreError> {
        let mut headers = Vec::new();
        for node in 0..FANOUT {
            for row in self.rows_below(keys, node)? {
                headers.push(open_row(keys, &row)?);
            }
        }
        headers.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(headers)
    }

    /// The versions that there are, oldest first.
    pub(super) fn versions(
        &self,
        keys: &NamespaceKeys,
        header: &Header,
    ) -> Result<Vec<VersionInfo>, StoreError> {
        self.read_versions(keys, header).map_err(|error| error.about(&header.name))
    }

    fn read_versions(&self, keys: &NamespaceKeys, header: &Header) -> Result<Vec<VersionInfo>, StoreError> {
        let mac = keys.name_mac(&header.name);
        let mut versions = Vec::new();
        for (version, blob) in self.rows.records(&keys.id, &mac)? {
            let record = open_record(keys, (&mac, header), version, &blob)?;
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
            true => Ok(versions),
            false => Err(StoreError::corrupt("a version is gone")),
        }
    }

    /// The epoch of the last change to a secret, or to those that it would be among.
    pub(super) fn last_change(&self, keys: &NamespaceKeys, name: &SecretName) -> Result<u64, StoreError> {
        if let Some(header) = self.header(keys, name)? {
            return Ok(header.epoch);
        }
        let (vouched, _) = self.members(keys, Leaf::of(&keys.name_mac(name.as_str())))?;
        Ok(vouched.epoch)
    }
}

pub(super) fn open_row(keys: &NamespaceKeys, row: &HeaderRow) -> Result<Header, StoreError> {
    open_header(keys, &row.name, row.active, &row.header)
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

fn open_record(
    keys: &NamespaceKeys,
    (name, header): (&Mac, &Header),
    version: u64,
    blob: &[u8],
) -> Result<Record, StoreError> {
    if !header.is_record(version, blob) {
        return Err(another_record(version));
    }
    let place = RecordPlace { name, secret: &header.id, version };
    Record::decode(&keys.open_record(place, blob)?)
}

pub(super) fn another_record(version: u64) -> StoreError {
    StoreError::corrupt(format!("version {version} is not the one that was written last"))
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
    if !header.has(wanted) {
        return Ok(Err(Absent::Missing));
    }
    let (found, blob) = record.ok_or_else(|| StoreError::corrupt(format!("version {wanted} is gone")))?;
    if found != wanted {
        return Err(StoreError::corrupt("its row says another version than its header"));
    }
    let record = open_record(keys, (name, header), wanted, &blob)?;
    if header.disabled || header.revoked.contains_key(&wanted) {
        return Ok(Err(Absent::Revoked));
    }
    let expires_at = header.end_of(wanted, &record);
    if expires_at.is_some_and(|end| end <= asked.now) {
        return Ok(Err(Absent::Expired));
    }
    let is_active = wanted == header.active;
    Ok(Ok(Arc::new(SecretVersion {
        turned_out: None,
        kind: record.kind.unwrap_or(header.kind),
        fields: record.fields,
        version: wanted,
        created_at: header.created,
        updated_at: if is_active { header.activated } else { record.created },
        expires_at,
        uses: asked.tallies.of(&header.id),
    })))
}
