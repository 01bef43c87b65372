//! `secretfs versions`: the versions of a secret. Never a value.

use std::time::Instant;

use super::report::Failure;
use super::{Common, audited, config, exit, named, open, output};
use crate::clock::{Clock, SystemClock};
use crate::store::{Access, VersionInfo};

#[derive(clap::Args)]
pub struct Args {
    /// The secret
    #[arg(add = super::completions::secrets())]
    name: String,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let since = Instant::now();
    let (store, namespace) = open::here(common, Access::Read)?;
    let info = named::find_whole(&store, &namespace, &args.name)?;
    audited::listed(&store, &config::load(common)?.audit, &namespace, Some(&info.name), since)?;
    let versions = store.versions(&namespace, &named::whole(&info.name)?)?;
    let versions = versions.ok_or_else(|| named::missing(&store, &namespace, &info.name))?;
    match common.json {
        true => output::print_json(&versions)?,
        false => output::print_table(
            &["VERSION", "STATE", "CREATED", "BY", "EXPIRES"],
            versions.iter().map(|it| row(it, info.disabled)),
        )?,
    }
    Ok(exit::OK)
}

fn row(version: &VersionInfo, is_disabled: bool) -> Vec<String> {
    let has_expired = version.expires_at.is_some_and(|end| end <= SystemClock.now());
    let state = match (version.revoked_at, has_expired, version.active) {
        (Some(_), _, _) => "revoked",
        (None, true, _) => "expired",
        (None, false, true) if is_disabled => "active, disabled",
        (None, false, true) => "active",
        (None, false, false) => "",
    };
    vec![
        version.version.to_string(),
        state.to_owned(),
        output::time(version.created_at),
        version.created_by.clone(),
        output::time_or(version.expires_at, "-"),
    ]
}
