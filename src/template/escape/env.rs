//! `env`: lines of `KEY=value`. A value with everything beside it, up to the closing quote or the line's
//! end, is held back and then quoted as a whole, in the way that all readers of the dialect understand.

use super::quoting::Encoded;
use super::{Emitted, Encoder, Refusal};
use crate::template::error::Span;
use crate::template::format::Dialect;
use crate::template::output::Output;

pub(super) struct Env {
    dialect: Dialect,
    place: Place,
    /// The value that is held back. Wiped when it has been written.
    held: Output,
    pieces: Vec<Piece>,
    /// The dotenv readers no longer agree about where they are, because of the template's own text.
    doubt: bool,
}

#[derive(Clone, Copy)]
enum Place {
    /// Before the `=`. `written` is a value that stands there.
    Key {
        blank: bool,
        written: Option<Span>,
    },
    /// After the `=`.
    BeforeValue,
    /// Within a value: 0 or the quote that it began with.
    Value {
        quote: u8,
        escaped: bool,
    },
    /// After the closing quote. `valued` is a value within these quotes.
    AfterValue {
        valued: Option<Span>,
    },
    Comment {
        escaped: bool,
    },
}

/// Up to where in `held`, and which value it is; none if it is the template's text.
struct Piece {
    end: usize,
    value: Option<Span>,
}

const LINE_START: Place = Place::Key { blank: true, written: None };

impl Env {
    pub(super) fn new(dialect: Dialect, cap: usize) -> Self {
        Self { dialect, place: LINE_START, held: Output::new(cap), pieces: Vec::new(), doubt: false }
    }

    /// Takes in the next byte of text, and says where it leads.
    fn byte(&mut self, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        let ends_line = matches!(byte, b'\n' | b'\r');
        match self.place {
            Place::Value { quote, escaped } => self.byte_of_value(byte, quote, escaped, out),
            Place::BeforeValue if !ends_line && !matches!(byte, b' ' | b'\t') => self.begin_value(byte, out),
            Place::Key { .. } if self.dialect == Dialect::Dotenv && self.dialect.quotes().contains(&byte) => {
                self.doubt = true;
                Ok(out.put(&[byte])?)
            }
            Place::Key { written: Some(at), .. } if ends_line => Err(Refusal::at(
                at,
                "the value stands on a line that is not `NAME=value`",
                "write a name and `=` before it, or set `format: text`",
            )),
            Place::AfterValue { valued } if !ends_line => self.byte_after(byte, valued, out),
            place => {
                self.place = self.follow(place, byte);
                Ok(out.put(&[byte])?)
            }
        }
    }

    /// The places that text goes through without more.
    fn follow(&self, place: Place, byte: u8) -> Place {
        let continues = self.dialect == Dialect::Systemd;
        match (place, byte) {
            (Place::Comment { escaped: true }, _) => Place::Comment { escaped: false },
            (Place::Comment { .. }, b'\\') if continues => Place::Comment { escaped: true },
            (_, b'\n' | b'\r') => LINE_START,
            (Place::Key { blank: true, .. }, _) if self.dialect.begins_comment(byte) => {
                Place::Comment { escaped: false }
            }
            (Place::Key { .. }, b'=') => Place::BeforeValue,
            (Place::Key { blank, written }, _) => {
                Place::Key { blank: blank && byte.is_ascii_whitespace(), written }
            }
            (place, _) => place,
        }
    }

    fn begin_value(&mut self, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        if self.dialect.quotes().contains(&byte) {
            self.place = Place::Value { quote: byte, escaped: false };
            return Ok(());
        }
        self.place = Place::Value { quote: 0, escaped: false };
        self.byte(byte, out)
    }

    fn byte_of_value(&mut self, byte: u8, quote: u8, escaped: bool, out: &mut Output) -> Result<(), Refusal> {
        if self.dialect == Dialect::Dotenv {
            // For some readers the quote is closed here, and for some backquotes are none.
            self.doubt |= (escaped && byte == quote) || (quote == b'`' && byte == b'\n');
        }
        if !escaped && quote != 0 && byte == quote {
            let valued = self.write_value(quote, out)?;
            self.place = Place::AfterValue { valued };
            return Ok(());
        }
        if !escaped && quote == 0 && self.ends_bare(byte) {
            self.write_value(0, out)?;
            self.place = if byte == b'#' { Place::Comment { escaped: false } } else { LINE_START };
            return Ok(out.put(&[byte])?);
        }
        let escaped = !escaped && byte == b'\\' && self.dialect.escapes_in(quote);
        self.place = Place::Value { quote, escaped };
        self.hold(&[byte], None)
    }

