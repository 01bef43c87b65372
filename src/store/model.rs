//! What goes into the store and what comes out of it, values aside: in the words of `secret`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::StoreError;
use super::record::Header;
use crate::fields;
use crate::secret::{Answer, FieldName, SecretBytes, SecretName, SecretType};

/// The most bytes of one value.
pub const VALUE_LIMIT: usize = 1 << 20;
/// The most fields of one secret.
pub const FIELD_LIMIT: usize = 64;

/// The values of a version that is to be added.
pub struct NewVersion {
    pub fields: BTreeMap<FieldName, SecretBytes>,
    pub expires_at: Option<Timestamp>,
}

/// What is to be changed about a secret beside its values: `None` leaves it as it is, an empty
/// text takes it away.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    pub kind: Option<SecretType>,
    pub description: Option<String>,
    pub label: Option<String>,
    pub owner: Option<String>,
    pub tags: Option<BTreeSet<String>>,
}

/// A secret without its values.
#[derive(Clone, Debug, Serialize)]
pub struct SecretInfo {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: SecretType,
    pub fields: Vec<String>,
    pub description: Option<String>,
    pub tags: BTreeSet<String>,
    pub label: Option<String>,
    pub owner: Option<String>,
    #[serde(serialize_with = "milliseconds")]
    pub created_at: Timestamp,
    #[serde(serialize_with = "milliseconds")]
    pub updated_at: Timestamp,
    #[serde(serialize_with = "milliseconds")]
    pub activated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activated_by: Option<String>,
    #[serde(serialize_with = "milliseconds_if_any")]
    pub expires_at: Option<Timestamp>,
    #[serde(rename = "version")]
    pub active: u64,
    pub latest: u64,
    pub disabled: bool,
    /// `None` where nobody has asked for it.
    #[serde(flatten)]
    pub used: Option<Used>,
    /// Random, and never that of another secret.
    #[serde(skip)]
    pub(super) id: String,
}

/// How often a secret was given to somebody, as far as that was written down.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Used {
    #[serde(rename = "use_count")]
    pub count: u64,
    #[serde(rename = "last_used_at", serialize_with = "milliseconds_if_any")]
    pub last: Option<Timestamp>,
}

/// A version without its values.
#[derive(Clone, Debug, Serialize)]
pub struct VersionInfo {
    pub version: u64,
    pub active: bool,
    #[serde(serialize_with = "milliseconds")]
    pub created_at: Timestamp,
    pub created_by: String,
    #[serde(serialize_with = "milliseconds_if_any")]
    pub expires_at: Option<Timestamp>,
    #[serde(serialize_with = "milliseconds_if_any")]
    pub revoked_at: Option<Timestamp>,
    pub fields: Vec<String>,
}

/// Times look alike, whatever their fraction is.
fn milliseconds<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"))
}

fn milliseconds_if_any<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => milliseconds(at, to),
        None => to.serialize_none(),
    }
}

/// Answers of one commit.
pub struct Reading {
    pub answers: Vec<Answer>,
    /// The moment of that commit, in the counting of [`super::Store::pulse`].
    pub as_of: u64,
}

impl From<Header> for SecretInfo {
    fn from(header: Header) -> Self {
        Self {
            name: header.name,
            kind: header.kind,
            fields: header.fields,
            description: header.description,
            tags: header.tags,
            label: header.label,
            owner: header.owner,
            created_at: header.created,
            updated_at: header.updated,
            activated_at: header.activated,
            activated_by: header.activated_by,
            expires_at: header.expires,
            active: header.active,
            latest: header.latest,
            disabled: header.disabled,
            used: None,
            id: header.id,
        }
    }
}

impl SecretInfo {
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

impl NewVersion {
    /// A plain value.
    pub fn of_value(value: SecretBytes) -> Self {
        Self { fields: BTreeMap::from([(FieldName::value(), value)]), expires_at: None }
    }

    pub(super) fn check(&self, name: &SecretName, kind: SecretType) -> Result<(), StoreError> {
        let refuse = |why: String| Err(StoreError::Refused(format!("secret `{name}`: {why}")));
        let has = |field: &str| self.fields.contains_key(field);
        if self.fields.is_empty() || self.fields.len() > FIELD_LIMIT {
            return refuse(format!("it has {} fields; 1 to {FIELD_LIMIT} are possible", self.fields.len()));
        }
        if let Some((field, _)) = self.fields.iter().find(|(_, value)| value.len() > VALUE_LIMIT) {
            return refuse(format!("the value of `{field}` is over 1 MiB"));
        }
        if let Some(lacking) = kind.required().iter().find(|field| !has(field)) {
            return refuse(format!("its type {} needs the field `{lacking}`", kind.as_str()));
        }
        let known = |field: &str| kind.required().contains(&field) || kind.optional().contains(&field);
        match self.fields.keys().find(|field| kind != SecretType::Custom && !known(field.as_str())) {
            Some(odd) => refuse(format!("its type {} has no field `{odd}`", kind.as_str())),
            None => self.check_values(name, kind),
        }
    }

    fn check_values(&self, name: &SecretName, kind: SecretType) -> Result<(), StoreError> {
        fields::check(kind, &self.fields).map_err(|error| StoreError::Field(name.to_string(), error))
    }
}
