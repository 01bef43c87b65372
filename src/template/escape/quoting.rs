//! How the readers of env files quote: what each dialect can carry, in which quotes. `docker` and `shell`
//! have encoders of their own.
//! Measured against the readers themselves; `tests/escaping.rs` does it again.

use crate::template::format::Dialect;
use crate::template::output::{Full, Output};

/// Why a value cannot be carried, and what can be done.
pub(super) type Reason = (&'static str, &'static str);

pub(super) enum Encoded {
    Written,
    Refused(Reason),
}

const ENCODE: &str = "encode it: `| b64encode`";
const OTHER_DIALECT: &str =
    "encode it (`| b64encode`), or set the dialect of the program that reads the file";

impl Dialect {
    pub(super) fn quotes(self) -> &'static [u8] {
        match self {
            // Backquotes are node's alone, but what is in them must be followed.
            Self::Dotenv => b"'\"`",
            _ => b"'\"",
        }
    }

    pub(super) fn begins_comment(self, byte: u8) -> bool {
        byte == b'#' || (self == Self::Systemd && byte == b';')
    }

    /// Whether `#` after a blank ends a value.
    pub(super) fn has_trailing_comments(self) -> bool {
        self != Self::Systemd
    }

    /// Whether a backslash takes the next character with it, within `quote` or (0) without quotes.
    pub(super) fn escapes_in(self, quote: u8) -> bool {
        match self {
            Self::Systemd => quote != b'\'',
            Self::Exec => quote == b'"',
            _ => quote != 0,
        }
    }

    /// Whether what is written in these quotes (0: none) stands for itself, so that it may be quoted anew
    /// together with the values beside it.
    pub(super) fn is_plain(self, literal: &[u8], quote: u8) -> bool {
        let special: &[u8] = match (self, quote) {
            (_, 0) => b"#'\"`$\\",
            (Self::Dotenv, b'\'') => b"\\\r$",
            (Self::Dotenv, _) => b"\\\r$`",
            (Self::Compose, b'\'') => b"\\",
            (_, b'\'') => b"",
            (Self::Systemd, _) => b"\\",
            _ => b"\\$",
        };
        !literal.iter().any(|byte| special.contains(byte))
    }

    /// A whole value with its quotes, in `wish` if that can carry it.
    pub(super) fn write_whole(self, value: &str, wish: u8, out: &mut Output) -> Result<Encoded, Full> {
        if let Some(reason) = self.never(value) {
            return Ok(Encoded::Refused(reason));
        }
        if self != Self::Dotenv {
            out.put(b"\"")?;
            self.write_escaped(value, out)?;
            out.put(b"\"")?;
            return Ok(Encoded::Written);
        }
        let fits = |quote: &u8| fits_dotenv(value, *quote);
        let styles = if wish == b'"' { [b'"', b'\''] } else { [b'\'', b'"'] };
        let Some(quote) = styles.into_iter().find(fits) else {
            return Ok(Encoded::Refused((
                "the dotenv readers disagree about every way to quote this value: it has a `'` or `${` together with one of `\"`, `$`, `` ` ``",
                OTHER_DIALECT,
            )));
        };
        out.put(&[quote])?;
        out.put(value.as_bytes())?;
        out.put(&[quote])?;
        Ok(Encoded::Written)
    }

    /// A value between other text in the template's own quotes, where that text does not stand for itself.
    pub(super) fn write_within(self, value: &str, quote: u8, out: &mut Output) -> Result<Encoded, Full> {
        if let Some(reason) = self.never(value) {
            return Ok(Encoded::Refused(reason));
        }
        match self {
            Self::Dotenv if fits_dotenv(value, quote) && !value.contains('$') => out.put(value.as_bytes())?,
            Self::Dotenv => {
                return Ok(Encoded::Refused((
                    "the value has a quote, `$` or `` ` `` that would mean something among the text around it",
                    "give it a variable of its own, or encode it: `| b64encode`",
                )));
            }
            _ => self.write_escaped(value, out)?,
        }
        Ok(Encoded::Written)
    }

    /// For double quotes.
    fn write_escaped(self, value: &str, out: &mut Output) -> Result<(), Full> {
        // Compose keeps the backslash before a backquote.
        let special: &[char] = if self == Self::Compose { &['"', '\\', '$'] } else { &['"', '\\', '$', '`'] };
        for part in value.split_inclusive(special) {
            let plain = part.len() - usize::from(part.ends_with(special));
            out.put(&part.as_bytes()[..plain])?;
            if plain < part.len() {
                out.put(&[b'\\', part.as_bytes()[plain]])?;
            }
        }
        Ok(())
    }

    /// What no quoting carries.
    fn never(self, value: &str) -> Option<Reason> {
        let has = |c: char| value.contains(c);
        match self {
            Self::Dotenv if has('\r') => {
                Some(("the value has a carriage return, which dotenv readers turn into a newline", ENCODE))
            }
            Self::Dotenv if has('\\') => {
                Some(("the value has a backslash, which the dotenv readers do not read alike", OTHER_DIALECT))
            }
            Self::Systemd if value.chars().any(is_noncharacter) => Some((
                "the value has a Unicode noncharacter, for which systemd rejects the whole file",
                ENCODE,
            )),
            _ => None,
        }
    }
}

fn fits_dotenv(value: &str, quote: u8) -> bool {
    match quote {
        b'\'' => !value.contains('\'') && !value.contains("${"),
        _ => !value.contains(['"', '$', '`']),
    }
}

fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || (c as u32 & 0xfffe) == 0xfffe
}
