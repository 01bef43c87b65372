//! Where a provider's own secret comes from: the config names the place and never holds the value.
//! Pure; uses the words of `secret`.

use std::fmt;
use std::path::PathBuf;

use crate::config::base::Base;
use crate::config::word::Scalar;
use crate::secret::Reference;

/// The place of a token, a password or a key with which a provider is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of our environment, which no child of ours gets.
    Variable(String),
    File(PathBuf),
    /// One that systemd has given us (`LoadCredential=`).
    Credential(String),
    /// The embedded store.
    Store(Reference),
}

const STORE: &str = "store";
/// What is said where somebody seems to have written the secret itself.
pub(in crate::config) const NO_PLACE_FOR_A_VALUE: &str = "a value has no place in the config";

impl SecretSource {
    /// A relative path begins where the config lies.
    pub(super) fn under(self, base: &Base<'_>) -> Self {
        match self {
            Self::File(path) => Self::File(base.path(path)),
            other => other,
        }
    }
}

/// A text that is no secret: itself, or where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextSource {
    Text(String),
    From(SecretSource),
}

impl TextSource {
    pub(super) fn under(self, base: &Base<'_>) -> Self {
        match self {
            Self::From(source) => Self::From(source.under(base)),
            text => text,
        }
    }
}

impl Scalar for TextSource {
    const EXPECTED: &'static str =
        "a text, or its place: ${VARIABLE}, file:PATH, credential:NAME or store:NAME";

    fn judge(text: &str) -> Result<Self, String> {
        match SecretSource::judge(text) {
            Ok(source) => Ok(Self::From(source)),
            Err(_) if text.is_empty() || text.contains(['\0', '\n']) || text.starts_with("${") => {
                Err(format!("expected {}", Self::EXPECTED))
            }
            Err(_) => Ok(Self::Text(text.to_owned())),
        }
    }
}

/// As it is written; never a value.
impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "${{{name}}}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Credential(name) => write!(f, "credential:{name}"),
            Self::Store(reference) => reference.fmt(f),
        }
    }
}

impl Scalar for SecretSource {
    const EXPECTED: &'static str =
        "the place of a secret: ${VARIABLE}, file:PATH, credential:NAME or store:NAME";

    /// What is wrong may be the secret itself, and is not shown.
    fn judge(text: &str) -> Result<Self, String> {
        let refused = || Err(format!("expected {}; {NO_PLACE_FOR_A_VALUE}", Self::EXPECTED));
        if let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            return if is_name { Ok(Self::Variable(name.to_owned())) } else { refused() };
        }
        match text.split_once(':') {
            Some(("file", path)) => PathBuf::judge(path).map(Self::File),
            Some(("credential", name)) if !name.is_empty() && !name.contains(['/', '\0']) && name != ".." => {
                Ok(Self::Credential(name.to_owned()))
            }
            Some((STORE, _)) => Reference::parse(text).map(Self::Store).or_else(|_| refused()),
            _ => refused(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_place_and_prints_back() {
        for text in ["${TOKEN}", "file:/run/token", "credential:token", "store:vault#secret_id"] {
            assert_eq!(SecretSource::judge(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_value_is_refused_and_not_shown() {
        for text in
            ["s.31337", "$31337", "${31337", "${a b 31337}", "vault:31337#a", "credential:../31337", ""]
        {
            let Err(why) = SecretSource::judge(text) else { panic!("{text}") };
            assert!(!why.contains("31337") && why.contains("${VARIABLE}"), "{why}");
        }
    }
}
