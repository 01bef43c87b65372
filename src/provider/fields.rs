//! What a program has printed or a file has, as the fields of a secret. Errors say what is wrong, never what is
//! there. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::ProviderError;
use crate::net::{Json, JsonError};
use crate::secret::{FieldName, SecretBytes, SecretType};

pub(super) type Fields = BTreeMap<FieldName, SecretBytes>;

/// The most fields of one secret.
pub(super) const MOST: usize = 256;

/// The value as `secretfs set` reads it: a single line without its newline, anything else as it is.
pub(super) fn of_text(printed: &[u8]) -> Fields {
    let line = printed.strip_suffix(b"\n").filter(|line| !line.contains(&b'\n'));
    of_value(line.unwrap_or(printed))
}

/// These bytes.
pub(super) fn of_value(value: &[u8]) -> Fields {
    BTreeMap::from([(FieldName::value(), SecretBytes::copy_of(value))])
}

/// `{"field": "value", …}`: every value is a text.
pub(super) fn of_json(printed: &[u8]) -> Result<Fields, String> {
    let fields = serde_json::from_slice::<Object>(printed).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("printed no JSON object of texts (line {line}, column {column})")
    })?;
    match fields.0.len() {
        0 => Err("printed an object without a field".to_owned()),
        1..=MOST => Ok(fields.0),
        _ => Err(format!("printed more than {MOST} fields")),
    }
}

/// The bytes as they are, and the members beside them if they are an object of JSON. An object whose members cannot all
/// be told is refused: one of them would look as if it were missing.
#[cfg_attr(not(feature = "etcd"), allow(dead_code, reason = "not each provider uses it"))]
pub(super) fn with_members(value: SecretBytes) -> Result<(SecretType, Fields), ProviderError> {
    let mut fields = members_of(value.expose())?;
    let kind = if fields.is_empty() { SecretType::Plain } else { SecretType::Custom };
    fields.insert(FieldName::value(), value);
    Ok((kind, fields))
}

/// What can be no field is not one.
fn members_of(value: &[u8]) -> Result<Fields, ProviderError> {
    if value.trim_ascii_start().first() != Some(&b'{') {
        return Ok(Fields::new());
    }
    let json = match Json::read(value) {
        Ok(json) => json,
        Err(JsonError::Broken { .. }) => return Ok(Fields::new()),
        Err(_) => return Err(ProviderError::Invalid("its value is JSON of too many levels".to_owned())),
    };
    let members = json.members().map_err(|_| {
        ProviderError::Invalid("its value is an object of JSON with a member that is there twice".to_owned())
    })?;
    let field = |(name, json): (Cow<'_, str>, Json<'_>)| {
        let name = FieldName::parse(&name).ok().filter(|_| !json.is_null())?;
        Some((name, json.value()))
    };
    let fields: Fields = members.into_iter().filter_map(field).collect();
    match fields.len() < MOST {
        true => Ok(fields),
        false => {
            Err(ProviderError::TooLarge(format!("its value is an object of more than {} members", MOST - 1)))
        }
    }
}

struct Object(Fields);

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut fields = Fields::new();
        while let Some(name) = map.next_key::<String>()? {
            let name = FieldName::parse(&name).map_err(|_| A::Error::custom("a field's name"))?;
            if fields.insert(name, map.next_value()?).is_some() || fields.len() > MOST {
                return Err(A::Error::custom("a field that is given twice, or too many"));
            }
        }
        Ok(Object(fields))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_loses_its_newline_and_nothing_else_is_touched() {
        for (printed, value) in
            [("a\n", "a"), ("a", "a"), ("", ""), ("\n", ""), ("a\n\n", "a\n\n"), ("a\nb\n", "a\nb\n")]
        {
            assert!(of_text(printed.as_bytes())["value"].same_as(value.as_bytes()), "{printed:?}");
        }
    }

    #[test]
    fn an_object_of_texts_gives_fields() {
        let fields = of_json(br#" {"user": "a", "pass": "x\u0000\n"} "#).ok().unwrap();
        assert!(fields["user"].same_as(b"a") && fields["pass"].same_as(b"x\0\n"));
    }

    #[test]
    fn what_is_wrong_is_never_quoted() {
        let many =
            format!("{{{}}}", Vec::from_iter((0..=MOST).map(|n| format!("\"a{n}\": \"31337\""))).join(","));
        for printed in [
            "",
            "31337",
            "{}",
            "<html>31337",
            r#"{"a": 31337}"#,
            r#"{"a": {"b": "31337"}}"#,
            r#"{"a": "31337", "a": "31337"}"#,
            r#"{"31337!": "b"}"#,
            r#"{"a": "31337"} 31337"#,
            &many,
        ] {
            let Err(why) = of_json(printed.as_bytes()) else { panic!("{printed}") };
            assert!(!why.contains("31337"), "{why}");
        }
    }

    #[test]
    fn a_value_is_itself_and_its_members_if_it_has_some() {
        for plain in ["", "hunter2\n", "[1]", "{", "{}", "\"{}\"", "{\"1\": 2}"] {
            let (kind, fields) = with_members(SecretBytes::copy_of(plain.as_bytes())).unwrap();
            assert!(kind == SecretType::Plain && fields.len() == 1, "{plain}");
            assert!(fields["value"].same_as(plain.as_bytes()));
        }
        let object =
            r#" {"user": "u", "port": 5432, "on": {"k": [1]}, "none": null, "no name": "x", "value": "v"}"#;
        let (kind, fields) = with_members(SecretBytes::copy_of(object.as_bytes())).unwrap();
        assert_eq!(kind, SecretType::Custom);
        assert_eq!(Vec::from_iter(fields.keys().map(FieldName::as_str)), ["on", "port", "user", "value"]);
        assert!(fields["user"].same_as(b"u") && fields["port"].same_as(b"5432"));
        assert!(fields["on"].same_as(br#"{"k": [1]}"#) && fields["value"].same_as(object.as_bytes()));
    }

    #[test]
    fn an_object_that_cannot_be_told_as_a_whole_is_refused() {
        let many = |count| Vec::from_iter((0..count).map(|n| format!("\"a{n}\": \"31337\""))).join(",");
        let read = |text: &str| with_members(SecretBytes::copy_of(format!("{{{text}}}").as_bytes()));
        assert!(read(&many(MOST - 1)).is_ok(), "the control");
        let deep = format!("\"a\": {}31337{}", "[".repeat(70), "]".repeat(70));
        for text in [&many(MOST), "\"a\": 31337, \"a\": 2", &deep] {
            let Err(why) = read(text) else { panic!("{text}") };
            assert!(!why.to_string().contains("31337"), "{why}");
        }
    }
}
