//! The value of an env variable while it is held back: the template's text and the values in it, until all
//! of it is known and can be quoted as a whole. Uses `quoting`.

use super::Refusal;
use super::quoting::Encoded;
use crate::template::error::Span;
use crate::template::format::Dialect;
use crate::template::output::Output;

pub(super) struct Held {
    /// Wiped when it has been written.
    bytes: Output,
    pieces: Vec<Piece>,
}

/// Up to where in the bytes, and which value it is; none if it is the template's text.
struct Piece {
    end: usize,
    value: Option<Span>,
}

impl Held {
    pub(super) fn new(cap: usize) -> Self {
        Self { bytes: Output::new(cap), pieces: Vec::new() }
    }

    pub(super) fn push(&mut self, bytes: &[u8], value: Option<Span>) -> Result<(), Refusal> {
        self.bytes.put(bytes)?;
        let end = self.bytes.bytes().len();
        match self.pieces.last_mut() {
            Some(last) if last.value.is_none() && value.is_none() => last.end = end,
            _ => self.pieces.push(Piece { end, value }),
        }
        Ok(())
    }

    pub(super) fn last_byte(&self) -> Option<u8> {
        self.bytes.bytes().last().copied()
    }

    /// The first value in it, if there is one.
    pub(super) fn value(&self) -> Option<Span> {
        self.pieces.iter().find_map(|piece| piece.value)
    }

    /// Writes all of it, in these quotes (0: none) or in better ones.
    pub(super) fn write(&mut self, dialect: Dialect, quote: u8, out: &mut Output) -> Result<(), Refusal> {
        match self.value() {
            None => self.write_as_is(quote, out)?,
            Some(at) if quote == b'`' => {
                let reason = "a value in backquotes, which only node reads";
                return Err(Refusal::at(at, reason, "use `'` or `\"`"));
            }
            Some(at) => self.write_quoted(dialect, quote, at, out)?,
        }
        self.bytes.clear();
        self.pieces.clear();
        Ok(())
    }

    /// What follows a quote that the file never closes.
    pub(super) fn write_unclosed(&self, quote: u8, out: &mut Output) -> Result<(), Refusal> {
        if let Some(at) = self.value() {
            return Err(Refusal::at(at, "the quote before this value is never closed", "close it"));
        }
        out.put(&[quote])?;
        Ok(out.put(self.bytes.bytes())?)
    }

    fn write_as_is(&self, quote: u8, out: &mut Output) -> Result<(), Refusal> {
        let quotes: &[u8] = if quote == 0 { b"" } else { &[quote] };
        out.put(quotes)?;
        out.put(self.bytes.bytes())?;
        Ok(out.put(quotes)?)
    }

    fn write_quoted(&self, dialect: Dialect, quote: u8, at: Span, out: &mut Output) -> Result<(), Refusal> {
        if self.texts().any(|text| !dialect.is_plain(text, quote)) {
            return self.write_among_text(dialect, quote, at, out);
        }
        let whole = if quote == 0 { self.without_trailing_blanks() } else { self.bytes.bytes() };
        written(dialect.write_whole(utf8(whole, at)?, quote, out)?, at)?;
        Ok(out.put(&self.bytes.bytes()[whole.len()..])?)
    }

    /// Blanks that the template has at a bare value's end are not part of it.
    fn without_trailing_blanks(&self) -> &[u8] {
        let bytes = self.bytes.bytes();
        match self.parts().last() {
            Some((piece, part)) if piece.value.is_none() => {
                &bytes[..bytes.len() - (part.len() - part.trim_ascii_end().len())]
            }
            _ => bytes,
        }
    }

    /// The template's text as it is, with each value written among it.
    fn write_among_text(
        &self,
        dialect: Dialect,
        quote: u8,
        at: Span,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        if quote == 0 {
            return Err(Refusal::at(
                at,
                "the text beside this value has characters that mean something without quotes",
                "put all of it into quotes: `NAME=\"…\"`",
            ));
        }
        let is_unsure = dialect == Dialect::Dotenv || (dialect == Dialect::Compose && quote == b'\'');
        if is_unsure && self.texts().any(|text| text.contains(&b'\\')) {
            return Err(Refusal::at(
                at,
                "the text beside this value has a backslash, which is not read alike everywhere",
                "give the value a variable of its own",
            ));
        }
        out.put(&[quote])?;
        let mut before: &[u8] = b"";
        for (piece, part) in self.parts() {
            match piece.value {
                None => out.put(part)?,
                Some(at) if takes_in(dialect, before) => {
                    return Err(Refusal::at(
                        at,
                        "the text before this value, with its `\\` or `$`, would take the value in",
                        "give the value a variable of its own",
                    ));
                }
                Some(at) => written(dialect.write_within(utf8(part, at)?, quote, out)?, at)?,
            }
            before = if piece.value.is_none() { part } else { b"" };
        }
        Ok(out.put(&[quote])?)
    }

    fn parts(&self) -> impl Iterator<Item = (&Piece, &[u8])> {
        let starts = std::iter::once(0).chain(self.pieces.iter().map(|piece| piece.end));
        self.pieces.iter().zip(starts).map(|(piece, start)| (piece, &self.bytes.bytes()[start..piece.end]))
    }

    fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts().filter(|(piece, _)| piece.value.is_none()).map(|(_, part)| part)
    }
}

/// Whether the text ends in an escape or an expansion that goes on with what follows.
fn takes_in(dialect: Dialect, text: &[u8]) -> bool {
    let backslashes = text.iter().rev().take_while(|&&byte| byte == b'\\').count();
    let name = text.iter().rposition(|&byte| byte == b'$').map(|dollar| &text[dollar + 1..]);
    let is_open = name.is_some_and(|name| match name.first() {
        Some(b'{') => !name.contains(&b'}'),
        _ => name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'),
    });
    backslashes % 2 == 1 || (is_open && dialect != Dialect::Systemd)
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
