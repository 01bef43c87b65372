//! Escaping: each format follows its own output with a small lexer, so that it knows at each value where
//! that stands and writes it for that place, or refuses. One file per format. Uses `output`.

mod comment;
mod docker;
mod env;
mod held;
mod json;
mod netrc;
mod pgpass;
mod quoting;
mod shell;
mod text;
mod yaml;

#[cfg(test)]
mod tests;

use super::error::Span;
use super::format::{Dialect, Format};
use super::output::{Full, Output};

pub(super) use json::write_string as write_json_string;

/// A value on its way into the output.
#[derive(Clone, Copy)]
pub(super) enum Emitted<'v> {
    Text(&'v [u8]),
    /// To be written in quotes even where the format needs none.
    Quoted(&'v [u8]),
    /// A JSON document, from `tojson`.
    Json(&'v [u8]),
    /// A number, `true`, `false` or `null`.
    Bare(&'v str),
}

impl<'v> Emitted<'v> {
    /// What it is where only texts can be written.
    pub(super) fn bytes(self) -> &'v [u8] {
        match self {
            Self::Text(bytes) | Self::Quoted(bytes) | Self::Json(bytes) => bytes,
            Self::Bare(text) => text.as_bytes(),
        }
    }
}

/// Why a value cannot be written.
#[derive(Debug)]
pub(super) enum Refusal {
    Full,
    Place {
        /// The value that is meant, if not the one that is being written: a value may be held back.
        at: Option<Span>,
        reason: &'static str,
        hint: &'static str,
    },
}

impl Refusal {
    fn here(reason: &'static str, hint: &'static str) -> Self {
        Self::Place { at: None, reason, hint }
    }

    fn at(span: Span, reason: &'static str, hint: &'static str) -> Self {
        Self::Place { at: Some(span), reason, hint }
    }
}

impl From<Full> for Refusal {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// Writes a template's text and its values, in order, and follows what it writes.
pub(super) trait Encoder {
    fn text(&mut self, text: &[u8], out: &mut Output) -> Result<(), Refusal>;
    fn value(&mut self, value: Emitted<'_>, at: Span, out: &mut Output) -> Result<(), Refusal>;
    fn finish(&mut self, out: &mut Output) -> Result<(), Refusal>;
}

/// Template text as it is, looked at byte by byte on the way.
fn follow(
    text: &[u8],
    out: &mut Output,
    mut byte: impl FnMut(u8) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    text.iter().try_for_each(|&it| byte(it))?;
    Ok(out.put(text)?)
}

pub(super) fn encoder(format: Format, cap: usize) -> Box<dyn Encoder + Send> {
    match format {
        Format::Text => Box::new(text::Plain),
        Format::Json => Box::new(json::Json::default()),
        Format::Yaml => Box::new(yaml::Yaml::new(cap)),
        Format::Netrc => Box::new(netrc::Netrc::default()),
        Format::Pgpass => Box::new(pgpass::Pgpass::default()),
        Format::Env(Dialect::Docker) => Box::new(docker::Docker::default()),
        Format::Env(Dialect::Shell) => Box::new(shell::Shell::default()),
        Format::Env(dialect) => Box::new(env::Env::new(dialect, cap)),
    }
}

/// Parses the output as a whole, where there is a parser. The answer says nothing of what is in it.
pub(super) fn verify(format: Format, output: &[u8]) -> Result<(), String> {
    match format {
        Format::Json => json::verify(output),
        Format::Yaml => yaml::verify(output),
        Format::Text | Format::Env(_) | Format::Pgpass | Format::Netrc => Ok(()),
    }
}
