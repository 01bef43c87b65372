//! A body of JSON, looked into without a copy: what is a value goes from the body into its own memory and
//! nowhere else. Numbers and what is nested keep their text. Errors name the place, never what is there. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::secret::SecretBytes;

/// How deep objects and lists may lie in each other.
const DEEPEST: usize = 64;

/// A value somewhere in a document that was read to its end.
#[derive(Clone, Copy)]
pub struct Json<'a>(&'a RawValue);

/// The document is none, or not the one that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("its answer is no JSON (line {line}, column {column})")]
    Broken { line: usize, column: usize },
    #[error("its answer is JSON of more than {DEEPEST} levels")]
    Deep,
    #[error("its answer has something else where {expected} belongs")]
    Other { expected: &'static str },
    #[error("its answer has an object with a member that is there twice")]
    Twice,
    #[error("its answer has no `{0}`")]
    Missing(String),
}

impl<'a> Json<'a> {
    /// The whole document is judged before anything of it is used.
    pub fn read(body: &'a [u8]) -> Result<Self, JsonError> {
        if depth(body) > DEEPEST {
            return Err(JsonError::Deep);
        }
        let broken =
            |error: serde_json::Error| JsonError::Broken { line: error.line(), column: error.column() };
        serde_json::from_slice::<&RawValue>(body).map(Self).map_err(broken)
    }

    /// The members of an object. One that is given twice is an error: two readers may mean another one each.
    pub fn members(self) -> Result<BTreeMap<Cow<'a, str>, Self>, JsonError> {
        serde_json::from_str::<Members<'a>>(self.0.get()).map(|members| members.0).map_err(|_| {
            match self.0.get().starts_with('{') {
                true => JsonError::Twice,
                false => JsonError::Other { expected: "an object" },
            }
        })
    }

    /// The member of that name; `null` is none.
    pub fn get(self, name: &str) -> Result<Option<Self>, JsonError> {
        Ok(self.members()?.remove(name).filter(|it| !it.is_null()))
    }

    /// The same, as `read` has it.
    pub fn maybe<T>(
        self,
        name: &str,
        read: impl FnOnce(Self) -> Result<T, JsonError>,
    ) -> Result<Option<T>, JsonError> {
        self.get(name)?.map(read).transpose()
    }

    /// The member at the end of these names, each of them there.
    pub fn at(self, path: &[&str]) -> Result<Self, JsonError> {
        path.iter().enumerate().try_fold(self, |json, (index, name)| {
            json.get(name)?.ok_or_else(|| JsonError::Missing(path[..=index].join(".")))
        })
    }

    pub fn items(self) -> Result<Vec<Self>, JsonError> {
        let items: Vec<&'a RawValue> = self.typed("a list")?;
        Ok(items.into_iter().map(Self).collect())
    }

    /// A text that is a secret.
    pub fn secret(self) -> Result<SecretBytes, JsonError> {
        self.typed("a text")
    }

    /// What a text of base64 stands for.
    pub fn base64(self) -> Result<SecretBytes, JsonError> {
        SecretBytes::of_base64(self.secret()?.expose()).ok_or(JsonError::Other { expected: "base64" })
    }

    /// A text that is none: a name, a time.
    pub fn text(self) -> Result<String, JsonError> {
        self.owned("a text")
    }

    pub fn whole(self) -> Result<u64, JsonError> {
        self.owned("a whole number")
    }

    pub fn flag(self) -> Result<bool, JsonError> {
        self.owned("true or false")
    }

    /// As a field of a secret holds it: a text without its quotes, anything else as it stands.
    pub fn value(self) -> SecretBytes {
        self.secret().unwrap_or_else(|_| SecretBytes::copy_of(self.0.get().as_bytes()))
    }

    pub fn is_null(self) -> bool {
        self.0.get() == "null"
    }

    fn owned<T: DeserializeOwned>(self, expected: &'static str) -> Result<T, JsonError> {
        self.typed(expected)
    }

    fn typed<T: Deserialize<'a>>(self, expected: &'static str) -> Result<T, JsonError> {
        serde_json::from_str(self.0.get()).map_err(|_| JsonError::Other { expected })
    }
}

/// Nothing of what is there.
impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.0.get().len())
    }
}

