//! A scalar while it is held back: its text with the values in it. Without a value it is written as it was,
//! with one in double quotes.

use super::super::{Emitted, Refusal};
use crate::template::error::Span;
use crate::template::output::{Full, Output};

pub(super) struct Scalar {
    /// Wiped when it has been written.
    bytes: Output,
    /// The first value in it.
    valued: Option<Span>,
    /// Up to where values reach: blanks behind that are the template's.
    values_end: usize,
    /// A document or a number that it begins with: as long as that is all of it, no text.
    bare: Option<usize>,
    /// The template's text has a line break.
    is_broken: bool,
}

impl Scalar {
    pub(super) fn new(cap: usize) -> Self {
        Self { bytes: Output::new(cap), valued: None, values_end: 0, bare: None, is_broken: false }
    }

    pub(super) fn text(&mut self, byte: u8) -> Result<(), Refusal> {
        self.is_broken |= byte == b'\n';
        Ok(self.bytes.put(&[byte])?)
    }

    pub(super) fn value(&mut self, value: Emitted<'_>, at: Span) -> Result<(), Refusal> {
        let bytes = value.bytes();
        if self.bytes.bytes().is_empty() && self.valued.is_none() {
            self.bare = matches!(value, Emitted::Json(_) | Emitted::Bare(_)).then_some(bytes.len());
        }
        self.bytes.put(bytes)?;
        self.values_end = self.bytes.bytes().len();
        self.valued = self.valued.or(Some(at));
        Ok(())
    }

    /// Whether it is `---` or `...`, which are marks at a line's beginning.
    pub(super) fn is_marker(&self) -> bool {
        self.valued.is_none() && matches!(self.bytes.bytes(), b"---" | b"...")
    }

    pub(super) fn write_plain(&mut self, out: &mut Output) -> Result<(), Refusal> {
        let bytes = self.bytes.bytes();
        let end = bytes.trim_ascii_end().len().max(self.values_end);
        let (whole, blanks) = bytes.split_at(end);
        match self.valued {
            None => out.put(whole)?,
            Some(_) if self.bare == Some(whole.len()) => write_document(utf8(whole), out)?,
            Some(_) => write_quoted(utf8(whole), out)?,
        }
        out.put(blanks)?;
        self.clear();
        Ok(())
    }

    pub(super) fn write_single(&mut self, out: &mut Output) -> Result<(), Refusal> {
        match self.valued {
            Some(at) if self.is_broken => {
                let reason = "a value in a text of several lines";
                return Err(Refusal::at(at, reason, "put all of it on one line"));
            }
            Some(_) => write_quoted(utf8(self.bytes.bytes()), out)?,
            None => {
                self.write_unclosed(out)?;
                out.put(b"'")?;
            }
        }
        self.clear();
        Ok(())
    }

    /// What follows a `'` that the file never closes.
    pub(super) fn write_unclosed(&self, out: &mut Output) -> Result<(), Refusal> {
        if let Some(at) = self.valued {
            return Err(Refusal::at(at, "the quote before this value is never closed", "close it"));
        }
        out.put(b"'")?;
        for (place, part) in self.bytes.bytes().split(|&byte| byte == b'\'').enumerate() {
            out.put(if place > 0 { b"''" } else { b"" })?;
            out.put(part)?;
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        (self.valued, self.values_end, self.bare, self.is_broken) = (None, 0, None, false);
    }
}

/// Templates are UTF-8, and values have been looked at.
fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn write_quoted(text: &str, out: &mut Output) -> Result<(), Full> {
    out.put(b"\"")?;
    write_escaped(text, out)?;
    out.put(b"\"")
}

/// For double quotes. A blank at an end is escaped too, since a line break beside it would take it along.
pub(super) fn write_escaped(text: &str, out: &mut Output) -> Result<(), Full> {
    let last = text.len().saturating_sub(1);
    for (at, c) in text.char_indices() {
        match c {
            '"' => out.put(b"\\\"")?,
            '\\' => out.put(b"\\\\")?,
            '\n' => out.put(b"\\n")?,
            '\r' => out.put(b"\\r")?,
            '\t' => out.put(b"\\t")?,
            ' ' if at == 0 || at == last => write_code(c, out)?,
            ' '..='~' => out.put(&[c as u8])?,
            _ => write_code(c, out)?,
        }
    }
    Ok(())
}

/// A JSON document, which has characters beyond ASCII in strings only.
fn write_document(text: &str, out: &mut Output) -> Result<(), Full> {
    for c in text.chars() {
        if c.is_ascii() { out.put(&[c as u8])? } else { write_code(c, out)? }
    }
    Ok(())
}

fn write_code(c: char, out: &mut Output) -> Result<(), Full> {
    let code = c as usize;
    let (mark, digits) = if code > 0xffff { (b'U', 8) } else { (b'u', 4) };
    out.put(&[b'\\', mark])?;
    (0..digits).rev().try_for_each(|digit| out.put(&[b"0123456789abcdef"[(code >> (4 * digit)) & 0xf]]))
}
