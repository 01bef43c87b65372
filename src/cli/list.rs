//! `secretfs list`: the secrets of a namespace. Never a value.

use std::time::Instant;

use jiff::Timestamp;

use super::report::{Failure, note};
use super::set::parse_type;
use super::{Common, audited, completions, config, exit, open, output, when};
use crate::clock::{Clock, SystemClock};
use crate::secret::SecretType;
use crate::store::{Access, SecretInfo};

#[derive(clap::Args)]
pub struct Args {
    /// Only names that begin with this
    prefix: Option<String>,
    /// Only with this tag; several: with all of them
    #[arg(long = "tag", value_name = "TAG", add = completions::tags())]
    tags: Vec<String>,
    /// Only of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_type, add = completions::types())]
    kind: Option<SecretType>,
    /// Only with this label
    #[arg(long, value_name = "NAME", add = completions::labels())]
    label: Option<String>,
    /// Only those that expire within this time: 30d
    #[arg(long, value_name = "TIME")]
    expiring: Option<String>,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let since = Instant::now();
    let until =
        args.expiring.as_deref().map(|text| when::parse_future(text, SystemClock.now())).transpose()?;
    let (store, namespace) = open::here(common, Access::Read)?;
    open::check_namespace(&store, &namespace)?;
    audited::listed(&store, &config::load(common)?.audit, &namespace, None, since)?;
    let mut secrets = store.list(&namespace)?;
    secrets.retain(|secret| {
        args.fits(secret) && until.is_none_or(|until| secret.expires_at.is_some_and(|end| end <= until))
    });
    match common.json {
        true => {
            store.tell_uses(&mut secrets);
            output::print_json(&secrets)?;
        }
        false if secrets.is_empty() => note("no secret fits"),
        false => output::print_table(
            &["NAME", "TYPE", "VERSION", "UPDATED", "EXPIRES", "TAGS"],
            secrets.iter().map(row),
        )?,
    }
    Ok(exit::OK)
}

impl Args {
    fn fits(&self, secret: &SecretInfo) -> bool {
        self.prefix.as_deref().is_none_or(|prefix| secret.name.starts_with(prefix))
            && self.tags.iter().all(|tag| secret.tags.contains(tag))
            && self.kind.is_none_or(|kind| kind == secret.kind)
            && self.label.as_deref().is_none_or(|label| secret.label.as_deref() == Some(label))
    }
}

fn row(secret: &SecretInfo) -> Vec<String> {
    vec![
        secret.name.clone(),
        secret.kind.as_str().to_owned(),
        format!("{}{}", secret.active, if secret.disabled { " disabled" } else { "" }),
        output::time(secret.updated_at),
        expiry(secret.expires_at),
        secret.tags.iter().cloned().collect::<Vec<_>>().join(","),
    ]
}

fn expiry(at: Option<Timestamp>) -> String {
    let mark = if at.is_some_and(|at| at <= SystemClock.now()) { " expired" } else { "" };
    output::time_or(at, "-") + mark
}
