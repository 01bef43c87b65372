//! `secretfs show`: what is known of a secret beside its values.

use std::time::Instant;

use super::report::Failure;
use super::{Common, audited, config, exit, named, open, output};
use crate::store::{Access, SecretInfo, Used};

#[derive(clap::Args)]
pub struct Args {
    /// The secret
    #[arg(add = super::completions::secrets())]
    name: String,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let since = Instant::now();
    let (store, namespace) = open::here(common, Access::Read)?;
    let mut info = named::find_whole(&store, &namespace, &args.name)?;
    audited::listed(&store, &config::load(common)?.audit, &namespace, Some(&info.name), since)?;
    store.tell_uses(std::slice::from_mut(&mut info));
    match common.json {
        true => output::print_json(&info)?,
        false => output::print(lines(&info))?,
    }
    Ok(exit::OK)
}

fn lines(info: &SecretInfo) -> String {
    let tags = info.tags.iter().cloned().collect::<Vec<_>>().join(", ");
    let versions = format!("{} of {}", info.active, info.latest);
    let by = info.activated_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let activated = output::time(info.activated_at) + &by;
    let rows = [
        ("name", Some(info.name.clone())),
        ("type", Some(info.kind.as_str().to_owned())),
        ("fields", Some(info.fields.join(", "))),
        ("version", Some(versions)),
        ("state", info.disabled.then(|| "disabled".to_owned())),
        ("description", info.description.as_deref().map(output::visible)),
        ("label", info.label.as_deref().map(output::visible)),
        ("tags", (!tags.is_empty()).then(|| output::visible(&tags))),
        ("owner", info.owner.as_deref().map(output::visible)),
        ("created", Some(output::time(info.created_at))),
        ("updated", Some(output::time(info.updated_at))),
        ("activated", Some(activated)),
        ("expires", Some(output::time_or(info.expires_at, "never"))),
        ("used", info.used.map(used)),
    ];
    let shown = rows.into_iter().filter_map(|(key, value)| Some((key, value?)));
    shown.map(|(key, value)| format!("{key:<13}{value}\n")).collect()
}

fn used(used: Used) -> String {
    let times = output::counted(usize::try_from(used.count).unwrap_or(usize::MAX), "time");
    used.last.map_or_else(|| "never".to_owned(), |last| format!("{times}, last {}", output::time(last)))
}
