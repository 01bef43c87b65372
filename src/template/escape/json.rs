//! `json`: at a value's place a text becomes a string with its quotes, within a string its characters.

use serde::de::IgnoredAny;

use super::{Emitted, Encoder, Refusal};
use crate::template::error::Span;
use crate::template::output::{Full, Output};

#[derive(Default)]
pub(super) struct Json {
    place: Place,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    /// After a `/` that may begin a comment.
    Slash,
    /// JSON has no comments, but its relatives do, and a quote in one must not be taken for a string's.
    LineComment,
    BlockComment {
        star: bool,
    },
    /// `escape` counts the characters that an escape sequence still wants.
    String {
        escape: u8,
    },
    /// JSON5's other quotes.
    SingleQuotes,
}

impl Place {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Outside | Self::Slash, b'"') => Self::String { escape: 0 },
            (Self::Outside | Self::Slash, b'\'') => Self::SingleQuotes,
            (Self::Outside, b'/') => Self::Slash,
            (Self::Slash, b'/') => Self::LineComment,
            (Self::Slash, b'*') => Self::BlockComment { star: false },
            (Self::Slash, _) => Self::Outside,
            (Self::LineComment, b'\n') => Self::Outside,
            (Self::BlockComment { star: true }, b'/') => Self::Outside,
            (Self::BlockComment { .. }, _) => Self::BlockComment { star: byte == b'*' },
            (Self::String { escape: 0 }, b'"') => Self::Outside,
            (Self::String { escape: 0 }, b'\\') => Self::String { escape: 1 },
            // A `\u` wants four more.
            (Self::String { escape: 1 }, b'u') => Self::String { escape: 5 },
            (Self::String { escape: 1 }, _) => Self::String { escape: 0 },
            (Self::String { escape: 2 }, _) => Self::String { escape: 0 },
            (Self::String { escape: left @ 3.. }, _) => Self::String { escape: left - 1 },
            (place, _) => place,
        }
    }
}

impl Encoder for Json {
    fn text(&mut self, text: &[u8], out: &mut Output) -> Result<(), Refusal> {
        self.place = text.iter().fold(self.place, |place, &byte| place.after(byte));
        Ok(out.put(text)?)
    }

    fn value(&mut self, value: Emitted<'_>, _at: Span, out: &mut Output) -> Result<(), Refusal> {
        let bytes = value.bytes();
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(Refusal::here("the value is not UTF-8, and JSON is", "encode it: `| b64encode`"));
        };
        match (self.place, value) {
            (Place::Outside, Emitted::Json(_) | Emitted::Bare(_)) => Ok(out.put(bytes)?),
            (Place::Outside, _) => Ok(write_string(text, out)?),
            (Place::String { .. }, Emitted::Quoted(_)) => {
                Err(Refusal::here("`quote` within quotes", "leave one of them out"))
            }
            (Place::String { escape: 0 }, _) => Ok(write_characters(text, out)?),
            (Place::String { .. }, _) => Err(Refusal::here(
                "the value would go on with the escape sequence before it",
                "write the backslash as `\\\\`",
            )),
            (Place::LineComment | Place::BlockComment { .. } | Place::Slash, _) => {
                Err(Refusal::here("a value in a comment, which JSON does not have", "take it out"))
            }
            (Place::SingleQuotes, _) => {
                Err(Refusal::here("a value in single quotes, which JSON does not have", "use double quotes"))
            }
        }
    }

    fn finish(&mut self, _out: &mut Output) -> Result<(), Refusal> {
        Ok(())
    }
}

/// A JSON string with its quotes.
pub(in crate::template) fn write_string(text: &str, out: &mut Output) -> Result<(), Full> {
    out.put(b"\"")?;
    write_characters(text, out)?;
    out.put(b"\"")
}

fn write_characters(text: &str, out: &mut Output) -> Result<(), Full> {
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let short: &[u8] = match c {
            '"' => b"\\\"",
            '\\' => b"\\\\",
            '\n' => b"\\n",
            '\r' => b"\\r",
            '\t' => b"\\t",
            // The two that end a line in JavaScript, and all that some reader might stumble over.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                out.put(&text.as_bytes()[plain..at])?;
                write_code(c, out)?;
                plain = at + c.len_utf8();
                continue;
            }
            _ => continue,
        };
        out.put(&text.as_bytes()[plain..at])?;
        out.put(short)?;
        plain = at + c.len_utf8();
    }
    out.put(&text.as_bytes()[plain..])
}

fn write_code(c: char, out: &mut Output) -> Result<(), Full> {
    let digit = |shift: u32| b"0123456789abcdef"[(c as usize >> shift) & 0xf];
    out.put(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)])
}

pub(super) fn verify(output: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(output) else {
        return Err("the rendered file is not UTF-8, and JSON is".to_owned());
    };
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("the rendered file is not valid JSON: broken at its line {line}, column {column}")
    })
}
