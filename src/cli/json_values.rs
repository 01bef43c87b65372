//! Values that arrive as JSON on stdin. Strings go straight into `SecretBytes`; errors say where,
//! never what.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::error::Category;

use super::exit;
use super::report::Failure;
use super::values::Fields;
use crate::secret::{FieldName, SecretBytes, SecretName};

/// `{"field": "value", …}`
pub fn fields(json: &[u8]) -> Result<Fields, Failure> {
    match parse(json)? {
        Entry::Fields(fields) => Ok(fields),
        Entry::Value(_) => Err(wrong("no object of fields")),
    }
}

/// `{"name": "value" or {"field": "value", …}, …}`
pub fn secrets(json: &[u8]) -> Result<Vec<(SecretName, Entry)>, Failure> {
    parse(json).map(|Secrets(entries)| entries)
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(json).map_err(|error| {
        wrong(format!("line {}, column {}: {}", error.line(), error.column(), cause(&error)))
    })
}

const NAME: &str = "a name that is not allowed";
const FIELD_TWICE: &str = "a field that is given twice";
const SECRET_TWICE: &str = "a secret that is given twice";
const NO_TEXT: &str = "a value that is no string";
const NO_OBJECT: &str = "no object";

/// In words of ours alone: the parser's own text quotes what it found.
fn cause(error: &serde_json::Error) -> &'static str {
    let text = error.to_string();
    match error.classify() {
        Category::Eof => "it ends too early",
        Category::Syntax | Category::Io => "it is no JSON",
        Category::Data if text.contains(SecretsVisitor::EXPECTED) => NO_OBJECT,
        Category::Data => [NAME, FIELD_TWICE, SECRET_TWICE]
            .into_iter()
            .find(|ours| text.starts_with(ours))
            .unwrap_or(NO_TEXT),
    }
}

fn wrong(place: impl fmt::Display) -> Failure {
    Failure::new(exit::DATA, format!("the JSON on stdin cannot be used: {place}"))
        .hint("names are letters, digits and `_.-/`, each once; every value is a string: {\"username\": \"app\", \"password\": \"…\"}")
}

/// A value, or the fields of a secret.
pub enum Entry {
    Value(SecretBytes),
    Fields(Fields),
}

struct Value(SecretBytes);
struct Secrets(Vec<(SecretName, Entry)>);

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an object of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Entry, E> {
        Ok(Entry::Value(SecretBytes::copy_of(text.as_bytes())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Entry, E> {
        Ok(Entry::Value(SecretBytes::new(text.into_bytes())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut fields = Fields::new();
        while let Some(name) = map.next_key::<String>()? {
            let name = FieldName::parse(&name).map_err(|_| A::Error::custom(NAME))?;
            let Value(value) = map.next_value()?;
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom(FIELD_TWICE));
            }
        }
        Ok(Entry::Fields(fields))
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(EntryVisitor)? {
            Entry::Value(value) => Ok(Self(value)),
            Entry::Fields(_) => Err(D::Error::custom(NO_TEXT)),
        }
    }
}

struct SecretsVisitor;

impl SecretsVisitor {
    const EXPECTED: &str = "an object of secrets";
}

impl<'de> Visitor<'de> for SecretsVisitor {
    type Value = Secrets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::EXPECTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secrets, A::Error> {
        let mut secrets: Vec<(SecretName, Entry)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let name = SecretName::parse(&name).map_err(|_| A::Error::custom(NAME))?;
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(SECRET_TWICE));
            }
            secrets.push((name, map.next_value()?));
        }
        Ok(Secrets(secrets))
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SecretsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_secret() {
        let fields = fields(br#"{"user": "a", "pass\u0077ord": "x\u0000\n"}"#).ok().unwrap();
        assert!(fields["user"].same_as(b"a") && fields["password"].same_as(b"x\0\n"));
    }

    #[test]
    fn many_secrets() {
        let secrets = secrets(br#"{"a/b": "v", "c": {"k": ""}}"#).ok().unwrap();
        let [(first, Entry::Value(value)), (second, Entry::Fields(fields))] = &secrets[..] else { panic!() };
        assert_eq!((first.as_str(), second.as_str()), ("a/b", "c"));
        assert!(value.same_as(b"v") && fields["k"].same_as(b""));
    }

    #[test]
    fn what_is_wrong_is_never_quoted() {
        for json in [
            r#"{"k": 31337}"#,
            r#"{"k": {"31337": "x"}}"#,
            r#"{"k": ["31337"]}"#,
            r#""31337""#,
            "31337",
            r#"{"k": "31337""#,
            r#"{"k": "31337", "k": "31337"}"#,
            r#"{"bad name": "31337"}"#,
            "",
        ] {
            let Err(failure) = fields(json.as_bytes()) else { panic!("{json}") };
            assert!(!failure.problem.contains("31337"), "{}", failure.problem);
        }
    }
}
