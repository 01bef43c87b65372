//! `netrc`, logins by host as curl and Python read them: words and their arguments, in double quotes with
//! `\` before `"` and `\`.

use super::{Emitted, Encoder, Refusal, follow};
use crate::template::error::Span;
use crate::template::output::Output;

/// curl has room for no more.
const LONGEST_LINE: usize = 4094;

const IN_QUOTES: &str = "put all of it into double quotes";

#[derive(Default)]
pub(super) struct Netrc {
    place: Place,
    /// Whether what comes next is the argument of a word.
    is_argument: bool,
    /// The text without quotes so far.
    word: Vec<u8>,
    /// The last value on this line.
    valued: Option<Span>,
    /// The bytes of this line.
    length: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Between,
    Bare,
    Quoted {
        /// After a backslash.
        is_escaped: bool,
    },
    /// After the closing quote.
    Closed,
    Comment,
    /// From here on the readers go different ways.
    Lost(&'static str),
}

impl Netrc {
    fn byte(&mut self, byte: u8) -> Result<(), Refusal> {
        let is_blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.place = match self.place {
            Place::Between if is_blank => Place::Between,
            Place::Between => match byte {
                b'#' => Place::Comment,
                b'"' => Place::Quoted { is_escaped: false },
                _ => self.bare(byte),
            },
            Place::Bare if is_blank => self.end_word(),
            Place::Bare => self.bare(byte),
            Place::Quoted { .. } if byte == b'\n' => self.lost("a quote is not closed on its line")?,
            Place::Quoted { is_escaped: false } if byte == b'"' => self.end_argument(),
            Place::Quoted { is_escaped } => Place::Quoted { is_escaped: byte == b'\\' && !is_escaped },
            Place::Closed if is_blank => Place::Between,
            Place::Closed => self.lost("text follows a closing quote")?,
            Place::Comment if byte == b'\n' => Place::Between,
            place => place,
        };
        if byte == b'\n' {
            (self.length, self.valued) = (0, None);
            return Ok(());
        }
        self.lengthen(1)
    }

    fn bare(&mut self, byte: u8) -> Place {
        self.word.push(byte);
        Place::Bare
    }

    fn end_word(&mut self) -> Place {
        let word = std::mem::take(&mut self.word);
        let was_argument = std::mem::take(&mut self.is_argument);
        if !was_argument && word.eq_ignore_ascii_case(b"macdef") {
            return Place::Lost("a macro is above it");
        }
        self.is_argument =
            !was_argument && matches!(&word[..], b"machine" | b"login" | b"user" | b"account" | b"password");
        Place::Between
    }

    fn end_argument(&mut self) -> Place {
        self.is_argument = false;
        Place::Closed
    }

    fn lost(&self, why: &'static str) -> Result<Place, Refusal> {
        match self.valued {
            Some(at) => Err(Refusal::at(at, why, IN_QUOTES)),
            None => Ok(Place::Lost(why)),
        }
    }

    fn lengthen(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.length += bytes;
        match self.valued {
            Some(at) if self.length > LONGEST_LINE => {
                Err(Refusal::at(at, "curl reads no line of 4 KiB or more", "take a shorter value"))
            }
            _ => Ok(()),
        }
    }

    fn write_escaped(&mut self, text: &str, out: &mut Output) -> Result<(), Refusal> {
        for part in text.split_inclusive(['"', '\\']) {
            let plain = part.len() - usize::from(part.ends_with(['"', '\\']));
            out.put(&part.as_bytes()[..plain])?;
            if plain < part.len() {
                out.put(&[b'\\', part.as_bytes()[plain]])?;
            }
            self.lengthen(2 * part.len() - plain)?;
        }
        Ok(())
    }
}

impl Encoder for Netrc {
    fn text(&mut self, text: &[u8], out: &mut Output) -> Result<(), Refusal> {
        follow(text, out, |byte| self.byte(byte))
    }

    fn value(&mut self, value: Emitted<'_>, at: Span, out: &mut Output) -> Result<(), Refusal> {
        judge(self.place, self.is_argument)?;
        let text = carried(value.bytes())?;
        self.valued = Some(at);
        if self.place != Place::Between {
            return self.write_escaped(text, out);
        }
        if text.is_empty() {
            return Err(Refusal::here(
                "the value is empty, which Python takes for the end of the file",
                "leave its word out too: `<% if %>`",
            ));
        }
        out.put(b"\"")?;
        self.write_escaped(text, out)?;
        out.put(b"\"")?;
        self.place = self.end_argument();
        self.lengthen(2)
    }

    fn finish(&mut self, _out: &mut Output) -> Result<(), Refusal> {
        match self.place {
            Place::Quoted { .. } => self.lost("a quote is not closed on its line").map(drop),
            _ => Ok(()),
        }
    }
}

/// Refuses the places that no value can be written into.
fn judge(place: Place, is_argument: bool) -> Result<(), Refusal> {
    let (reason, hint) = match place {
        Place::Between if !is_argument => (
            "the value stands where a word like `login` or `password` must be",
            "write the word before it, or set `format: text`",
        ),
        Place::Bare | Place::Closed => ("text stands right before this value", IN_QUOTES),
        Place::Quoted { is_escaped: true } => (
            "the backslash before this value would take its first character in",
            "write `\\\\` for a backslash",
        ),
        Place::Comment => {
            ("the readers do not agree where a comment ends", "take the value out of the comment")
        }
        Place::Lost(why) => (why, "write it as both curl and Python read it, macros at the file's end"),
        _ => return Ok(()),
    };
    Err(Refusal::here(reason, hint))
}

fn carried(bytes: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control));
    text.ok_or_else(|| {
        let reason = "the value has a line break, another control character or bytes that are not text";
        Refusal::here(reason, "take another password")
    })
}
