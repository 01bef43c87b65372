//! `secretfs rm`: removes secrets with all their versions, in one transaction.

use super::report::Failure;
use super::{Common, confirm, exit, named, open, output};
use crate::secret::SecretName;
use crate::store::{Access, Scrub};

#[derive(clap::Args)]
pub struct Args {
    /// The secrets
    #[arg(value_name = "NAME", required = true, add = super::completions::secrets())]
    names: Vec<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let names: Vec<_> = args.names.iter().map(|name| named::whole(name)).collect::<Result<_, _>>()?;
    let (store, namespace) = open::here(common, Access::Write)?;
    let describe = |name: &SecretName| {
        store.describe(&namespace, name)?.ok_or_else(|| named::missing(&store, &namespace, name.as_str()))
    };
    let gone: Vec<_> = names.iter().map(describe).collect::<Result<_, _>>()?;
    let list = names.iter().map(SecretName::as_str).collect::<Vec<_>>().join(", ");
    confirm::removal(&list, "with all versions", args.yes)?;
    store
        .change(&namespace, open::stamp(), |change| names.iter().try_for_each(|name| change.remove(name)))?;
    store.forget_uses(&gone);
    open::scrub(&store, Scrub::Log);
    if common.json {
        output::print_json(&serde_json::json!({"removed": args.names}))?;
    } else {
        output::print(names.iter().map(|name| format!("{name}: removed\n")).collect::<String>())?;
    }
    Ok(exit::OK)
}
