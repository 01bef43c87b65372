//! `env`: lines of `KEY=value`. A value with everything beside it, up to the closing quote or the line's
//! end, is held back and then quoted as a whole, in the way that all readers of the dialect understand.

use super::held::Held;
use super::quoting::Reason;
use super::{Emitted, Encoder, Refusal, comment};
use crate::template::error::Span;
use crate::template::format::Dialect;
use crate::template::output::Output;

pub(super) struct Env {
    dialect: Dialect,
    place: Place,
    held: Held,
    /// The readers no longer agree about where they are, because of the template's own text.
    doubt: bool,
    /// What stands before the `=`.
    name: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Place {
    /// Before the `=`. `written` is a value that stands there.
    Key { written: Option<Span> },
    /// After the `=`.
    BeforeValue,
    /// Within a value: 0 or the quote that it began with.
    Value { quote: u8, escaped: bool },
    /// After the closing quote. `valued` is a value within these quotes.
    AfterValue { valued: Option<Span> },
    /// `is_sure` unless some read it as a value.
    Comment { escaped: bool, is_sure: bool },
}

const NAME: Reason = (
    "a variable's name can only have letters, digits and `_`",
    "write the value after `NAME=`, or set `format: text`",
);

const LINE_START: Place = Place::Key { written: None };

impl Env {
    pub(super) fn new(dialect: Dialect, cap: usize) -> Self {
        Self { dialect, place: LINE_START, held: Held::new(cap), doubt: false, name: Vec::new() }
    }

    /// A relative of the dotenv library, not a reader with one grammar of its own.
    fn is_dotenv(&self) -> bool {
        matches!(self.dialect, Dialect::Dotenv | Dialect::Compose)
    }

    /// Takes in the next byte of text, and says where it leads.
    fn byte(&mut self, byte: u8, out: &mut Output) -> Result<(), Refusal> {
        let ends_line = matches!(byte, b'\n' | b'\r');
        match self.place {
            Place::Value { quote, escaped } => self.byte_of_value(byte, quote, escaped, out),
            Place::BeforeValue if !ends_line && !matches!(byte, b' ' | b'\t') => self.begin_value(byte, out),
            Place::Key { written: Some(at) } if byte == b'=' && !self.is_named() => {
                Err(Refusal::at(at, NAME.0, NAME.1))
            }
            Place::Key { written: Some(at) } if ends_line => Err(Refusal::at(
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
    fn follow(&mut self, place: Place, byte: u8) -> Place {
        let continues = self.dialect == Dialect::Systemd;
        match (place, byte) {
            (Place::Comment { escaped: true, is_sure }, _) => Place::Comment { escaped: false, is_sure },
            (Place::Comment { is_sure, .. }, b'\\') if continues => Place::Comment { escaped: true, is_sure },
            (_, b'\n' | b'\r') => self.begin_line(),
            (Place::Key { .. }, _)
                if self.dialect.begins_comment(byte) && self.name.trim_ascii().is_empty() =>
            {
                Place::Comment { escaped: false, is_sure: true }
            }
            (Place::Key { .. }, b'=') => Place::BeforeValue,
            (Place::Key { written }, _) => {
                // Some take a `:` for a `=`, and the next line for its value.
                self.doubt |= self.is_dotenv() && (byte == b':' || self.dialect.quotes().contains(&byte));
                self.name.push(byte);
                Place::Key { written }
            }
            (place, _) => place,
        }
    }

    fn begin_line(&mut self) -> Place {
        self.name.clear();
        LINE_START
    }

    /// Whether all readers know a variable of this name.
    fn is_named(&self) -> bool {
        let is_systemd = self.dialect == Dialect::Systemd;
        let name = self.name.trim_ascii();
        let exported =
            name.strip_prefix(b"export").filter(|rest| rest.starts_with(b" ")).map(<[u8]>::trim_ascii);
        let name = exported.filter(|_| !is_systemd).unwrap_or(name);
        let fits =
            |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || (*byte == b'.' && !is_systemd);
        name != b"export"
            && name.first().is_some_and(|first| !first.is_ascii_digit())
            && name.iter().all(fits)
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
            self.place = Place::AfterValue { valued: self.held.value() };
            return self.held.write(self.dialect, quote, out);
        }
        if !escaped && quote == 0 && self.ends_bare(byte) {
            let is_sure = self.held.last_byte().is_some();
            self.held.write(self.dialect, 0, out)?;
            self.place = match byte {
                b'#' => Place::Comment { escaped: false, is_sure },
                _ => self.begin_line(),
            };
            return Ok(out.put(&[byte])?);
        }
        let escaped = !escaped && byte == b'\\' && self.dialect.escapes_in(quote);
        self.place = Place::Value { quote, escaped };
        self.held.push(&[byte], None)
    }

    fn ends_bare(&self, byte: u8) -> bool {
        let after_blank = match self.held.last_byte() {
            None | Some(b' ') => true,
            Some(b'\t') => self.dialect != Dialect::Compose,
            Some(_) => false,
        };
        matches!(byte, b'\n' | b'\r') || (byte == b'#' && after_blank && self.dialect.has_trailing_comments())
    }

    /// Text after a quoted value, on the same line.
    fn byte_after(&mut self, byte: u8, valued: Option<Span>, out: &mut Output) -> Result<(), Refusal> {
        match (byte, valued) {
            (b' ' | b'\t', _) => {}
            (b'#', _) if self.dialect.has_trailing_comments() => {
                self.place = Place::Comment { escaped: false, is_sure: true };
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

    fn value_in_key(&mut self, bytes: &[u8], at: Span, out: &mut Output) -> Result<(), Refusal> {
        if bytes.is_empty() || !bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            return Err(Refusal::here(NAME.0, NAME.1));
        }
        self.name.extend_from_slice(bytes);
        self.place = Place::Key { written: Some(at) };
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
                "readers disagree about a line further up, and so about what this belongs to",
                "look there for `\\\"`, a quote before a `=`, text after a closing quote, backquotes, `NAME:`",
            ));
        }
        match self.place {
            Place::Key { .. } => self.value_in_key(bytes, at, out),
            Place::BeforeValue | Place::Value { .. } if !self.is_named() => Err(Refusal::here(
                "readers disagree about a variable whose name is not just letters, digits and `_`",
                "write `NAME=` before it, for systemd also without `export`",
            )),
            Place::BeforeValue => {
                self.place = Place::Value { quote: 0, escaped: false };
                self.held.push(bytes, Some(at))
            }
            Place::Value { quote, .. } => {
                self.place = Place::Value { quote, escaped: false };
                self.held.push(bytes, Some(at))
            }
            Place::AfterValue { .. } => Err(Refusal::here(
                "a value after a closing quote, and readers disagree about it",
                "put all of the value into the quotes",
            )),
            // Some take the last `#` of a line for the one that begins the comment.
            Place::Comment { is_sure, .. } if self.is_dotenv() && (!is_sure || bytes.contains(&b'#')) => {
                Err(Refusal::here(
                    "readers of env files disagree about where the comment here begins",
                    "take the value out of the comment",
                ))
            }
            Place::Comment { .. } => {
                comment::judge(bytes)?;
                Ok(out.put(bytes)?)
            }
        }
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Refusal> {
        match self.place {
            Place::Value { quote: 0, .. } => self.held.write(self.dialect, 0, out),
            Place::Value { quote, .. } => self.held.write_unclosed(quote, out),
            // Refused as it would be at the line's end.
            Place::Key { written: Some(_) } => self.byte(b'\n', out),
            _ => Ok(()),
        }
    }
}
