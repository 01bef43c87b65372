//! JSON as `from_json` reads it and `tojson` writes it: straight into values that are wiped. serde_json would
//! leave what it unescapes in a buffer of its own.

use std::rc::Rc;

use serde_json::Number;
use zeroize::Zeroizing;

use super::escape::write_json_string;
use super::output::{Full, Output};
use super::value::{Text, Value};

const DEEPEST: usize = 64;

/// Integers beyond this lose digits as a float, and so do most readers with them.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads a document; `None` if it is not one, or holds a number that would lose digits.
pub(super) fn read<'v>(bytes: &[u8]) -> Option<Value<'v>> {
    let mut document = Document { text: std::str::from_utf8(bytes).ok()?, deep: 0 };
    let value = document.value()?;
    document.skip_blanks();
    document.text.is_empty().then_some(value)
}

/// What is still to be read.
struct Document<'j> {
    text: &'j str,
    deep: usize,
}

impl Document<'_> {
    fn value<'v>(&mut self) -> Option<Value<'v>> {
        self.skip_blanks();
        match self.text.bytes().next()? {
            b'"' => self.string().map(Value::Text),
            b'[' => self.nested(Self::list),
            b'{' => self.nested(Self::map),
            b'-' | b'0'..=b'9' => self.number(),
            _ if self.takes("null") => Some(Value::Null),
            _ if self.takes("true") => Some(Value::Bool(true)),
            _ if self.takes("false") => Some(Value::Bool(false)),
            _ => None,
        }
    }

    fn skip_blanks(&mut self) {
        self.text = self.text.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn takes(&mut self, sign: &str) -> bool {
        let rest = self.text.strip_prefix(sign);
        self.text = rest.unwrap_or(self.text);
        rest.is_some()
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.deep += 1;
        let result = if self.deep > DEEPEST { None } else { read(self) };
        self.deep -= 1;
        result
    }

    fn number<'v>(&mut self) -> Option<Value<'v>> {
        let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let length = self.text.find(|c| !is_part(c)).unwrap_or(self.text.len());
        let (written, rest) = self.text.split_at(length);
        self.text = rest;
        let number: Number = written.parse().ok()?;
        let is_exact = number.is_i64() || number.is_u64() || number.as_f64()?.abs() < EXACT;
        is_exact.then_some(Value::Number(number))
    }

    fn list<'v>(&mut self) -> Option<Value<'v>> {
        let mut items = Vec::new();
        self.members("]", |document| {
            items.push(document.value()?);
            Some(())
        })?;
        Some(Value::List(Rc::new(items)))
    }

    fn map<'v>(&mut self) -> Option<Value<'v>> {
        let mut entries = Vec::new();
        self.members("}", |document| {
            document.skip_blanks();
            let key = document.string()?;
            document.skip_blanks();
            if !document.takes(":") {
                return None;
            }
            entries.push((key, document.value()?));
            Some(())
        })?;
        Some(Value::Map(Rc::new(entries)))
    }

    /// What stands between brackets, with commas between.
    fn members(&mut self, close: &str, mut read: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.text = &self.text[1..];
        self.skip_blanks();
        if self.takes(close) {
            return Some(());
        }
        loop {
            read(self)?;
            self.skip_blanks();
            if self.takes(close) {
                return Some(());
            }
            if !self.takes(",") {
                return None;
            }
        }
    }

    fn string<'v>(&mut self) -> Option<Text<'v>> {
        let quoted = self.text.strip_prefix('"')?;
        let length = length_of_string(quoted)?;
        // Nothing gets longer by unescaping, so the buffer never moves.
        let mut unescaped = Zeroizing::new(Vec::with_capacity(length));
        let mut rest = &quoted[..length];
        while let Some(at) = rest.find('\\') {
            unescaped.extend_from_slice(&rest.as_bytes()[..at]);
            let (c, after) = unescape(&rest[at + 1..])?;
            unescaped.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after;
        }
        unescaped.extend_from_slice(rest.as_bytes());
        self.text = &quoted[length + 1..];
        Some(unescaped.into())
    }
}

/// Up to the closing quote; `None` if there is none, or a control character before it.
fn length_of_string(quoted: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in quoted.bytes().enumerate() {
        match byte {
            0..0x20 => return None,
            b'"' if !escaped => return Some(at),
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    None
}

/// What follows a backslash: the character it stands for, and the rest.
fn unescape(text: &str) -> Option<(char, &str)> {
    let c = match text.bytes().next()? {
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        byte @ (b'"' | b'\\' | b'/') => char::from(byte),
        b'u' => return unescape_code(text),
        _ => return None,
    };
    Some((c, &text[1..]))
}

/// `uXXXX`, or `uXXXX\uXXXX` for what is beyond the first 65,536.
fn unescape_code(text: &str) -> Option<(char, &str)> {
    let (first, rest) = code(text)?;
    if let Some(c) = char::from_u32(first) {
        return Some((c, rest));
    }
    let (second, rest) = code(rest.strip_prefix('\\')?)?;
    let is_pair = (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second);
    let joined = 0x10000 + ((first & 0x3ff) << 10) + (second & 0x3ff);
    char::from_u32(joined).filter(|_| is_pair).map(|c| (c, rest))
}

fn code(text: &str) -> Option<(u32, &str)> {
    let digits = text.strip_prefix('u')?.get(..4)?;
    let is_code = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((u32::from_str_radix(digits, 16).ok().filter(|_| is_code)?, &text[5..]))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// serde_json is the judge of what is JSON and what it says.
    fn agrees(text: &str) {
        let theirs: Option<serde_json::Value> = serde_json::from_str(text).ok();
        let ours = read(text.as_bytes()).map(|value| {
            let mut out = Output::new(1 << 20);
            assert!(write(&value, &mut out).is_ok());
            serde_json::from_slice::<serde_json::Value>(out.bytes()).unwrap()
        });
        assert_eq!(ours, theirs, "{text:?}");
    }

    #[test]
    fn reads_what_is_json() {
        for text in [
            "null",
            " [ ] ",
            "{}",
            "[1,2.50,-3e2,true,false]",
            r#"{"a": {"b": [1]}, "c": "\u00e9\ud83d\ude00\n\"\\\/"}"#,
            "[1,]",
            "{\"a\":}",
            "01",
            "1.",
            "--1",
            "\"a",
            "\"\n\"",
            "\"\\x\"",
            "\"\\ud83d\"",
            "\"\\ud83dx\"",
            "\"\\u+123\"",
            "nul",
            "1 2",
            "[1 2]",
            "",
            "\"\u{e9}\"",
            "[\"a\":1]",
            "{1:2}",
            "tru",
            "\"\\ude00\\ud83d\"",
        ] {
            agrees(text);
        }
        assert!(read(b"12345678901234567890123").is_none());
        assert!(read("[".repeat(100_000).as_bytes()).is_none());
        assert!(read(b"\"\xff\"").is_none());
    }

    proptest! {
        #[test]
        fn reads_as_serde_json_does(text in r#"(["\\\[\]{},:u0-9a-f \n.-]|null|true|\\u[0-9a-f]{4}){0,12}"#) {
            // Where an exact answer is not possible ours refuses and theirs rounds.
            prop_assume!(text.chars().filter(char::is_ascii_digit).count() < 12);
            agrees(&text);
        }
    }
}
