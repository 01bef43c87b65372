//! `secretfs store`: the store as a whole: is it sound, and what can be saved of it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::report::{Failure, warn};
use super::{Common, exit, open, output};
use crate::store::{Access, Damage, Inspection};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Read and authenticate everything; say what is damaged, and what can be saved
    Verify,
    /// Save what is sound into a new store, with the same key
    Repair {
        /// The new store: a folder that is empty or not there
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    match &args.action {
        Action::Verify => verify(common),
        Action::Repair { to } => repair(to, common),
    }
}

fn verify(common: &Common) -> Result<u8, Failure> {
    let (store, _) = open::here(common, Access::Read)?;
    let found = store.inspect()?;
    if common.json {
        output::print_json(&found)?;
    } else {
        output::print(found.damages.iter().map(line).collect::<String>())?;
        output::print(format!("sound: {}\n", sound(&found)))?;
    }
    if found.damages.is_empty() {
        return Ok(exit::OK);
    }
    let count = match found.damages.len() {
        1 => "one thing in the store is damaged".to_owned(),
        more => format!("{more} things in the store are damaged"),
    };
    Err(Failure::new(exit::IO, count)
        .hint("restore a backup, or secretfs store repair --to DIR, which saves what is sound"))
}

fn repair(to: &Path, common: &Common) -> Result<u8, Failure> {
    let (store, _) = open::here(common, Access::Read)?;
    let found = store.save_into(to, &open::stamp())?;
    let dir = std::path::absolute(to).unwrap_or(to.to_owned()).display().to_string();
    if common.json {
        #[derive(Serialize)]
        struct Saved<'a> {
            store: &'a str,
            #[serde(flatten)]
            found: &'a Inspection,
        }
        output::print_json(&Saved { store: &dir, found: &found })?;
        return Ok(exit::OK);
    }
    found.damages.iter().for_each(|damage| warn(line(damage).trim_end()));
    output::print(format!("store  {dir}\nsaved  {}\n", sound(&found)))?;
    Ok(exit::OK)
}

fn line(damage: &Damage) -> String {
    let Damage { namespace, secret, version, problem } = damage;
    let namespace = namespace.as_deref().map(|it| format!("namespace {it}: "));
    let whose = match (secret, version) {
        (Some(secret), Some(version)) => format!("{secret}@{version}: "),
        (Some(secret), None) => format!("{secret}: "),
        (None, _) => String::new(),
    };
    format!("{}{whose}{problem}\n", namespace.unwrap_or_default())
}

pub fn sound(found: &Inspection) -> String {
    let Inspection { namespaces, secrets, versions, .. } = found;
    let [namespaces, secrets, versions] =
        [(namespaces, "namespace"), (secrets, "secret"), (versions, "version")]
            .map(|(count, what)| output::counted(*count, what));
    format!("{namespaces}, {secrets}, {versions}")
}
