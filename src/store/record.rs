//! What is inside a sealed blob: the header of a secret and the record of a version, padded so
//! that a size on the disk tells little. Pure; uses serde for the header.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::StoreError;
use super::change::hex;
use super::cipher::tag_of;
use super::gone::Gone;
use crate::secret::{FieldName, SecretBytes, SecretType};

/// What is known of a secret beside its values. Fields added later need a default.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) name: String,
    /// Random, made with the secret and bound into its records, so that a record of a removed
    /// secret does not fit a new one of the same name.
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: SecretType,
    pub(super) fields: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) tags: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    pub(super) created: Timestamp,
    /// When anything of it changed.
    pub(super) updated: Timestamp,
    /// When the active version became that.
    pub(super) activated: Timestamp,
    /// Who made an older version the active one again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) activated_by: Option<String>,
    /// Of the active version, so that a list needs no records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<Timestamp>,
    pub(super) active: u64,
    /// The highest version that there ever was.
    pub(super) latest: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) disabled: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) revoked: BTreeMap<u64, Timestamp>,
    /// When versions expire of which that was changed later: in place of what their records say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) ends: BTreeMap<u64, Option<Timestamp>>,
    /// Versions whose records were destroyed.
    #[serde(default, skip_serializing_if = "Gone::is_empty")]
    pub(super) gone: Gone,
    /// Which record of each version it is: one of the same number, of a time when the store went on
    /// otherwise, is another. Of a version from before there was this, there is none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) prints: BTreeMap<u64, String>,
    /// The store's epoch of its last change.
    pub(super) epoch: u64,
}

fn print_of(sealed: &[u8]) -> String {
    let tag = tag_of(sealed);
    hex(&tag[..tag.len().min(8)])
}

impl Header {
    /// When this version of it expires.
    pub(super) fn end_of(&self, version: u64, record: &Record) -> Option<Timestamp> {
        self.ends.get(&version).copied().unwrap_or(record.expires)
    }

    /// Whether there is such a version.
    pub(super) fn has(&self, version: u64) -> bool {
        (1..=self.latest).contains(&version) && !self.gone.contains(version)
    }

    /// Says which record it is, sealed.
    pub(super) fn note_record(&mut self, version: u64, sealed: &[u8]) {
        self.prints.insert(version, print_of(sealed));
    }

    /// Whether this is the record of that version.
    pub(super) fn is_record(&self, version: u64, sealed: &[u8]) -> bool {
        self.prints.get(&version).is_none_or(|print| *print == print_of(sealed))
    }

    /// Makes a version the active one.
    pub(super) fn show(&mut self, version: u64, record: &Record) {
        self.active = version;
        self.kind = record.kind.unwrap_or(self.kind);
        self.expires = self.end_of(version, record);
        self.fields = record.fields.keys().map(ToString::to_string).collect();
    }

    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let json = Zeroizing::new(serde_json::to_vec(self).expect("a header is plain data"));
        pad(&json)
    }

    pub(super) fn decode(padded: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(unpad(padded)?)
            .map_err(|_| StoreError::corrupt("a header is not what this version writes"))
    }
}

/// One version: its values and when they came.
pub(super) struct Record {
    pub(super) created: Timestamp,
    pub(super) created_by: String,
    /// Those of the first layout do not say it: they are of the secret's type.
    pub(super) kind: Option<SecretType>,
    pub(super) expires: Option<Timestamp>,
    pub(super) fields: BTreeMap<FieldName, SecretBytes>,
}

/// The layout of what follows, all numbers little-endian: created i64 (ms), expires i64 (ms, MIN
/// for never), created_by (u32 length, bytes), type (its place in `SecretType::ALL`; not in the first
/// layout), count u32, then name and value of each field.
const LAYOUT: u8 = 2;
const FIRST_LAYOUT: u8 = 1;

impl Record {
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let fields: usize =
            self.fields.iter().map(|(name, value)| 8 + name.as_str().len() + value.len()).sum();
        // The whole room at once: growing would leave a copy of a value behind.
        let mut out = Zeroizing::new(Vec::with_capacity(96 + self.created_by.len() + fields));
        out.push(if self.kind.is_some() { LAYOUT } else { FIRST_LAYOUT });
        out.extend_from_slice(&self.created.as_millisecond().to_le_bytes());
        out.extend_from_slice(&self.expires.map_or(i64::MIN, Timestamp::as_millisecond).to_le_bytes());
        put_bytes(&mut out, self.created_by.as_bytes());
        out.extend(
            self.kind.and_then(|kind| SecretType::ALL.iter().position(|it| *it == kind)).map(|at| at as u8),
        );
        out.extend_from_slice(&(self.fields.len() as u32).to_le_bytes());
        for (name, value) in &self.fields {
            put_bytes(&mut out, name.as_str().as_bytes());
            put_bytes(&mut out, value.expose());
        }
        pad(&out)
    }

    pub(super) fn decode(padded: &[u8]) -> Result<Self, StoreError> {
        Self::read(unpad(padded)?)
            .ok_or_else(|| StoreError::corrupt("a record is not what this version writes"))
    }

    fn read(mut rest: &[u8]) -> Option<Self> {
        let (&layout, after) = rest.split_first()?;
        if !matches!(layout, FIRST_LAYOUT | LAYOUT) {
            return None;
        }
        rest = after;
        let created = Timestamp::from_millisecond(take_i64(&mut rest)?).ok()?;
        let expires = match take_i64(&mut rest)? {
            i64::MIN => None,
            ms => Some(Timestamp::from_millisecond(ms).ok()?),
        };
        let created_by = take_text(&mut rest)?.to_owned();
        let kind = match layout {
            FIRST_LAYOUT => None,
            _ => Some(*SecretType::ALL.get(usize::from(*take(&mut rest, 1)?.first()?))?),
        };
        let count = take_u32(&mut rest)?;
        let mut fields = BTreeMap::new();
        for _ in 0..count {
            let name = FieldName::parse(take_text(&mut rest)?).ok()?;
            fields.insert(name, SecretBytes::copy_of(take_bytes(&mut rest)?));
        }
        rest.is_empty().then_some(Self { created, created_by, kind, expires, fields })
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?))
}

fn take_i64(rest: &mut &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_u32(rest)?;
    take(rest, length as usize)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(rest)?).ok()
}

/// Length, content, zeros up to 64 · 2^k.
fn pad(content: &[u8]) -> Zeroizing<Vec<u8>> {
    let room = room_for(content);
    let mut padded = Zeroizing::new(Vec::with_capacity(room));
    put_bytes(&mut padded, content);
    padded.resize(room, 0);
    padded
}

fn room_for(content: &[u8]) -> usize {
    (4 + content.len()).next_power_of_two().max(64)
}

fn unpad(padded: &[u8]) -> Result<&[u8], StoreError> {
    let mut rest = padded;
    match take_bytes(&mut rest) {
        Some(content) if padded.len() == room_for(content) && rest.iter().all(|&byte| byte == 0) => {
            Ok(content)
        }
        _ => Err(StoreError::corrupt("a record is not padded as this version does")),
    }
}

#[cfg(test)]
mod tests;
