//! `text`: every byte as it is, for PEM and plain files; with `| quote`, a word for a POSIX shell.

use super::{Emitted, Encoder, Refusal};
use crate::template::error::Span;
use crate::template::output::{Full, Output};

pub(super) struct Plain;

impl Encoder for Plain {
    fn text(&mut self, text: &[u8], out: &mut Output) -> Result<(), Refusal> {
        Ok(out.put(text)?)
    }

    fn value(&mut self, value: Emitted<'_>, _at: Span, out: &mut Output) -> Result<(), Refusal> {
        match value {
            Emitted::Quoted(bytes) => Ok(shell_word(bytes, out)?),
            other => Ok(out.put(other.bytes())?),
        }
    }

    fn finish(&mut self, _out: &mut Output) -> Result<(), Refusal> {
        Ok(())
    }
}

/// A word for a POSIX shell, which takes everything in single quotes as it is.
pub(super) fn shell_word(bytes: &[u8], out: &mut Output) -> Result<(), Full> {
    out.put(b"'")?;
    write_single(bytes, out)?;
    out.put(b"'")
}

/// Within a shell's single quotes.
pub(super) fn write_single(bytes: &[u8], out: &mut Output) -> Result<(), Full> {
    for (place, part) in bytes.split(|&byte| byte == b'\'').enumerate() {
        if place > 0 {
            out.put(br"'\''")?;
        }
        out.put(part)?;
    }
    Ok(())
}
