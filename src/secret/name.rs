//! Names of secrets, fields and namespaces: what is allowed, and what is said when it is not.
//! Pure; uses std only.

use std::fmt;
use std::str::FromStr;

/// 1–128 of `[A-Za-z0-9_.\-/]`, no empty, `.` or `..` segment, no leading or trailing `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

/// 1–64 of `[A-Za-z0-9_.\-]`, beginning with a letter or `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldName(String);

/// A unit of isolation in the store: like a secret's name, or `user:<uid>`, or `mirror:<provider>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the {what} is empty")]
    Empty { what: &'static str },
    #[error("the {what} has {length} characters; {most} are the most")]
    TooLong { what: &'static str, length: usize, most: usize },
    /// `name` ends at it: what follows may be a value (`NAME=VALUE`).
    #[error("the {what} `{name}…` has a character that is not allowed: {found:?} (allowed are {allowed})")]
    Character { what: &'static str, name: String, found: char, allowed: &'static str },
    #[error("the {what} `{name}` has an empty, `.` or `..` part between its slashes")]
    Segment { what: &'static str, name: String },
    #[error("the {what} `{name}` must begin with a letter or `_`")]
    FirstCharacter { what: &'static str, name: String },
}

impl SecretName {
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_path(text, "secret's name")?;
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FieldName {
    /// The single field of a plain secret.
    pub const VALUE: &str = "value";

    pub fn parse(text: &str) -> Result<Self, NameError> {
        let what = "field's name";
        check_length(text, what, 64)?;
        check_characters(text, what, "letters, digits, `_`, `.`, `-`", |c| {
            c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
        })?;
        if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(NameError::FirstCharacter { what, name: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }

    pub fn value() -> Self {
        Self(Self::VALUE.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Namespace {
    pub const DEFAULT: &str = "default";
    /// Deploy-time secrets, which no workload gets by accident.
    pub const DEPLOY: &str = "deploy";
    const MIRROR: &str = "mirror:";
    /// How the names of files with such secrets begin.
    pub const DEPLOY_FILES: &str = ".env.deploy";

    pub fn parse(text: &str) -> Result<Self, NameError> {
        let namespace = Self(text.to_owned());
        match namespace.0.strip_prefix(Self::MIRROR) {
            Some(provider) => check_path(provider, "namespace")?,
            None if namespace.user().is_some() => {}
            None => check_path(text, "namespace")?,
        }
        Ok(namespace)
    }

    /// That of the copies which are kept of what this provider answers.
    pub fn of_mirror(provider: &str) -> Result<Self, NameError> {
        Self::parse(&format!("{}{provider}", Self::MIRROR))
    }

    /// The user whose own it is.
    pub fn user(&self) -> Option<u32> {
        let digits = self.0.strip_prefix("user:")?;
        digits.parse::<u32>().ok().filter(|uid| uid.to_string() == digits)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

fn check_path(text: &str, what: &'static str) -> Result<(), NameError> {
    check_length(text, what, 128)?;
    check_characters(text, what, "letters, digits, `_`, `.`, `-`, `/`", |c| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/')
    })?;
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(NameError::Segment { what, name: text.to_owned() });
    }
    Ok(())
}

fn check_length(text: &str, what: &'static str, most: usize) -> Result<(), NameError> {
    let length = text.chars().count();
    match length {
        0 => Err(NameError::Empty { what }),
        _ if length > most => Err(NameError::TooLong { what, length, most }),
        _ => Ok(()),
    }
}

fn check_characters(
    text: &str,
    what: &'static str,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<(), NameError> {
    match text.char_indices().find(|(_, c)| !is_allowed(*c)) {
        None => Ok(()),
        Some((at, found)) => Err(NameError::Character { what, name: text[..at].to_owned(), found, allowed }),
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
    )*};
}
as_text!(SecretName, FieldName, Namespace);

impl std::borrow::Borrow<str> for FieldName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_names() {
        for good in ["a", "DB_PASSWORD", "db/prod.password-1", &"x".repeat(128)] {
            assert!(SecretName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a b",
            "a\n",
            "ä",
            "a\u{430}",
            "a:b",
            "a#b",
            &"x".repeat(129),
        ] {
            assert!(SecretName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn field_names() {
        assert!(FieldName::parse("access_token").is_ok());
        for bad in ["", "1a", "-a", "a/b", "a b"] {
            assert!(FieldName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn namespaces() {
        for good in ["user:1000", "mirror:vault", "mirror:my_etcd-2"] {
            assert!(Namespace::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["user:", "user:01", "user:-1", "user:x", "other:1", "mirror:", "mirror:a:b", "mirror:../a"]
        {
            assert!(Namespace::parse(bad).is_err(), "{bad:?}");
        }
    }
}