    fn ends_bare(&self, byte: u8) -> bool {
        let after_blank = matches!(self.held.bytes().last(), None | Some(b' ' | b'\t'));
        matches!(byte, b'\n' | b'\r') || (byte == b'#' && after_blank && self.dialect.has_trailing_comments())
    }

    /// Text after a quoted value, on the same line.
    fn byte_after(&mut self, byte: u8, valued: Option<Span>, out: &mut Output) -> Result<(), Refusal> {
        match (byte, valued) {
            (b' ' | b'\t', _) => {}
            (b'#', _) if self.dialect.has_trailing_comments() => {
                self.place = Place::Comment { escaped: false };
            }
            (_, Some(at)) => {
                return Err(Refusal::at(
                    at,
                    "text follows the closing quote of this value, and readers disagree about it",
                    "put all of the value into the quotes, and a comment on a line of its own",
                ));
            }
            // There the value goes on, and may open quotes again.
            (_, None) if self.dialect == Dialect::Systemd => return self.begin_value(byte, out),
            (_, None) => self.doubt = true,
        }
        Ok(out.put(&[byte])?)
    }

    fn hold(&mut self, bytes: &[u8], value: Option<Span>) -> Result<(), Refusal> {
        self.held.put(bytes)?;
        let end = self.held.bytes().len();
        match self.pieces.last_mut() {
            Some(last) if last.value.is_none() && value.is_none() => last.end = end,
            _ => self.pieces.push(Piece { end, value }),
        }
        Ok(())
    }

    /// Writes what is held, and says which value was in it.
    fn write_value(&mut self, quote: u8, out: &mut Output) -> Result<Option<Span>, Refusal> {
        let valued = self.pieces.iter().find_map(|piece| piece.value);
        match valued {
            None => self.write_as_is(quote, out)?,
            Some(at) if quote == b'`' => {
                return Err(Refusal::at(
                    at,
                    "a value in backquotes, which only node reads",
                    "use `'` or `\"`",
                ));
            }
            Some(at) => self.write_quoted(quote, at, out)?,
        }
        self.held.clear();
        self.pieces.clear();
        Ok(valued)
    }

    fn write_as_is(&self, quote: u8, out: &mut Output) -> Result<(), Refusal> {
        let quotes: &[u8] = if quote == 0 { b"" } else { &[quote] };
        out.put(quotes)?;
        out.put(self.held.bytes())?;
        Ok(out.put(quotes)?)
    }

    fn write_quoted(&self, quote: u8, at: Span, out: &mut Output) -> Result<(), Refusal> {
        let is_plain = self.literals().all(|literal| self.dialect.is_plain(literal, quote));
        if !is_plain && quote == 0 {
            return Err(Refusal::at(
                at,
                "the text beside this value has characters that mean something without quotes",
                "put all of it into quotes: `NAME=\"…\"`",
            ));
        }
        if !is_plain {
            return self.write_pieces(quote, out);
        }
        let whole = if quote == 0 { self.without_trailing_blanks() } else { self.held.bytes() };
        let text = utf8(whole, at)?;
        written(self.dialect.write_whole(text, quote, out)?, at)?;
        Ok(out.put(&self.held.bytes()[whole.len()..])?)
    }

    /// Blanks that the template has at a bare value's end are not part of it.
    fn without_trailing_blanks(&self) -> &[u8] {
        let held = self.held.bytes();
        let values_end =
            self.pieces.iter().filter(|piece| piece.value.is_some()).map(|piece| piece.end).max();
        let (kept, rest) = held.split_at(values_end.unwrap_or(0));
        &held[..kept.len() + rest.trim_ascii_end().len()]
    }

    /// The template's text as it is, with each value written among it.
    fn write_pieces(&self, quote: u8, out: &mut Output) -> Result<(), Refusal> {
        out.put(&[quote])?;
        let mut start = 0;
        for piece in &self.pieces {
            let bytes = &self.held.bytes()[start..piece.end];
            if let Some(at) = piece.value {
                self.check_before(&self.held.bytes()[..start], at)?;
                written(self.dialect.write_within(utf8(bytes, at)?, quote, out)?, at)?;
            } else {
                out.put(bytes)?;
            }
            start = piece.end;
        }
        Ok(out.put(&[quote])?)
    }

