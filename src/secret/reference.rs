//! What a template names: `KEY.field`, or explicit `provider:path#field@version`. Pure; uses std only.

use std::fmt;

use super::name::{FieldName, NameError};

/// What is fetched: one version of one secret. No provider means: the one that the config gives
/// for this name, else the default one. No version means: the active one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretKey {
    pub provider: Option<String>,
    pub path: String,
    pub version: Option<u64>,
}

/// What is read: one field of it. No field means the one that a plain secret has, `value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    pub key: SecretKey,
    pub field: Option<FieldName>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("the reference `{0}` names no secret")]
    NoPath(String),
    #[error("`{0}` is not a provider's name (letters, digits, `_`, `-`)")]
    Provider(String),
    #[error("`@{0}` is not a version (a number from 1)")]
    Version(String),
    #[error(transparent)]
    Field(#[from] NameError),
}

impl SecretKey {
    pub fn named(path: &str) -> Self {
        Self { provider: None, path: path.to_owned(), version: None }
    }
}

impl Reference {
    /// Reads `[provider:]path[#field][@version]`. A dot belongs to the path: whether `a.b` means
    /// field `b` of `a` is for the command line and the templates to say, by their own rules.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let (rest, version) = match text.rsplit_once('@') {
            Some((rest, number)) => (rest, Some(parse_version(number)?)),
            None => (text, None),
        };
        let (rest, field) = match rest.split_once('#') {
            Some((rest, field)) => (rest, Some(FieldName::parse(field)?)),
            None => (rest, None),
        };
        let (provider, path) = match rest.split_once(':') {
            Some((provider, path)) => (Some(parse_provider(provider)?), path),
            None => (None, rest),
        };
        if path.is_empty() {
            return Err(ReferenceError::NoPath(text.to_owned()));
        }
        Ok(Self { key: SecretKey { provider, path: path.to_owned(), version }, field })
    }

    /// The reading in which the last dot parts a secret from its field, if the text leaves room for it.
    pub fn dot_as_field(&self) -> Option<Self> {
        if self.field.is_some() || self.key.provider.is_some() {
            return None;
        }
        let (name, field) = self.key.path.rsplit_once('.')?;
        let field = FieldName::parse(field).ok()?;
        let key = SecretKey { path: name.to_owned(), ..self.key.clone() };
        (!name.is_empty()).then_some(Self { key, field: Some(field) })
    }

    /// The field's name, `value` if none is named.
    pub fn field_name(&self) -> &str {
        self.field.as_ref().map_or(FieldName::VALUE, FieldName::as_str)
    }
}

fn parse_version(text: &str) -> Result<u64, ReferenceError> {
    match text.parse() {
        Ok(version) if version > 0 && !text.starts_with('+') => Ok(version),
        _ => Err(ReferenceError::Version(text.to_owned())),
    }
}

fn parse_provider(text: &str) -> Result<String, ReferenceError> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if text.is_empty() || !text.chars().all(is_word) {
        return Err(ReferenceError::Provider(text.to_owned()));
    }
    Ok(text.to_owned())
}

impl fmt::Display for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(provider) = &self.provider {
            write!(f, "{provider}:")?;
        }
        f.write_str(&self.path)?;
        match self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(provider) = &self.key.provider {
            write!(f, "{provider}:")?;
        }
        f.write_str(&self.key.path)?;
        if let Some(field) = &self.field {
            write!(f, "#{field}")?;
        }
        match self.key.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_prints_back() {
        for text in ["a", "a/b.c", "vault:kv/app#password", "vault:kv/app#password@3", "a@1", "a#b"] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses() {
        for text in ["", ":a", "a b:c", "#f", "a#", "a@0", "a@x", "a@+1", "vault:"] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }
}
