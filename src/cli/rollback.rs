//! `secretfs rollback`: makes an older version of a secret the active one again.

use super::report::{Failure, warn};
use super::{Common, exit, named, open, output};
use crate::store::Access;

#[derive(clap::Args)]
pub struct Args {
    /// The secret
    #[arg(add = super::completions::secrets())]
    name: String,
    /// The version, as `secretfs versions` has it
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    to: u64,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let (store, namespace) = open::here(common, Access::Write)?;
    let info = named::find_whole(&store, &namespace, &args.name)?;
    let name = named::whole(&info.name)?;
    let stamp = open::stamp();
    let now = stamp.now;
    let (from, expires) = store.change(&namespace, stamp, |change| {
        let from = change.describe(&name)?.map_or(0, |it| it.active);
        if from != args.to {
            change.activate(&name, args.to)?;
        }
        Ok::<_, Failure>((from, change.describe(&name)?.and_then(|it| it.expires_at)))
    })?;
    if expires.is_some_and(|end| end <= now) {
        warn(format!("version {} has expired: it is refused when it is read", args.to));
    }
    match common.json {
        true => {
            output::print_json(&serde_json::json!({"name": info.name, "version": args.to, "from": from}))?
        }
        false if from == args.to => output::print(format!("{name}: version {from} was active already\n"))?,
        false => output::print(format!("{name}: version {} instead of {from}\n", args.to))?,
    }
    Ok(exit::OK)
}
