//! `env` for a POSIX shell that reads the file with `.`: a value stands in a word `NAME=…`, where bash, dash
//! and zsh read the same from quotes and never run what is in them. Everything else is refused.

use super::quoting::Reason;
use super::text::{shell_word, write_single};
use super::{Emitted, Encoder, Refusal, comment, follow};
use crate::template::error::Span;
use crate::template::output::{Full, Output};

const RISKY: Reason = (
    "the text beside this value has characters that mean something without quotes",
    "put all of it into quotes: `NAME=\"…\"`",
);

#[derive(Default)]
pub(super) struct Shell {
    place: Place,
    dollar: Dollar,
    command: Command,
    word: Word,
    /// The name at the word's beginning, as long as it can be one.
    name: Vec<u8>,
    /// The first value in this word, or in an assignment before it.
    valued: Option<Span>,
    /// This word has something without quotes that the shells may expand.
    is_risky: bool,
    last: u8,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Outside of quotes, also between words.
    #[default]
    Bare,
    Single,
    Double,
    Comment,
    /// Here-documents, substitutions and the like are not followed.
    Lost,
}

/// How far a backslash or an expansion has come.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Dollar {
    #[default]
    None,
    /// After a `\`.
    Escape,
    /// After a `$`.
    Start,
    Name,
    /// Within `${…}`.
    Brace,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Command {
    /// Nothing but assignments so far.
    #[default]
    Start,
    /// After `export` or `readonly`.
    Export,
    Other,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Word {
    #[default]
    Start,
    Name,
    /// After `NAME=`.
    Assigned,
    Other,
}

impl Shell {
    fn byte(&mut self, byte: u8) -> Result<(), Refusal> {
        let last = std::mem::replace(&mut self.last, byte);
        if self.place == Place::Bare && matches!((last, byte), (b'<', b'<') | (b'$', b'\'' | b'"')) {
            return self.lose();
        }
        match self.place {
            Place::Comment if byte == b'\n' => self.end_command(),
            Place::Comment | Place::Lost => Ok(()),
            Place::Single if byte == b'\'' => self.quote(Place::Bare),
            Place::Single => Ok(()),
            Place::Bare | Place::Double if self.dollar != Dollar::None => self.byte_of_dollar(byte),
            Place::Bare | Place::Double => self.byte_of_word(byte),
        }
    }

    /// Within an escape or an expansion.
    fn byte_of_dollar(&mut self, byte: u8) -> Result<(), Refusal> {
        match (self.dollar, byte) {
            (Dollar::Escape, _) => {
                self.dollar = Dollar::None;
                return Ok(());
            }
            (Dollar::Start, b'{') => self.dollar = Dollar::Brace,
            (Dollar::Start, b'(' | b'[') => return self.lose(),
            (Dollar::Start | Dollar::Name, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_') => {
                self.dollar = Dollar::Name;
            }
            (Dollar::Brace, b'}') => self.dollar = Dollar::None,
            (Dollar::Brace, b'"' | b'\'' | b'\\' | b'$' | b'`' | b'{' | b'\n') => return self.lose(),
            (Dollar::Brace, _) => {}
            _ => {
                self.dollar = Dollar::None;
                return self.byte_of_word(byte);
            }
        }
        Ok(())
    }

    fn byte_of_word(&mut self, byte: u8) -> Result<(), Refusal> {
        match (self.place, byte) {
            (_, b'`') => self.lose(),
            (Place::Double, b'"') => self.quote(Place::Bare),
            (Place::Double, b'$') => self.enter(Dollar::Start),
            (Place::Double, b'\\') => self.enter(Dollar::Escape),
            (Place::Double, _) => Ok(()),
            _ => self.byte_of_bare(byte),
        }
    }

    fn byte_of_bare(&mut self, byte: u8) -> Result<(), Refusal> {
        match byte {
            b' ' | b'\t' => self.end_word(),
            b'\n' | b';' => self.end_word().and_then(|()| self.end_command()),
            b'#' if self.word == Word::Start => {
                self.place = Place::Comment;
                Ok(())
            }
            b'(' | b')' => self.lose(),
            b'<' | b'>' | b'&' | b'|' => self.end_word().and_then(|()| self.operator()),
            b'=' if self.word == Word::Name && self.command != Command::Other => {
                self.word = Word::Assigned;
                Ok(())
            }
            b'\'' => self.quote(Place::Single),
            b'"' => self.quote(Place::Double),
            b'$' => self.risk().and_then(|()| self.enter(Dollar::Start)),
            b'\\' => self.enter(Dollar::Escape),
            _ => self.character(byte),
        }
    }

    fn character(&mut self, byte: u8) -> Result<(), Refusal> {
        let goes_on =
            byte.is_ascii_alphabetic() || byte == b'_' || (self.word == Word::Name && byte.is_ascii_digit());
        if matches!(self.word, Word::Start | Word::Name) && goes_on {
            self.word = Word::Name;
            self.name.push(byte);
            return Ok(());
        }
        self.other();
        let is_plain = byte.is_ascii_alphanumeric() || b"_./:@%+,-^!".contains(&byte);
        if is_plain { Ok(()) } else { self.risk() }
    }

    /// What is no part of a name.
    fn other(&mut self) {
        if self.word != Word::Assigned {
            self.word = Word::Other;
        }
    }

    fn enter(&mut self, dollar: Dollar) -> Result<(), Refusal> {
        self.dollar = dollar;
        self.other();
        Ok(())
    }

    fn quote(&mut self, place: Place) -> Result<(), Refusal> {
        self.place = place;
        self.other();
        Ok(())
    }

    fn risk(&mut self) -> Result<(), Refusal> {
        self.is_risky = true;
        match self.valued {
            Some(at) if self.word != Word::Start => Err(Refusal::at(at, RISKY.0, RISKY.1)),
            _ => Ok(()),
        }
    }

    fn end_word(&mut self) -> Result<(), Refusal> {
        let word = std::mem::take(&mut self.word);
        let name = std::mem::take(&mut self.name);
        self.is_risky = false;
        self.command = match (self.command, word) {
            (command, Word::Start | Word::Assigned) => command,
            (Command::Start, Word::Name) if name == b"export" || name == b"readonly" => Command::Export,
            (Command::Export, Word::Name) => Command::Export,
            _ => Command::Other,
        };
        match self.valued {
            Some(at) if word == Word::Name || self.command == Command::Other => Err(follows(at)),
            _ => Ok(()),
        }
    }

    fn end_command(&mut self) -> Result<(), Refusal> {
        self.place = Place::Bare;
        self.command = Command::Start;
        self.valued = None;
        Ok(())
    }

    /// A redirection, a pipe, `&` or the like: there an assignment may be none any more.
    fn operator(&mut self) -> Result<(), Refusal> {
        if let Some(at) = self.valued {
            return Err(follows(at));
        }
        self.command = if matches!(self.last, b'<' | b'>') { Command::Other } else { Command::Start };
        Ok(())
    }

    fn lose(&mut self) -> Result<(), Refusal> {
        self.place = Place::Lost;
        self.valued.map_or(Ok(()), |at| Err(follows(at)))
    }

    fn judge(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let (reason, hint) = match (self.dollar, self.place, self.word) {
            (_, Place::Lost, _) => (
                "what stands further up (a here-document, a substitution, parentheses) is not followed in shell files",
                "write the value before that, or in a file of its own",
            ),
            (_, Place::Comment, _) => return comment::judge(bytes),
            (Dollar::Escape | Dollar::Start | Dollar::Name | Dollar::Brace, ..) => (
                "the text before this value, with its `\\` or `$`, would take the value in",
                "write `${NAME}`, or give the value a variable of its own",
            ),
            (_, Place::Bare, Word::Start | Word::Name) if self.command != Command::Other => {
                return judge_name(bytes);
            }
            (_, _, Word::Assigned) if self.command != Command::Other => return self.judge_assigned(bytes),
            _ => (
                "in a shell file a value stands after `NAME=` or `export NAME=`, so that no command takes it",
                "give it a variable of its own, and use that",
            ),
        };
        Err(Refusal::here(reason, hint))
    }

    fn judge_assigned(&self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.is_risky {
            return Err(Refusal::here(RISKY.0, RISKY.1));
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(_) => {
                Err(Refusal::here("the value is not UTF-8, which env files are", "encode it: `| b64encode`"))
            }
        }
    }
}

fn follows(at: Span) -> Refusal {
    Refusal::at(
        at,
        "text follows this value on its line, and would make the assignment something else",
        "leave only assignments and a comment there",
    )
}

fn judge_name(bytes: &[u8]) -> Result<(), Refusal> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let is_name = bytes.first().is_some_and(|byte| !byte.is_ascii_digit()) && bytes.iter().all(is_word);
    if is_name {
        return Ok(());
    }
    Err(Refusal::here(
        "a variable's name can only have letters, digits and `_`",
        "write the value after `NAME=`, or set `format: text`",
    ))
}

