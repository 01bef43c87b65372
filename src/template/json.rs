//! JSON as `from_json` reads it and `tojson` writes it. Uses serde_json for the grammar.

use minijinja::Value;
use minijinja::value::ValueKind;

use super::escape::write_json_string;
use super::filters::kind;
use super::output::{Full, Output};

/// Integers beyond this lose digits as a float, and so do most readers with them.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads a document; `None` if it is not one, or holds a number that would lose digits.
pub(super) fn read(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok().filter(is_exact)
}

fn is_exact(value: &Value) -> bool {
    let parts = || value.try_iter().into_iter().flatten();
    match value.kind() {
        ValueKind::Number => {
            value.is_integer() || f64::try_from(value.clone()).is_ok_and(|number| number.abs() < EXACT)
        }
        ValueKind::Seq => parts().all(|item| is_exact(&item)),
        ValueKind::Map => parts().all(|key| value.get_item(&key).is_ok_and(|item| is_exact(&item))),
        _ => true,
    }
}

pub(super) enum Unwritable {
    Full,
    NotUtf8,
    /// Something of the engine's that no document can hold.
    Kind(&'static str),
}

impl From<Full> for Unwritable {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

pub(super) fn write(value: &Value, out: &mut Output) -> Result<(), Unwritable> {
    match value.kind() {
        ValueKind::None => out.put(b"null")?,
        ValueKind::Bool => out.put(if value.is_true() { b"true" } else { b"false" })?,
        ValueKind::Number => out.put(value.to_string().as_bytes())?,
        ValueKind::String | ValueKind::Bytes => write_text(value, out)?,
        ValueKind::Seq | ValueKind::Map => write_parts(value, out)?,
        _ => return Err(Unwritable::Kind(kind(value))),
    }
    Ok(())
}

fn write_parts(value: &Value, out: &mut Output) -> Result<(), Unwritable> {
    let is_map = value.kind() == ValueKind::Map;
    out.put(if is_map { b"{" } else { b"[" })?;
    for (place, part) in value.try_iter().into_iter().flatten().enumerate() {
        if place > 0 {
            out.put(b",")?;
        }
        write(&part, out)?;
        if is_map {
            out.put(b":")?;
            write(&value.get_item(&part).unwrap_or_default(), out)?;
        }
    }
    Ok(out.put(if is_map { b"}" } else { b"]" })?)
}

fn write_text(text: &Value, out: &mut Output) -> Result<(), Unwritable> {
    let written = text.as_str().ok_or(Unwritable::NotUtf8)?;
    if text.is_safe() { Ok(out.put(written.as_bytes())?) } else { Ok(write_json_string(written, out)?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &[u8]) -> Option<String> {
        let mut out = Output::new(1 << 20);
        assert!(write(&read(text)?, &mut out).is_ok());
        Some(String::from_utf8(out.bytes().to_vec()).unwrap())
    }

    #[test]
    fn what_is_read_is_written_again() {
        for text in ["null", "[]", "{}", "[1,2.5,-300.0,true,false]", r#"{"b":{"a":[1]},"a":"\"\\\n"}"#] {
            assert_eq!(written(text.as_bytes()).as_deref(), Some(text));
        }
        assert_eq!(written(br#""\u00e9\ud83d\ude00\/""#).unwrap(), "\"\u{e9}\u{1f600}/\"");
        assert_eq!(written(br#"{"a": 1, "a": 2}"#).unwrap(), r#"{"a":2}"#);
    }

    #[test]
    fn what_is_not_json_or_not_exact_is_refused() {
        for text in
            ["[1,]", "01", "\"a", "\"\\ud83d\"", "1 2", "", "[12345678901234567890123]", "{\"a\":[1e300]}"]
        {
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
        assert!(read("[".repeat(100_000).as_bytes()).is_none());
        assert!(read(b"\"\xff\"").is_none());
    }
}
