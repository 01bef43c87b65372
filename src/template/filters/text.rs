//! Filters on texts and lists of texts. Bytes that are not UTF-8 pass through unchanged.

use std::rc::Rc;

use zeroize::Zeroizing;

use super::{Result, Use, Value, text_of};

const MOST_PIECES: usize = 10_000;
const WIDEST_INDENT: usize = 200;

impl<'a> Use<'_, 'a> {
    /// `indent(width)`: every line but the first; `indent(width, true)`: the first too.
    pub(super) fn indent(&mut self, bytes: &[u8]) -> Result<Value<'a>> {
        let width = self.argument_number(0, 0, WIDEST_INDENT, 4)?;
        let first = self.arguments.get(1).is_some_and(Value::is_true);
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let is_indented = |place: usize, line: &[u8]| (place > 0 || first) && !line.trim_ascii().is_empty();
        let indented = lines.clone().enumerate().filter(|(place, line)| is_indented(*place, line)).count();
        let mut text = self.buffer(bytes.len() + indented * width)?;
        for (place, line) in lines.enumerate() {
            if is_indented(place, line) {
                text.extend(std::iter::repeat_n(b' ', width));
            }
            text.extend_from_slice(line);
        }
        Ok(Value::Text(text.into()))
    }

    pub(super) fn trim(&self, bytes: &[u8]) -> Value<'a> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Value::text(text.trim()),
            Err(_) => Value::text(bytes.trim_ascii()),
        }
    }

    pub(super) fn with_case(&mut self, bytes: &[u8], change: fn(&str) -> String) -> Result<Value<'a>> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| self.fault("the value is not UTF-8, and has no letters"))?;
        Ok(Value::text(change(text)))
    }

    pub(super) fn split(&mut self, bytes: &[u8]) -> Result<Value<'a>> {
        let separator = self.argument_text(0)?.filter(|text| !text.bytes().is_empty());
        let separator = separator.ok_or_else(|| self.fault("`split` needs what to split at"))?;
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while let Some(at) = find(rest, separator.bytes()) {
            self.add(&mut pieces, &rest[..at])?;
            rest = &rest[at + separator.bytes().len()..];
        }
        self.add(&mut pieces, rest)?;
        Ok(Value::List(Rc::new(pieces)))
    }

    pub(super) fn lines(&mut self, bytes: &[u8]) -> Result<Value<'a>> {
        let mut pieces = Vec::new();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            self.add(&mut pieces, line.strip_suffix(b"\r").unwrap_or(line))?;
        }
        Ok(Value::List(Rc::new(pieces)))
    }

    fn add(&mut self, pieces: &mut Vec<Value<'a>>, piece: &[u8]) -> Result<()> {
        if pieces.len() == MOST_PIECES {
            return Err(self.fault(format!("more than {MOST_PIECES} pieces")));
        }
        self.run.spend(1, self.span)?;
        pieces.push(Value::text(piece));
        Ok(())
    }

    pub(super) fn join(&mut self, list: &Value<'a>) -> Result<Value<'a>> {
        let Value::List(items) = list else {
            return Err(self.fault(format!("`join` needs a list, and this is {}", list.kind())));
        };
        let separator = self.argument_text(0)?;
        let separator = separator.as_ref().map_or(b"".as_slice(), |text| text.bytes());
        let texts = items.iter().map(|item| text_of(item, self.span)).collect::<Result<Vec<_>>>()?;
        let between = separator.len().saturating_mul(texts.len().saturating_sub(1));
        let size = texts.iter().map(|text| text.bytes().len()).fold(between, usize::saturating_add);
        let mut joined: Zeroizing<Vec<u8>> = self.buffer(size)?;
        for (place, text) in texts.iter().enumerate() {
            if place > 0 {
                joined.extend_from_slice(separator);
            }
            joined.extend_from_slice(text.bytes());
        }
        Ok(Value::Text(joined.into()))
    }
}

/// Where `part` begins in `whole`.
pub(in crate::template) fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    let first = part[0];
    let mut from = 0;
    while let Some(at) = whole[from..].iter().position(|&byte| byte == first) {
        if whole[from + at..].starts_with(part) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}
