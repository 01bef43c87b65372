//! JSON as `from_json` reads it and `tojson` writes it: straight into values that are wiped, never by way
//! of plain strings. Uses serde_json for the grammar.

use std::fmt;
use std::rc::Rc;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::escape::write_json_string;
use super::output::{Full, Output};
use super::value::{Text, Value};

/// Integers beyond this lose digits in most readers, ours included.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads a document; `None` if it is not one, or holds a number that would lose digits.
pub(super) fn read<'v>(bytes: &[u8]) -> Option<Value<'v>> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Document.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(value)
}

struct Document;

impl<'de> DeserializeSeed<'de> for Document {
    type Value = Value<'static>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document {
    type Value = Value<'static>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        let is_exact = number.abs() < EXACT;
        let number = serde_json::Number::from_f64(number).filter(|_| is_exact);
        number.map(Value::Number).ok_or_else(|| E::custom("a number that would lose digits"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::text(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Value::Text(Zeroizing::new(text.into_bytes()).into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Document)? {
            list.push(item);
        }
        Ok(Value::List(Rc::new(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map: Vec<(Text<'static>, Value<'static>)> = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            map.push((Zeroizing::new(key.into_bytes()).into(), entries.next_value_seed(Document)?));
        }
        Ok(Value::Map(Rc::new(map)))
    }
}

pub(super) enum Unwritable {
    Full,
    NotUtf8,
}

impl From<Full> for Unwritable {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

pub(super) fn write(value: &Value<'_>, out: &mut Output) -> Result<(), Unwritable> {
    match value {
        Value::Null | Value::Absent(_) => out.put(b"null")?,
        Value::Bool(yes) => out.put(if *yes { b"true" } else { b"false" })?,
        Value::Number(number) => out.put(number.to_string().as_bytes())?,
        Value::Text(text) => write_text(text, out)?,
        Value::Json(text) => out.put(text.bytes())?,
        Value::List(items) => {
            out.put(b"[")?;
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.put(b",")?;
                }
                write(item, out)?;
            }
            out.put(b"]")?;
        }
        Value::Map(entries) => write_map(entries, out)?,
    }
    Ok(())
}

fn write_map(entries: &[(Text<'_>, Value<'_>)], out: &mut Output) -> Result<(), Unwritable> {
    out.put(b"{")?;
    for (place, (key, value)) in entries.iter().enumerate() {
        if place > 0 {
            out.put(b",")?;
        }
        write_text(key, out)?;
        out.put(b":")?;
        write(value, out)?;
    }
    Ok(out.put(b"}")?)
}

fn write_text(text: &Text<'_>, out: &mut Output) -> Result<(), Unwritable> {
    let text = std::str::from_utf8(text.bytes()).map_err(|_| Unwritable::NotUtf8)?;
    Ok(write_json_string(text, out)?)
}
