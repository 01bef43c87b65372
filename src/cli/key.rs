//! `secretfs key`: the keys of the store, by their ids. Never a key.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::progress::Progress;
use super::report::Failure;
use super::{Common, config, exit, init, open, output};
use crate::secret::Namespace;
use crate::store::{Access, KeySources, KeyStatus, MasterKey, Store};

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
}

#[derive(clap::Args)]
struct Rotate {
    /// All namespaces
    #[arg(long)]
    all: bool,
    /// The master key instead, which wraps the others
    #[arg(long, conflicts_with = "all")]
    master: bool,
    /// The file for the new master key; one that is there is taken as it is
    #[arg(long, value_name = "FILE", requires = "master")]
    to: Option<PathBuf>,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    match &args.action {
        Action::Status => status(common)?,
        Action::Rotate(args) if args.master => change_master(args.to.as_deref(), common)?,
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
    open::scrub(&store);
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

fn change_master(to: Option<&Path>, common: &Common) -> Result<(), Failure> {
    let (store, _) = open::here(common, Access::Write)?;
    let sources = open::key_sources(common, &config::load(common)?.store);
    let old = store.key_status()?.master;
    let (key, file) = new_master(to, &sources, &store)?;
    if key.id() == old {
        return Err(Failure::new(
            exit::USAGE,
            format!("{} holds the key that the store has", file.display()),
        )
        .hint("--to with a file that is not there: a new key is made"));
    }
    store.change_master(&key)?;
    open::scrub(&store);
    let file = std::path::absolute(&file).unwrap_or(file).display().to_string();
    if common.json {
        return output::print_json(&serde_json::json!({"master": key.id(), "key_file": file}));
    }
    output::print(format!(
        "key    {file}\n       keep a copy elsewhere: without it nothing in the store can be read\n\
         old    no longer opens the store; older backups of it still need it\n"
    ))
}

/// The key is in its file, for good, before the store needs it.
fn new_master(
    to: Option<&Path>,
    sources: &KeySources,
    store: &Store,
) -> Result<(MasterKey, PathBuf), Failure> {
    let id = store.id()?;
    let at = |file: &Path| KeySources { file: Some(file.to_owned()), ..KeySources::default() };
    let file = match to {
        Some(file) => {
            init::key_for(&at(file), &id, store.dir())?;
            file.to_owned()
        }
        None => {
            let key = MasterKey::generate()?;
            let place = sources.next_file(&id, &key).ok_or_else(|| {
                Failure::new(exit::CONFIG, "there is no place for the key: HOME is not set").hint("--to FILE")
            })?;
            key.write(&place)?;
            place
        }
    };
    let written = at(&file).given()?;
    let key = written.ok_or_else(|| Failure::new(exit::IO, format!("{} is gone", file.display())))?;
    Ok((key, file))
}