impl Encoder for Shell {
    fn text(&mut self, text: &[u8], out: &mut Output) -> Result<(), Refusal> {
        follow(text, out, |byte| self.byte(byte))
    }

    fn value(&mut self, value: Emitted<'_>, at: Span, out: &mut Output) -> Result<(), Refusal> {
        let bytes = value.bytes();
        self.judge(bytes)?;
        if matches!((self.place, value), (Place::Single | Place::Double, Emitted::Quoted(_))) {
            return Err(Refusal::here("`quote` within quotes", "leave one of them out"));
        }
        if self.place != Place::Comment {
            self.valued = self.valued.or(Some(at));
        }
        self.last = 0;
        match (self.place, self.word) {
            (Place::Comment | Place::Lost, _) => out.put(bytes)?,
            (Place::Single, _) => write_single(bytes, out)?,
            (Place::Double, _) => write_double(bytes, out)?,
            (Place::Bare, Word::Assigned) => shell_word(bytes, out)?,
            (Place::Bare, _) => {
                self.word = Word::Name;
                self.name.extend_from_slice(bytes);
                out.put(bytes)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Output) -> Result<(), Refusal> {
        match (self.place, self.valued) {
            (Place::Single | Place::Double, Some(at)) => {
                Err(Refusal::at(at, "the quote before this value is never closed", "close it"))
            }
            (_, Some(at)) if self.dollar == Dollar::Escape => Err(Refusal::at(at, RISKY.0, RISKY.1)),
            _ => self.end_word(),
        }
    }
}

fn write_double(bytes: &[u8], out: &mut Output) -> Result<(), Full> {
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'$' | b'`');
    for part in bytes.split_inclusive(is_special) {
        match part.split_last() {
            Some((last, plain)) if is_special(last) => {
                out.put(plain)?;
                out.put(&[b'\\', *last])?;
            }
            _ => out.put(part)?,
        }
    }
    Ok(())
}
