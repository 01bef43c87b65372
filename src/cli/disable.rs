//! `secretfs disable` and `secretfs enable`: whether anybody gets the values of secrets, in one
//! transaction. What is disabled keeps its versions.

use serde_json::json;

use super::report::Failure;
use super::{Common, completions, exit, named, open, output};
use crate::store::Access;

#[derive(clap::Args)]
pub struct Args {
    /// The secrets
    #[arg(value_name = "NAME", required = true, add = completions::secrets())]
    names: Vec<String>,
}

/// Takes them out of use, or, with `enable`, back into it.
pub fn run(args: &Args, common: &Common, is_disabled: bool) -> Result<u8, Failure> {
    let names: Vec<_> = args.names.iter().map(|name| named::whole(name)).collect::<Result<_, _>>()?;
    let (store, namespace) = open::here(common, Access::Write)?;
    for name in &names {
        if store.describe(&namespace, name)?.is_none() {
            return Err(named::missing(&store, &namespace, name.as_str()));
        }
    }
    let stamp = open::stamp();
    store.change(&namespace, stamp, |change| {
        names.iter().try_for_each(|name| change.disable(name, is_disabled).map(drop))
    })?;
    let done = if is_disabled { "disabled" } else { "enabled" };
    match common.json {
        true => output::print_json(&json!({ done: args.names }))?,
        false => output::print(names.iter().map(|name| format!("{name}: {done}\n")).collect::<String>())?,
    }
    Ok(exit::OK)
}
