//! `secretfs key`: the keys of the store, by their ids. Never a key.

pub mod kernel;
mod master;

use serde::Serialize;

use super::progress::Progress;
use super::report::Failure;
use super::{Common, exit, open, output};
use crate::secret::Namespace;
use crate::store::{Access, KeyStatus, Scrub, Store};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Give a namespace a new key, seal all of it anew, and destroy the old key
    Rotate(Rotate),
    /// List the keys and how many secrets each seals
    Status,
    /// Put the master key into a keyring of the kernel: the store opens with it until the next boot
    Load(kernel::Args),
    /// Take the master key out of the kernel's keyrings
    Unload,
}

#[derive(clap::Args)]
struct Rotate {
    /// All namespaces
    #[arg(long)]
    all: bool,
    /// The master key instead, which wraps the others
    #[arg(long, conflicts_with = "all")]
    master: bool,
    #[command(flatten)]
    to: master::Args,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    match &args.action {
        Action::Status => status(common)?,
        Action::Load(args) => kernel::load(args, common)?,
        Action::Unload => kernel::unload(common)?,
        Action::Rotate(args) if args.master => master::change(&args.to, common)?,
        Action::Rotate(args) => rotate(args.all, common)?,
    }
    Ok(exit::OK)
}

fn status(common: &Common) -> Result<(), Failure> {
    let (store, _) = open::here(common, Access::Read)?;
    let status = store.key_status()?;
    match common.json {
        true => output::print_json(&status),
        false => {
            output::print(format!("master key  {}\n\n", status.master))?;
            output::print_table(&["NAMESPACE", "KEY", "STATE", "SECRETS"], rows(&status))
        }
    }
}

fn rows(status: &KeyStatus) -> Vec<Vec<String>> {
    let keys = status.namespaces.iter().flat_map(|it| it.keys.iter().map(move |key| (&it.namespace, key)));
    keys.map(|(namespace, key)| {
        let state = if key.active { "active" } else { "only opens" };
        vec![namespace.clone(), key.id.clone(), state.to_owned(), key.secrets.to_string()]
    })
    .collect()
}

#[derive(Serialize)]
struct Rotated {
    namespace: String,
    secrets: usize,
}

fn rotate(all: bool, common: &Common) -> Result<(), Failure> {
    let (store, namespace) = open::here(common, Access::Write)?;
    open::check_namespace(&store, &namespace)?;
    let namespaces = if all { store.namespaces()? } else { vec![namespace] };
    let done: Vec<_> =
        namespaces.iter().map(|it| rotate_one(&store, it, common)).collect::<Result<_, Failure>>()?;
    open::scrub(&store, Scrub::Log);
    if common.json {
        return output::print_json(&done);
    }
    let line = |it: &Rotated| {
        format!("{}: {} under a new key\n", it.namespace, output::counted(it.secrets, "secret"))
    };
    output::print(done.iter().map(line).collect::<String>())
}

/// What was broken off goes on with the next call.
fn rotate_one(store: &Store, namespace: &Namespace, common: &Common) -> Result<Rotated, Failure> {
    let known = store.describe_namespaces()?.into_iter().find(|it| it.name == namespace.as_str());
    let total = known.map_or(0, |it| usize::try_from(it.secrets).unwrap_or(usize::MAX));
    let progress = Progress::of(total, "sealing", common);
    let mut step = |count| (0..count).for_each(|_| progress.step());
    let secrets = store.rotate_key(namespace, &open::stamp(), &mut step)?;
    Ok(Rotated { namespace: namespace.to_string(), secrets })
}
