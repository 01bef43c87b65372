//! `pgpass`, libpq's password file: `host:port:database:user:password` on each line, `:` and `\` with a
//! backslash before them, and no quotes. Uses `comment`.

use super::{Emitted, Encoder, Refusal, comment, follow};
use crate::template::error::Span;
use crate::template::output::Output;

const ALONE: &str = "leave only the value there, and put a comment on a line of its own";
const PASSWORD: usize = 4;

#[derive(Default)]
pub(super) struct Pgpass {
    place: Place,
    /// The first value on this line.
    valued: Option<Span>,
    /// The last byte of text; none after a value.
    last: Option<u8>,
}

#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    LineStart,
    Field {
        /// From 0.
        number: usize,
        is_empty: bool,
        /// After a backslash.
        is_escaped: bool,
    },
    Comment,
}

impl Place {
    fn after(self, byte: u8) -> Self {
        match (self.of_field(), byte) {
            (None, _) => Self::Comment,
            (Some((0, true, false)), b'#') if matches!(self, Self::LineStart) => Self::Comment,
            (Some((number, _, false)), b':') => Self::field(number + 1, true),
            (Some((number, _, is_escaped)), _) => {
                Self::Field { number, is_empty: false, is_escaped: byte == b'\\' && !is_escaped }
            }
        }
    }

    fn field(number: usize, is_empty: bool) -> Self {
        Self::Field { number, is_empty, is_escaped: false }
    }

    /// Which field, whether nothing is in it, whether a backslash is last.
    fn of_field(self) -> Option<(usize, bool, bool)> {
        match self {
            Self::LineStart => Some((0, true, false)),
            Self::Field { number, is_empty, is_escaped } => Some((number, is_empty, is_escaped)),
            Self::Comment => None,
        }
    }
}

impl Pgpass {
    fn byte(&mut self, byte: u8) -> Result<(), Refusal> {
        if byte == b'\n' {
            return self.end_line();
        }
        let begins_note = byte == b'#' && matches!(self.last, Some(b' ' | b'\t'));
        if let (Some((PASSWORD, ..)), Some(at), true) = (self.place.of_field(), self.valued, begins_note) {
            return Err(Refusal::at(at, "libpq takes the comment on this line for the password", ALONE));
        }
        self.place = self.place.after(byte);
        self.last = Some(byte);
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Refusal> {
        let (place, valued, last) = (std::mem::take(&mut self.place), self.valued.take(), self.last.take());
        let (Some(at), Some((number, ..))) = (valued, place.of_field()) else { return Ok(()) };
        match (number, last) {
            (PASSWORD, Some(b' ' | b'\t')) => {
                Err(Refusal::at(at, "libpq keeps the blanks at the end of this line", ALONE))
            }
            (0..PASSWORD, _) => Err(Refusal::at(
                at,
                "the value stands on a line that is not `host:port:database:user:password`",
                "write all five, with `*` for any, or set `format: text`",
            )),
            _ => Ok(()),
        }
    }
}

impl Encoder for Pgpass {
    fn text(&mut self, text: &[u8], out: &mut Output) -> Result<(), Refusal> {
        follow(text, out, |byte| self.byte(byte))
    }

    fn value(&mut self, value: Emitted<'_>, at: Span, out: &mut Output) -> Result<(), Refusal> {
        let bytes = value.bytes();
        let Some((number, is_empty, is_escaped)) = self.place.of_field() else {
            comment::judge(bytes)?;
            return Ok(out.put(bytes)?);
        };
        judge(bytes, number, is_empty, is_escaped)?;
        self.place = Place::field(number, false);
        self.valued = self.valued.or(Some(at));
        self.last = None;
        for part in bytes.split_inclusive(|byte| matches!(byte, b':' | b'\\')) {
            let plain = part.len() - usize::from(part.ends_with(b":") || part.ends_with(b"\\"));
            out.put(&part[..plain])?;
            if plain < part.len() {
                out.put(&[b'\\', part[plain]])?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Output) -> Result<(), Refusal> {
        self.end_line()
    }
}

fn judge(bytes: &[u8], number: usize, is_empty: bool, is_escaped: bool) -> Result<(), Refusal> {
    let (reason, hint) = match bytes {
        _ if is_escaped => (
            "the backslash before this value would take its first character in",
            "write `\\\\` for a backslash",
        ),
        _ if number > PASSWORD => ("libpq reads nothing after the password", "write `\\:` for a colon"),
        [] => ("the value is empty, which libpq takes for no value at all", "leave the line out: `<% if %>`"),
        [b'*'] if is_empty && number < PASSWORD => (
            "the value is `*`, which matches everything here",
            "write the `*` into the template if it is meant",
        ),
        [b'#', ..] if is_empty && number == 0 => (
            "the value begins with `#`, which makes a comment of its line",
            "write `*` or a host's name there",
        ),
        _ if bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) => {
            ("the value has a line break, which no password file can carry", "take another password")
        }
        _ => return Ok(()),
    };
    Err(Refusal::here(reason, hint))
}
