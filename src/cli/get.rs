//! `secretfs get`: one value, bare on a pipe, masked on a terminal.

use std::time::Instant;

use serde::Serialize;

use super::report::{Failure, note};
use super::{Common, audited, config, exit, named, open, output, session};
use crate::clock::{Clock, SystemClock};
use crate::secret::{Absent, FieldName, SecretBytes};
use crate::store::{Access, SecretInfo};

#[derive(clap::Args)]
pub struct Args {
    /// NAME, NAME.FIELD or NAME#FIELD, with @VERSION if not the active one
    #[arg(add = super::completions::fields())]
    name: String,
    /// Show the value on a terminal, too
    #[arg(long)]
    reveal: bool,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let since = Instant::now();
    let (store, namespace) = open::here(common, Access::Read)?;
    let named = named::find(&store, &namespace, &args.name)?;
    let wanted = [(named.name.clone(), named.version)];
    let answer = store.get(&namespace, &wanted, SystemClock.now())?.answers.pop();
    let found =
        answer.unwrap_or(Err(Absent::Missing)).map_err(|absent| absence(&args.name, &named.info, &absent))?;
    let field = match (&named.field, found.fields.keys().next(), found.fields.len()) {
        (Some(field), _, _) => field.clone(),
        (None, Some(only), 1) => only.clone(),
        _ => return Err(several(&named.info.name, found.fields.keys())),
    };
    let value = found.fields.get(&field).ok_or_else(|| named::no_field(&named.info, field.as_str()))?;
    let secret = audited::named(&named.info.name, Some(found.version));
    audited::used(&store, &config::load(common)?.audit, &namespace, secret, since, None)?;
    session::count(&found.uses);
    let is_masked = output::to_terminal() && !args.reveal;
    if common.json {
        let head =
            Head { name: &named.info.name, field: field.as_str(), version: found.version, masked: is_masked };
        let mask = is_masked.then(|| mask(value));
        output::print_value_json(&head, mask.as_ref().map_or(value.expose(), |mask| mask.as_bytes()))?;
    } else {
        print(value, is_masked)?;
    }
    if is_masked {
        note("masked, as this is a terminal; --reveal shows it");
    }
    Ok(exit::OK)
}

fn absence(text: &str, info: &SecretInfo, absent: &Absent) -> Failure {
    let failure = match absent {
        Absent::Missing => Failure::new(exit::NO_INPUT, format!("`{text}`: there is no such version")),
        _ => Failure::new(exit::NO_INPUT, format!("`{text}`: {absent}")),
    };
    failure.hint(match info.disabled {
        true => format!("secretfs enable {} gives it out again", info.name),
        false => format!("secretfs versions {} shows what there is", info.name),
    })
}

fn several<'a>(name: &str, fields: impl Iterator<Item = &'a FieldName>) -> Failure {
    let fields: Vec<_> = fields.map(FieldName::as_str).collect();
    let failure = Failure::new(exit::DATA, format!("`{name}` has the fields {}", fields.join(", ")));
    match fields.first() {
        Some(field) => failure.hint(format!("name one: secretfs get {name}.{field}")),
        None => failure,
    }
}

/// Bytes as they are; on a terminal a line, masked unless it was asked for.
fn print(value: &SecretBytes, is_masked: bool) -> Result<(), Failure> {
    if is_masked {
        return output::print(mask(value) + "\n");
    }
    output::print(value.expose())?;
    match output::to_terminal() && !value.expose().ends_with(b"\n") {
        true => output::print("\n"),
        false => Ok(()),
    }
}

/// The last four characters, if they are a small part of it.
fn mask(value: &SecretBytes) -> String {
    let bytes = value.expose();
    let last = &bytes[bytes.len().saturating_sub(4)..];
    let shown = if bytes.len() >= 12 && last.iter().all(u8::is_ascii_graphic) { last } else { b"" };
    format!("********{}", String::from_utf8_lossy(shown))
}

#[derive(Serialize)]
struct Head<'a> {
    name: &'a str,
    field: &'a str,
    version: u64,
    masked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_shows_little() {
        for (value, masked) in [
            (&b"sk_live_0123456789"[..], "********6789"),
            (b"hunter2hunt", "********"),
            (b"", "********"),
            (b"0123456789\n\n\n", "********"),
            (b"\xff\xfe\xfd\xfc\xff\xfe\xfd\xfc\xff\xfe\xfd\xfc", "********"),
        ] {
            assert_eq!(mask(&SecretBytes::copy_of(value)), masked);
        }
    }
}
