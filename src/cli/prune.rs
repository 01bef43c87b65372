//! `secretfs prune`: destroys old versions of secrets, by their number and age, in one transaction.

use jiff::Timestamp;
use serde::Serialize;

use super::report::{Failure, note};
use super::{Common, confirm, exit, named, open, output, when};
use crate::secret::{Namespace, SecretName};
use crate::store::{Access, Keep, Store};

#[derive(clap::Args)]
pub struct Args {
    /// The secrets; all of the namespace if none is named
    #[arg(value_name = "NAME", add = super::completions::secrets())]
    names: Vec<String>,
    /// How many of the newest versions of each stay; the active one always does
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    keep: usize,
    /// Only versions that are older than this: 90d
    #[arg(long, value_name = "TIME")]
    older_than: Option<String>,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Pruned {
    name: String,
    destroyed: Vec<u64>,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let stamp = open::stamp();
    let keep = Keep { newest: args.keep, since: since(args.older_than.as_deref(), stamp.now)? };
    let access = if args.dry_run { Access::Read } else { Access::Write };
    let (store, namespace) = open::here(common, access)?;
    open::check_namespace(&store, &namespace)?;
    let names = names(&args.names, &store, &namespace)?;
    let planned = plan(&store, &namespace, &names, &keep)?;
    if planned.is_empty() {
        return tell(&planned, "", common).map(|()| exit::OK);
    }
    if args.dry_run {
        return tell(&planned, "would be destroyed", common).map(|()| exit::OK);
    }
    let count = planned.iter().map(|it| it.destroyed.len()).sum();
    let what =
        format!("{} of {}", output::counted(count, "version"), output::counted(planned.len(), "secret"));
    confirm::removal(&what, "with their values", args.yes)?;
    let done = store.change(&namespace, stamp, |change| {
        let prune =
            |name| Ok(Pruned { name: ToString::to_string(name), destroyed: change.prune(name, &keep)? });
        names.iter().map(prune).collect::<Result<Vec<_>, Failure>>()
    })?;
    open::scrub(&store);
    tell(&with_some(done), "destroyed", common)?;
    Ok(exit::OK)
}

fn since(older_than: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    older_than.map(|text| when::parse_past(text, now)).transpose()
}

fn names(named: &[String], store: &Store, namespace: &Namespace) -> Result<Vec<SecretName>, Failure> {
    if named.is_empty() {
        return store.list(namespace)?.iter().map(|it| named::whole(&it.name)).collect();
    }
    let find = |text: &String| named::whole(&named::find_whole(store, namespace, text)?.name);
    named.iter().map(find).collect()
}

fn plan(
    store: &Store,
    namespace: &Namespace,
    names: &[SecretName],
    keep: &Keep,
) -> Result<Vec<Pruned>, Failure> {
    let plan = |name: &SecretName| {
        let versions = store.versions(namespace, name)?.unwrap_or_default();
        Ok(Pruned { name: name.to_string(), destroyed: keep.leaves_out(&versions) })
    };
    Ok(with_some(names.iter().map(plan).collect::<Result<_, Failure>>()?))
}

fn with_some(all: Vec<Pruned>) -> Vec<Pruned> {
    all.into_iter().filter(|it| !it.destroyed.is_empty()).collect()
}

fn tell(pruned: &[Pruned], what: &str, common: &Common) -> Result<(), Failure> {
    if common.json {
        return output::print_json(&pruned);
    }
    if pruned.is_empty() {
        note("no version is old enough to go");
        return Ok(());
    }
    let line = |it: &Pruned| {
        let numbers: Vec<_> = it.destroyed.iter().map(ToString::to_string).collect();
        let plural = if numbers.len() == 1 { "" } else { "s" };
        format!("{}: version{plural} {} {what}\n", it.name, numbers.join(", "))
    };
    output::print(pruned.iter().map(line).collect::<String>())
}