/// How many brackets are open at once, at most, outside of texts.
fn depth(body: &[u8]) -> usize {
    let (mut open, mut deepest, mut is_text, mut is_escaped) = (0_usize, 0, false, false);
    for byte in body {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' if !is_text => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

struct Members<'a>(BTreeMap<Cow<'a, str>, Json<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = BTreeMap<Cow<'de, str>, Json<'de>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some(Name(name)) = map.next_key()? {
                    if members.insert(name, Json(map.next_value()?)).is_some() {
                        return Err(A::Error::custom("a member that is given twice"));
                    }
                }
                Ok(members)
            }
        }
        from.deserialize_map(Object).map(Self)
    }
}

/// Borrowed unless something in it is escaped.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Word;
        impl<'de> Visitor<'de> for Word {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(name))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(name.to_owned()))
            }
        }
        from.deserialize_str(Word).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#" {"data": {"data": {"a": "x\n\u00e4\"", "n": 12345678901234567890.10, "o": {"k": [1, 2]}, "nil": null},
        "metadata": {"version": 7, "destroyed": false}}, "keys": ["a", "b/"], "e\u0073c": 1} "#;

    fn document() -> Json<'static> {
        Json::read(DOCUMENT.as_bytes()).unwrap()
    }

    #[test]
    fn values_are_found_where_they_are() {
        let data = document().at(&["data", "data"]).unwrap();
        assert!(data.at(&["a"]).unwrap().secret().unwrap().same_as("x\nä\"".as_bytes()));
        assert!(data.at(&["n"]).unwrap().value().same_as(b"12345678901234567890.10"));
        let encoded = Json::read(br#"["QQ\u003d=", "31337!", 31337]"#).unwrap().items().unwrap();
        assert!(encoded[0].base64().unwrap().same_as(b"A"));
        for wrong in &encoded[1..] {
            assert!(!wrong.base64().err().unwrap().to_string().contains("31337"));
        }
        assert!(data.at(&["o"]).unwrap().value().same_as(br#"{"k": [1, 2]}"#));
        assert!(data.get("nil").unwrap().is_none() && data.get("none").unwrap().is_none());
        assert_eq!(data.maybe("nil", Json::whole), Ok(None));
        assert_eq!(document().maybe("esc", Json::whole), Ok(Some(1)));
        assert!(document().maybe("esc", Json::text).is_err());
        let metadata = document().at(&["data", "metadata"]).unwrap();
        assert_eq!(metadata.at(&["version"]).unwrap().whole(), Ok(7));
        assert_eq!(metadata.at(&["destroyed"]).unwrap().flag(), Ok(false));
        assert_eq!(document().at(&["esc"]).unwrap().whole(), Ok(1));
        let keys = document().at(&["keys"]).unwrap().items().unwrap();
        assert_eq!(keys.iter().map(|key| key.text().unwrap()).collect::<Vec<_>>(), ["a", "b/"]);
        assert_eq!(data.members().unwrap().keys().collect::<Vec<_>>(), ["a", "n", "nil", "o"]);
    }

    #[test]
    fn what_is_not_there_is_named_and_what_is_there_is_not_shown() {
        let error = document().at(&["data", "nosuch", "x"]).unwrap_err();
        assert_eq!(error.to_string(), "its answer has no `data.nosuch`");
        for body in [
            "",
            "31337",
            "\"31337\"",
            "<html>31337",
            "{\"a\": \"31337\"",
            "{\"a\": \"31337\"} 31337",
            "[\"31337\"]",
            "{\"a\": \"31337\", \"a\": \"31337\"}",
            "{\"a\": \"31337\u{1}\"}",
        ] {
            let error = Json::read(body.as_bytes()).and_then(|it| it.at(&["a"])).unwrap_err();
            assert!(
                !error.to_string().contains("31337") && !format!("{error:?}").contains("31337"),
                "{error}"
            );
        }
        assert!(!format!("{:?}", document()).contains("data"));
        assert!(document().at(&["data"]).unwrap().text().is_err());
        assert!(document().at(&["keys"]).unwrap().whole().is_err());
    }

    #[test]
    fn it_is_not_deeper_than_it_may_be() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Json::read(nested(DEEPEST).as_bytes()).is_ok());
        assert_eq!(Json::read(nested(DEEPEST + 1).as_bytes()).unwrap_err(), JsonError::Deep);
        assert_eq!(Json::read("[".repeat(1 << 20).as_bytes()).unwrap_err(), JsonError::Deep);
        assert!(Json::read(format!("\"{}\\\"[[\"", "[".repeat(100)).as_bytes()).is_ok());
    }
}
