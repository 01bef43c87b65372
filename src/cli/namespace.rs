//! `secretfs namespace`: the namespaces of the store, each with keys of its own. Never a value.

mod hand;

use nix::unistd::{Uid, User};

use super::report::Failure;
use super::{Common, confirm, exit, open, output};
use crate::secret::Namespace;
use crate::store::{Access, NamespaceInfo, Scrub, StoreError};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Make an empty namespace
    Create {
        /// Like a secret's name, or user:UID
        name: String,
    },
    /// Give a namespace to a user of this machine, as a store of that user's own
    Hand(hand::Args),
    /// List the namespaces
    List,
    /// Remove a namespace with its keys and all that is in it
    Rm {
        #[arg(add = super::completions::namespaces())]
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    match &args.action {
        Action::Create { name } => create(name, common)?,
        Action::Hand(args) => {
            let (common, namespace) = of(args.name(), common)?;
            hand::run(args, &namespace, &common)?;
        }
        Action::List => list(common)?,
        Action::Rm { name, yes } => remove(name, *yes, common)?,
    }
    Ok(exit::OK)
}

/// The one that is named as an argument, by the rules of `--namespace`.
fn of(name: &str, common: &Common) -> Result<(Common, Namespace), Failure> {
    let common = Common { namespace: Some(name.to_owned()), ..common.clone() };
    let namespace = open::namespace(&common)?;
    Ok((common, namespace))
}

fn create(name: &str, common: &Common) -> Result<(), Failure> {
    let (common, namespace) = of(name, common)?;
    let (store, _) = open::here(&common, Access::Write)?;
    store.create_namespace(&namespace, open::stamp())?;
    tell(&namespace, "created", &common)
}

fn remove(name: &str, yes: bool, common: &Common) -> Result<(), Failure> {
    let (common, namespace) = of(name, common)?;
    let (store, _) = open::here(&common, Access::Write)?;
    let there = store.describe_namespaces()?.into_iter().find(|it| it.name == namespace.as_str());
    let there = there.ok_or_else(|| StoreError::NamespaceMissing(namespace.to_string()))?;
    let count = usize::try_from(there.secrets).unwrap_or(usize::MAX);
    let with = format!("with its keys and {}", output::counted(count, "secret"));
    confirm::removal(&format!("the namespace {namespace}"), &with, yes)?;
    // What is damaged has to be removable, too.
    let gone = store.list(&namespace).unwrap_or_default();
    store.remove_namespace(&namespace)?;
    store.forget_uses(&gone);
    open::scrub(&store, Scrub::Log);
    tell(&namespace, "removed", &common)
}

fn tell(namespace: &Namespace, done: &str, common: &Common) -> Result<(), Failure> {
    match common.json {
        true => output::print_json(&serde_json::json!({done: namespace.as_str()})),
        false => output::print(format!("{namespace}: {done}\n")),
    }
}

/// A namespace with whose it is.
#[derive(serde::Serialize)]
struct Listed {
    #[serde(flatten)]
    info: NamespaceInfo,
    owner: Option<String>,
}

fn list(common: &Common) -> Result<(), Failure> {
    let (store, _) = open::here(common, Access::Read)?;
    let listed: Vec<_> = store
        .describe_namespaces()?
        .into_iter()
        .map(|info| Listed { owner: Namespace::parse(&info.name).ok().and_then(|it| owner(&it)), info })
        .collect();
    if common.json {
        return output::print_json(&listed);
    }
    let row = |it: &Listed| {
        let owner = it.owner.clone().unwrap_or_else(|| "-".into());
        vec![it.info.name.clone(), owner, it.info.secrets.to_string()]
    };
    output::print_table(&["NAMESPACE", "OWNER", "SECRETS"], listed.iter().map(row))
}

/// The user's name, or the number of one who has none.
fn owner(namespace: &Namespace) -> Option<String> {
    let uid = namespace.user()?;
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    Some(user.map_or_else(|| format!("uid:{uid}"), |user| user.name))
}
