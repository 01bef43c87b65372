//! The versions of a secret that is there: which one is active, and which ones are gone for good.
//! Part of `change`.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::super::StoreError;
use super::super::model::VersionInfo;
use super::super::record::Header;
use super::super::witness::What;
use super::Change;
use crate::secret::SecretName;

/// Which versions stay when old ones are pruned. The active one always does.
#[derive(Clone, Debug)]
pub struct Keep {
    /// So many of the newest.
    pub newest: usize,
    /// Those that came at this time or later.
    pub since: Option<Timestamp>,
    /// Those that somebody names by their number.
    pub pinned: BTreeSet<u64>,
}

/// What becomes of a version when old ones are pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Goes,
    Active,
    Pinned,
    Newest,
    Young,
}

impl Keep {
    /// Those of a secret's versions, oldest first, that do not stay.
    pub fn leaves_out(&self, versions: &[VersionInfo]) -> Vec<u64> {
        let fates = self.fates(versions).into_iter();
        fates.filter(|(_, fate)| *fate == Fate::Goes).map(|(version, _)| version).collect()
    }

    /// What becomes of each of them.
    pub fn fates(&self, versions: &[VersionInfo]) -> Vec<(u64, Fate)> {
        let old = versions.len().saturating_sub(self.newest);
        let fate = |at: usize, it: &VersionInfo| match () {
            () if it.active => Fate::Active,
            () if self.pinned.contains(&it.version) => Fate::Pinned,
            () if at >= old => Fate::Newest,
            () if self.since.is_some_and(|since| it.created_at >= since) => Fate::Young,
            () => Fate::Goes,
        };
        versions.iter().enumerate().map(|(at, it)| (it.version, fate(at, it))).collect()
    }
}

impl Change<'_> {
    /// Makes a version the active one. Whether it has expired or not: that is told at each read.
    pub fn activate(&mut self, name: &SecretName, version: u64) -> Result<(), StoreError> {
        let (mut header, blob) = self.present(name)?;
        let record = self.view.record(&self.keys, &header, version);
        let record = record.map_err(|error| error.about(name.as_str()))?;
        let record = record.ok_or_else(|| missing(name, version))?;
        if header.revoked.contains_key(&version) {
            return Err(StoreError::Refused(format!("version {version} of `{name}` is revoked")));
        }
        header.show(version, &record);
        header.activated = self.stamp.now;
        header.activated_by = Some(self.stamp.by.clone());
        self.did(What::Activate, name, Some(version));
        self.put_header(&self.keys.name_mac(name.as_str()), header, Some(blob)).map(drop)
    }

    /// Removes the values of a version. Its number is never given again.
    pub fn destroy(&mut self, name: &SecretName, version: u64) -> Result<(), StoreError> {
        self.destroy_all(name, &[version])
    }

    /// The versions that there are now, oldest first.
    pub fn versions(&mut self, name: &SecretName) -> Result<Vec<VersionInfo>, StoreError> {
        let Some((header, _)) = self.find(name)? else { return Ok(Vec::new()) };
        self.view.versions(&self.keys, &header)
    }

    /// Destroys what `keep` leaves out. Returns which versions that were.
    pub fn prune(&mut self, name: &SecretName, keep: &Keep) -> Result<Vec<u64>, StoreError> {
        let old = keep.leaves_out(&self.versions(name)?);
        if !old.is_empty() {
            self.destroy_all(name, &old)?;
        }
        Ok(old)
    }

    fn destroy_all(&mut self, name: &SecretName, versions: &[u64]) -> Result<(), StoreError> {
        let (mut header, blob) = self.present(name)?;
        let mac = self.keys.name_mac(name.as_str());
        for &version in versions {
            if version == header.active {
                return Err(StoreError::Refused(format!("version {version} of `{name}` is the active one")));
            }
            if !header.has(version) {
                return Err(missing(name, version));
            }
            header.gone.insert(version);
            header.revoked.remove(&version);
            header.ends.remove(&version);
            header.prints.remove(&version);
            self.rows.remove_record(&self.keys.id, &mac, version)?;
            self.did(What::Destroy, name, Some(version));
        }
        self.put_header(&mac, header, Some(blob)).map(drop)
    }

    fn present(&mut self, name: &SecretName) -> Result<(Header, Vec<u8>), StoreError> {
        self.find(name)?.ok_or_else(|| StoreError::SecretMissing(name.to_string()))
    }
}

fn missing(name: &SecretName, version: u64) -> StoreError {
    StoreError::VersionMissing { name: name.to_string(), version }
}
