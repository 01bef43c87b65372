//! `env` for `docker run --env-file`: all from the `=` to the line's end is the value, quotes, blanks and `#`
//! included. So a value is written as it is, or refused.

use super::{Emitted, Encoder, Refusal, comment, follow};
use crate::template::error::Span;
use crate::template::output::Output;

/// Docker's scanner gives up on a longer line, and with it on the file.
const LONGEST_LINE: usize = 64 * 1024 - 1;

const OWN_LINE: &str = "leave only the value there, and put a comment on a line of its own";

#[derive(Default)]
pub(super) struct Docker {
    place: Place,
    /// The bytes of this line.
    length: usize,
    /// The first value on this line.
    valued: Option<Span>,
    /// The last byte of text; none after a value.
    last: Option<u8>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    LineStart,
    Name {
        is_sound: bool,
    },
    /// After the `=` and, if so, blanks.
    BeforeValue {
        has_blank: bool,
    },
    Value,
    Comment,
}

impl Place {
    fn after(self, byte: u8) -> Self {
        let is_blank = matches!(byte, b' ' | b'\t');
        match (self, byte) {
            (Self::LineStart, _) if is_blank => Self::LineStart,
            (Self::LineStart, b'#') => Self::Comment,
            (Self::LineStart, _) => Self::Name { is_sound: byte != b'=' },
            (Self::Name { is_sound: true }, b'=') => Self::BeforeValue { has_blank: false },
            (Self::Name { is_sound }, _) => Self::Name { is_sound: is_sound && !is_blank },
            (Self::BeforeValue { .. }, _) if is_blank => Self::BeforeValue { has_blank: true },
            (Self::BeforeValue { .. } | Self::Value, _) => Self::Value,
            (Self::Comment, _) => Self::Comment,
        }
    }
}

impl Docker {
    fn byte(&mut self, byte: u8) -> Result<(), Refusal> {
        if byte == b'\n' {
            return self.end_line();
        }
        let begins_note = byte == b'#' && matches!(self.last, Some(b' ' | b'\t'));
        if let (Place::Value, Some(at), true) = (self.place, self.valued, begins_note) {
            return Err(Refusal::at(
                at,
                "docker takes the comment on this line as part of the value",
                OWN_LINE,
            ));
        }
        self.place = self.place.after(byte);
        self.last = Some(byte);
        self.lengthen(1)
    }

    fn end_line(&mut self) -> Result<(), Refusal> {
        let at = self.valued.take();
        let (place, last) = (std::mem::take(&mut self.place), self.last.take());
        self.length = 0;
        match (place, at) {
            (Place::Name { .. }, Some(at)) => Err(Refusal::at(
                at,
                "the value stands on a line that is not `NAME=value`",
                "write a name and `=` before it, or set `format: text`",
            )),
            (Place::Value, Some(at)) if matches!(last, Some(b' ' | b'\t')) => {
                Err(Refusal::at(at, "docker keeps the blanks at the end of this line", OWN_LINE))
            }
            _ => Ok(()),
        }
    }

    fn lengthen(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.length += bytes;
        match self.valued {
            Some(at) if self.length > LONGEST_LINE => Err(Refusal::at(
                at,
                "docker rejects a file with a line of 64 KiB or more",
                "give docker a file with the value (`--mount`, `--secret`)",
            )),
            _ => Ok(()),
        }
    }
}

impl Encoder for Docker {
    fn text(&mut self, text: &[u8], out: &mut Output) -> Result<(), Refusal> {
        follow(text, out, |byte| self.byte(byte))
    }

    fn value(&mut self, value: Emitted<'_>, at: Span, out: &mut Output) -> Result<(), Refusal> {
        let bytes = value.bytes();
        judge(self.place, bytes)?;
        self.place = match self.place {
            Place::LineStart => Place::Name { is_sound: true },
            Place::BeforeValue { .. } => Place::Value,
            place => place,
        };
        self.valued = self.valued.or(Some(at));
        self.last = None;
        self.lengthen(bytes.len())?;
        Ok(out.put(bytes)?)
    }

    fn finish(&mut self, _out: &mut Output) -> Result<(), Refusal> {
        self.end_line()
    }
}

fn judge(place: Place, bytes: &[u8]) -> Result<(), Refusal> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let (reason, hint) = match place {
        Place::Name { is_sound: false } => (
            "docker rejects a file with a blank in a variable's name",
            "write `NAME=` without `export` before it and without blanks",
        ),
        Place::LineStart | Place::Name { .. } if bytes.is_empty() || !bytes.iter().all(is_word) => (
            "a variable's name can only have letters, digits and `_`",
            "write the value after `NAME=`, or set `format: text`",
        ),
        Place::BeforeValue { has_blank: true } => ("docker keeps the blanks after the `=`", "leave them out"),
        Place::Comment => return comment::judge(bytes),
        _ if bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) => {
            ("the value has a line break, and docker's env files know no quotes", "encode it: `| b64encode`")
        }
        _ if std::str::from_utf8(bytes).is_err() => {
            ("the value is not UTF-8, which env files are", "encode it: `| b64encode`")
        }
        _ => return Ok(()),
    };
    Err(Refusal::here(reason, hint))
}