    /// What stands before the value must not take it in: an escape or an expansion that is still open.
    fn check_before(&self, before: &[u8], at: Span) -> Result<(), Refusal> {
        let backslashes = before.iter().rev().take_while(|&&byte| byte == b'\\').count();
        let expansion = before.iter().rposition(|&byte| byte == b'$').map(|dollar| &before[dollar + 1..]);
        let open = expansion.is_some_and(|name| match name.first() {
            Some(b'{') => !name.contains(&b'}'),
            _ => name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'),
        });
        let dotenv_backslash = self.dialect == Dialect::Dotenv && before.contains(&b'\\');
        if backslashes % 2 == 1 || open || dotenv_backslash {
            return Err(Refusal::at(
                at,
                "the text before this value, with its `\\` or `$`, would take the value in",
                "give the value a variable of its own",
            ));
        }
        Ok(())
    }

    fn literals(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.pieces.iter().map(|piece| piece.end));
        let pieces = self.pieces.iter().zip(starts).filter(|(piece, _)| piece.value.is_none());
        pieces.map(|(piece, start)| &self.held.bytes()[start..piece.end])
    }

    fn value_in_key(&mut self, bytes: &[u8], blank: bool, at: Span, out: &mut Output) -> Result<(), Refusal> {
        let is_name = bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if bytes.is_empty() || !is_name || (blank && bytes[0].is_ascii_digit()) {
            return Err(Refusal::here(
                "a variable's name can only have letters, digits and `_`",
                "write the value after `NAME=`, or set `format: text`",
            ));
        }
        self.place = Place::Key { blank: false, written: Some(at) };
        Ok(out.put(bytes)?)
    }
}

impl Encoder for Env {
    fn text(&mut self, text: &[u8], out: &mut Output) -> Result<(), Refusal> {
        text.iter().try_for_each(|&byte| self.byte(byte, out))
    }

    fn value(&mut self, value: Emitted<'_>, at: Span, out: &mut Output) -> Result<(), Refusal> {
        let bytes = value.bytes();
        if self.doubt {
            return Err(Refusal::here(
                "the dotenv readers disagree about quotes further up, and so about what this belongs to",
                "look there for `\\\"`, a quote before a `=`, text after a closing quote, backquotes",
            ));
        }
        match self.place {
            Place::Key { blank, .. } => self.value_in_key(bytes, blank, at, out),
            Place::BeforeValue => {
                self.place = Place::Value { quote: 0, escaped: false };
                self.hold(bytes, Some(at))
            }
            Place::Value { quote, .. } => {
                self.place = Place::Value { quote, escaped: false };
                self.hold(bytes, Some(at))
            }
            Place::AfterValue { .. } => Err(Refusal::here(
                "a value after a closing quote, and readers disagree about it",
                "put all of the value into the quotes",
            )),
            Place::Comment { .. } if fits_comment(bytes) => Ok(out.put(bytes)?),
            Place::Comment { .. } => Err(Refusal::here(
                "the value would not stay in its comment: it has a line break, a backslash or bytes that are not text",
                "take it out of the comment",
            )),
        }
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Refusal> {
        match self.place {
            Place::Value { quote: 0, .. } => self.write_value(0, out).map(|_| ()),
            Place::Value { quote, .. } => self.unclosed(quote, out),
            Place::Key { written: Some(_), .. } => self.byte(b'\n', out),
            _ => Ok(()),
        }
    }
}

impl Env {
    fn unclosed(&mut self, quote: u8, out: &mut Output) -> Result<(), Refusal> {
        if let Some(at) = self.pieces.iter().find_map(|piece| piece.value) {
            return Err(Refusal::at(at, "the quote before this value is never closed", "close it"));
        }
        out.put(&[quote])?;
        Ok(out.put(self.held.bytes())?)
    }
}

fn utf8(bytes: &[u8], at: Span) -> Result<&str, Refusal> {
    let reason = "the value is not UTF-8, which env files are";
    std::str::from_utf8(bytes).map_err(|_| Refusal::at(at, reason, "encode it: `| b64encode`"))
}

fn written(encoded: Encoded, at: Span) -> Result<(), Refusal> {
    match encoded {
        Encoded::Written => Ok(()),
        Encoded::Refused((reason, hint)) => Err(Refusal::at(at, reason, hint)),
    }
}

/// JavaScript also ends lines at U+2028 and U+2029, others at U+0085.
fn fits_comment(bytes: &[u8]) -> bool {
    let breaks = |c: char| c.is_control() || matches!(c, '\\' | '\u{2028}' | '\u{2029}');
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(breaks))
}
