//! `secretfs exists`: answers by its exit status alone.

use super::named::{self, Readings};
use super::report::Failure;
use super::{Common, exit, open, output};
use crate::secret::{Reference, SecretName};
use crate::store::{Access, VersionInfo};

#[derive(clap::Args)]
pub struct Args {
    /// NAME, NAME.FIELD or NAME#FIELD, with @VERSION if not the active one
    #[arg(add = super::completions::fields())]
    name: String,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let readings = Readings::of(&args.name)?;
    let (store, namespace) = open::here(common, Access::Read)?;
    let mut is_there = false;
    for reference in &readings.references {
        named::of_store(reference)?;
        let Reference { key, field } = reference;
        let name = SecretName::parse(&key.path).map_err(|error| Failure::new(exit::DATA, error))?;
        let versions = store.versions(&namespace, &name)?.unwrap_or_default();
        let wanted = |it: &&VersionInfo| key.version.map_or(it.active, |version| version == it.version);
        let has = |it: &VersionInfo| {
            field.as_ref().is_none_or(|field| it.fields.iter().any(|known| known == field.as_str()))
        };
        is_there |= versions.iter().find(wanted).is_some_and(has);
    }
    if common.json {
        output::print_json(&serde_json::json!({"name": args.name, "exists": is_there}))?;
    }
    Ok(if is_there { exit::OK } else { exit::NO })
}
