//! What a secret is like, for who does not know its name. Pure; uses std only.

use std::fmt;

use super::SecretType;

/// The one secret with this label, and of this type if that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Never empty.
    pub label: String,
    pub kind: Option<SecretType>,
}

impl Selector {
    /// How it stands in a key in place of a name: no name has a `=`.
    pub fn to_path(&self) -> String {
        match self.kind {
            Some(kind) => format!("type={},label={}", kind.as_str(), self.label),
            None => format!("label={}", self.label),
        }
    }

    pub fn of_path(path: &str) -> Option<Self> {
        let (kind, rest) = match path.strip_prefix("type=") {
            Some(rest) => {
                let (kind, rest) = rest.split_once(',')?;
                (Some(SecretType::parse(kind)?), rest)
            }
            None => (None, path),
        };
        let label = rest.strip_prefix("label=").filter(|label| !label.is_empty())?;
        Some(Self { label: label.to_owned(), kind })
    }

    pub fn fits(&self, label: &str, kind: SecretType) -> bool {
        self.label == label && self.kind.is_none_or(|wanted| wanted == kind)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "with the label `{}`", self.label)?;
        match self.kind {
            Some(kind) => write!(f, " and the type {}", kind.as_str()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretName;

    #[test]
    fn a_path_reads_back_and_is_no_name() {
        for label in ["openai", "a,b=c", "type=plain,label=x", "ä b", "@1#x"] {
            for kind in SecretType::ALL.map(Some).into_iter().chain([None]) {
                let selector = Selector { label: label.into(), kind };
                assert_eq!(Selector::of_path(&selector.to_path()).as_ref(), Some(&selector));
                assert!(SecretName::parse(&selector.to_path()).is_err());
            }
        }
        for path in ["a", "", "label=", "type=plain", "type=odd,label=x", "type=plain,label="] {
            assert_eq!(Selector::of_path(path), None, "{path}");
        }
    }
}
