//! `secretfs destroy`: removes the values of one version of a secret, also from the store's files.

use super::report::Failure;
use super::{Common, confirm, exit, named, open, output};
use crate::store::{Access, Scrub};

#[derive(clap::Args)]
pub struct Args {
    /// The secret
    #[arg(add = super::completions::secrets())]
    name: String,
    /// The version; not the active one
    #[arg(long = "version", value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    number: u64,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let (store, namespace) = open::here(common, Access::Write)?;
    let info = named::find_whole(&store, &namespace, &args.name)?;
    let (name, version) = (named::whole(&info.name)?, args.number);
    if version == info.active {
        let failure = Failure::new(exit::DATA, format!("version {version} of `{name}` is the active one"));
        return Err(
            failure.hint(format!("secretfs rotate {name}, or rollback to another, then destroy this one"))
        );
    }
    confirm::removal(&format!("version {version} of {name}"), "with its values", args.yes)?;
    store.change(&namespace, open::stamp(), |change| change.destroy(&name, version))?;
    open::scrub(&store, Scrub::Files);
    match common.json {
        true => output::print_json(&serde_json::json!({"name": info.name, "destroyed": [version]}))?,
        false => output::print(format!("{name}: version {version} destroyed\n"))?,
    }
    Ok(exit::OK)
}
