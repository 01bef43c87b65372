//! One version of a secret as a provider hands it out, and the reasons why there is none.
//! Uses jiff for time.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{FieldName, SecretBytes, SecretName, SecretType, Uses};

/// The fields of one immutable version, with what a template may ask about it.
pub struct SecretVersion {
    /// Which secret it turned out to be, where it was asked for by what it is like.
    pub turned_out: Option<SecretName>,
    pub kind: SecretType,
    pub fields: BTreeMap<FieldName, SecretBytes>,
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// Where it is counted that somebody was given a value of it; `None` where nobody wants to know.
    pub uses: Option<Arc<Uses>>,
}

impl SecretVersion {
    /// Whether the values are the same, in as many steps whatever they are.
    pub fn has_values_of(&self, other: &Self) -> bool {
        let same =
            |((name, value), (its_name, its)): ((&FieldName, &SecretBytes), (&FieldName, &SecretBytes))| {
                name == its_name && value.same_as(its.expose())
            };
        self.fields.len() == other.fields.len() && self.fields.iter().zip(&other.fields).all(same)
    }
}

/// Why there is no value. Only [`Absent::Missing`] can be passed over by `default` and `fallback`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// No such secret, or no such version of it.
    #[error("there is no such secret")]
    Missing,
    #[error("it has expired")]
    Expired,
    #[error("it is revoked or disabled")]
    Revoked,
    /// Asked for by what it is like, and as many secrets are like that.
    #[error("{0} secrets are like that")]
    Ambiguous(usize),
}

/// What a provider says to one question.
pub type Answer = Result<Arc<SecretVersion>, Absent>;
