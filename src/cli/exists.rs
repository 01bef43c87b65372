//! `secretfs exists`: answers by its exit status alone.

use super::report::Failure;
use super::{Common, config, exit, open, output};
use crate::secret::SecretName;
use crate::store::Access;

#[derive(clap::Args)]
pub struct Args {
    /// The secret
    #[arg(add = super::completions::secrets())]
    name: String,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let name = SecretName::parse(&args.name).map_err(|error| Failure::new(exit::DATA, error))?;
    let namespace = open::namespace(common)?;
    let store = open::open_store(common, &config::load(common)?.store, Access::Read)?;
    let is_there = store.describe(&namespace, &name)?.is_some();
    if common.json {
        output::print_json(&serde_json::json!({"name": name.as_str(), "exists": is_there}))?;
    }
    Ok(if is_there { exit::OK } else { exit::NO })
}
