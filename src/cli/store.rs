//! `secretfs store`: the store as a whole: is it sound, what can be saved of it, how it is kept.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::report::{Failure, warn};
use super::{Common, audited, config, exit, init, open, output};
use crate::audit::Kind;
use crate::config::{AuditConfig, Config};
use crate::store::{Access, BackendKind, Damage, Inspection, Migration, Store};

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
    /// Keep it in another way: sqlite, for any number of secrets, or file, where SQLite cannot work
    Migrate {
        /// The backend to move to; what it was is put aside
        #[arg(long, value_name = "BACKEND", value_parser = init::backends(), hide_possible_values = true)]
        to: BackendKind,
    },
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    match &args.action {
        Action::Verify => verify(common),
        Action::Repair { to } => repair(to, common),
        Action::Migrate { to } => migrate(*to, common),
    }
}

/// Whatever it is like.
fn damaged(common: &Common) -> Result<(Store, AuditConfig), Failure> {
    let Config { store: config, audit, .. } = config::load(common)?;
    let (dir, sources) = (open::store_path(common, &config), open::key_sources(common, &config));
    Ok((Store::open_damaged(&dir, &sources)?, audit))
}

fn verify(common: &Common) -> Result<u8, Failure> {
    let found = damaged(common)?.0.inspect()?;
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
    let (store, audit) = damaged(common)?;
    match store.audit_seed() {
        Ok(_) => audited::whole_at(&store, &audit, Kind::Repair, to)?,
        Err(error) if audit.is_on() => warn(format!("the audit has no key, and is not told: {error}")),
        Err(_) => {}
    }
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
    } else {
        found.damages.iter().for_each(|damage| warn(line(damage).trim_end()));
        output::print(format!("store  {dir}\nsaved  {}\n", sound(&found)))?;
    }
    let lost = match found.damages.iter().filter(|damage| damage.lost).count() {
        0 => return Ok(exit::OK),
        1 => "one thing could not be saved".to_owned(),
        more => format!("{more} things could not be saved"),
    };
    Err(Failure::new(exit::NO, lost).hint("take what is missing from a backup, or set it anew"))
}

fn migrate(to: BackendKind, common: &Common) -> Result<u8, Failure> {
    let (store, _) = open::here(common, Access::Write)?;
    audited::whole(&store, &config::load(common)?.audit, Kind::Migrate, &format!("to {}", to.as_str()))?;
    let Migration { moved, kept } = store.migrate(to)?;
    let kept = kept.map(|dir| dir.display().to_string());
    if common.json {
        #[derive(Serialize)]
        struct Migrated<'a> {
            backend: &'a str,
            moved: bool,
            kept: Option<String>,
            #[serde(flatten)]
            found: Option<&'a Inspection>,
        }
        let (moved, found) = (moved.is_some(), moved.as_ref());
        output::print_json(&Migrated { backend: to.as_str(), moved, kept, found })?;
        return Ok(exit::OK);
    }
    let moved = match &moved {
        Some(found) => format!("moved  {}, to {}\n", sound(found), to.as_str()),
        None => format!("store  is kept by {} already\n", to.as_str()),
    };
    let kept = kept.map_or(String::new(), |dir| {
        format!("old    {dir}, the store as it was: remove it when all is well\n")
    });
    output::print(moved + &kept)?;
    Ok(exit::OK)
}

fn line(damage: &Damage) -> String {
    let Damage { namespace, secret, version, problem, lost } = damage;
    let namespace = namespace.as_deref().map(|it| format!("namespace {it}: "));
    let whose = match (secret, version) {
        (Some(secret), Some(version)) => format!("{secret}@{version}: "),
        (Some(secret), None) => format!("{secret}: "),
        (None, _) => String::new(),
    };
    let rest = if *lost { "" } else { "; repair mends that" };
    format!("{}{whose}{problem}{rest}\n", namespace.unwrap_or_default())
}

pub fn sound(found: &Inspection) -> String {
    let Inspection { namespaces, secrets, versions, .. } = found;
    let [namespaces, secrets, versions] =
        [(namespaces, "namespace"), (secrets, "secret"), (versions, "version")]
            .map(|(count, what)| output::counted(*count, what));
    format!("{namespaces}, {secrets}, {versions}")
}
