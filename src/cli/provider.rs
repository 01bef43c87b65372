//! `secretfs provider`: where secrets come from, by the config, and whether that works. Never a value,
//! and of a provider's own secrets only the place.

mod logins;
mod shown;
mod tried;

use super::report::Failure;
use super::{Common, config, exit, output};
use crate::config::{Config, ProviderConfig};
use crate::nearest::nearest;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List them; asks none of them
    #[command(alias = "ls")]
    List,
    /// Show the settings of one, also those that the config leaves as they are
    Show { name: String },
    /// Try them, step by step: the way there, the login, the list, one read
    Test(tried::Args),
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let config = config::load(common)?;
    match &args.action {
        Action::List => list(&config, common)?,
        Action::Show { name } => shown::show(&config, known(&config, name)?, common)?,
        Action::Test(args) => return tried::run(args, &config, common),
    }
    Ok(exit::OK)
}

/// The name that the config has.
fn known<'a>(config: &'a Config, name: &str) -> Result<(&'a str, &'a ProviderConfig), Failure> {
    if let Some((name, kind)) = config.providers.get_key_value(name) {
        return Ok((name, kind));
    }
    let names: Vec<_> = config.providers.keys().map(String::as_str).collect();
    let hint = match nearest(name, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there is {}", names.join(", ")),
    };
    Err(Failure::new(exit::NO_INPUT, format!("no provider is named `{name}`")).hint(hint))
}

fn default(config: &Config) -> &str {
    config.sources.from.as_deref().unwrap_or("store")
}

#[derive(serde::Serialize)]
struct Listed<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    place: String,
    /// Answers for all names that are mapped nowhere.
    is_default: bool,
    /// The names of `secrets:` that lead to it.
    mapped: Vec<&'a str>,
}

fn list(config: &Config, common: &Common) -> Result<(), Failure> {
    let default = default(config);
    let listed: Vec<_> = config
        .providers
        .iter()
        .map(|(name, kind)| Listed {
            name,
            kind: kind.type_name(),
            place: shown::place(config, kind),
            is_default: name == default,
            mapped: mapped(config, name),
        })
        .collect();
    if common.json {
        return output::print_json(&listed);
    }
    let row = |it: &Listed<'_>| {
        let names = if it.is_default { vec!["all others"] } else { vec![] };
        let names = [it.mapped.clone(), names].concat().join(", ");
        vec![it.name.to_owned(), it.kind.to_owned(), it.place.clone(), names]
    };
    output::print_table(&["NAME", "TYPE", "PLACE", "SECRETS"], listed.iter().map(row))
}

fn mapped<'a>(config: &'a Config, provider: &str) -> Vec<&'a str> {
    let leads = |it: &crate::secret::Reference| it.key.provider.as_deref().unwrap_or("store") == provider;
    config.sources.map.iter().filter(|(_, to)| leads(to)).map(|(name, _)| name.as_str()).collect()
}
