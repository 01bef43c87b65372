//! Filters on texts and lists of texts. Bytes that are not UTF-8 pass through unchanged.

use std::borrow::Cow;

use super::{Result, Use, Value, find, items, kind, text, text_of};

const MOST_PIECES: usize = 10_000;
const WIDEST_INDENT: usize = 200;

impl Use<'_> {
    /// `indent(width)`: every line but the first; `indent(width, true)`: the first too.
    pub(super) fn indent(&mut self, bytes: &[u8]) -> Result<Value> {
        let width = self.argument_number(0, 0, WIDEST_INDENT, 4)?;
        let first = self.arguments.get(1).is_some_and(Value::is_true);
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let is_indented = |place: usize, line: &[u8]| (place > 0 || first) && !line.trim_ascii().is_empty();
        let indented = lines.clone().enumerate().filter(|(place, line)| is_indented(*place, line)).count();
        let mut wider = self.buffer(bytes.len() + indented * width)?;
        for (place, line) in lines.enumerate() {
            if is_indented(place, line) {
                wider.extend(std::iter::repeat_n(b' ', width));
            }
            wider.extend_from_slice(line);
        }
        Ok(text(&wider))
    }

    pub(super) fn trim(&self, bytes: &[u8]) -> Value {
        match std::str::from_utf8(bytes) {
            Ok(whole) => Value::from(whole.trim()),
            Err(_) => text(bytes.trim_ascii()),
        }
    }

    pub(super) fn with_case(&mut self, bytes: &[u8], change: fn(&str) -> String) -> Result<Value> {
        let whole = std::str::from_utf8(bytes)
            .map_err(|_| self.fault("the value is not UTF-8, and has no letters"))?;
        Ok(Value::from(change(whole)))
    }

    pub(super) fn split(&mut self, bytes: &[u8]) -> Result<Value> {
        let separator = self.argument_text(0)?.filter(|separator| !separator.is_empty());
        let separator = separator.ok_or_else(|| self.fault("`split` needs what to split at"))?;
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while let Some(at) = find(rest, &separator) {
            self.add(&mut pieces, &rest[..at])?;
            rest = &rest[at + separator.len()..];
        }
        self.add(&mut pieces, rest)?;
        Ok(Value::from(pieces))
    }

    pub(super) fn lines(&mut self, bytes: &[u8]) -> Result<Value> {
        let mut pieces = Vec::new();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            self.add(&mut pieces, line.strip_suffix(b"\r").unwrap_or(line))?;
        }
        Ok(Value::from(pieces))
    }

    fn add(&mut self, pieces: &mut Vec<Value>, piece: &[u8]) -> Result<()> {
        if pieces.len() == MOST_PIECES {
            return Err(self.fault(format!("more than {MOST_PIECES} pieces")));
        }
        self.spend(1)?;
        pieces.push(text(piece));
        Ok(())
    }

    pub(super) fn join(&mut self, list: &Value) -> Result<Value> {
        let Some(items) = items(list) else {
            return Err(self.fault(format!("`join` needs a list, and this is {}", kind(list))));
        };
        let separator = self.argument_text(0)?.unwrap_or(Cow::Borrowed(b""));
        let texts = items.iter().map(|item| text_of(item, self.span)).collect::<Result<Vec<_>>>()?;
        let between = separator.len().saturating_mul(texts.len().saturating_sub(1));
        let size = texts.iter().map(|text| text.len()).fold(between, usize::saturating_add);
        let mut joined = self.buffer(size)?;
        for (place, text) in texts.iter().enumerate() {
            if place > 0 {
                joined.extend_from_slice(&separator);
            }
            joined.extend_from_slice(text);
        }
        Ok(text(&joined))
    }
}
