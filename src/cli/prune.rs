//! `secretfs prune`: destroys old versions of secrets, by their number and age, in one transaction.
//! What the config's templates name by its number stays.

use jiff::Timestamp;
use serde::Serialize;

use super::check::Pins;
use super::report::{Failure, note};
use super::{Common, config, confirm, exit, named, open, output, when};
use crate::secret::{Namespace, SecretName};
use crate::store::{Access, Fate, Keep, Scrub, Store};

#[derive(clap::Args)]
pub struct Args {
    /// The secrets; all of the namespace if none is named
    #[arg(value_name = "NAME", add = super::completions::secrets())]
    names: Vec<String>,
    /// How many of the newest versions of each stay; the active one always does, and so does one that
    /// a template of the config names
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    keep: usize,
    /// Only versions that are older than this: 90d
    #[arg(long, value_name = "TIME")]
    older_than: Option<String>,
    /// Only say what would go, and why the rest stays
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kept: Vec<Kept>,
}

/// A version that stays.
#[derive(Serialize)]
pub struct Kept {
    pub version: u64,
    because: String,
}

impl Kept {
    /// A template names it by its number.
    pub fn named(pins: &Pins, name: &str, version: u64) -> Self {
        let place = pins.place(name, version).unwrap_or_default();
        Self { version, because: format!("{place} names it") }
    }

    pub fn line(&self, name: &str) -> String {
        format!("{name}: version {} stays: {}\n", self.version, self.because)
    }
}

/// What stays of each secret, and where it is said so.
struct Rule {
    keep: Keep,
    pins: Pins,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let stamp = open::stamp();
    let pins = Pins::of_config(&config::load(common)?)?;
    let since = since(args.older_than.as_deref(), stamp.now)?;
    let rule = Rule { keep: Keep { newest: args.keep, since, pinned: Default::default() }, pins };
    let access = if args.dry_run { Access::Read } else { Access::Write };
    let (store, namespace) = open::here(common, access)?;
    open::check_namespace(&store, &namespace)?;
    let names = names(&args.names, &store, &namespace)?;
    let planned = rule.plan(&store, &namespace, &names)?;
    if args.dry_run {
        return tell(&planned, "would be destroyed", common).map(|()| exit::OK);
    }
    let planned = with_some(planned);
    if planned.is_empty() {
        return tell(&planned, "", common).map(|()| exit::OK);
    }
    let count = planned.iter().map(|it| it.destroyed.len()).sum();
    let what =
        format!("{} of {}", output::counted(count, "version"), output::counted(planned.len(), "secret"));
    confirm::removal(&what, "with their values", args.yes)?;
    let done = store.change(&namespace, stamp, |change| {
        let prune = |name: &SecretName| {
            let destroyed = change.prune(name, &rule.of(name))?;
            Ok(Pruned { name: name.to_string(), destroyed, kept: Vec::new() })
        };
        names.iter().map(prune).collect::<Result<Vec<_>, Failure>>()
    })?;
    open::scrub(&store, Scrub::Files);
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

impl Rule {
    fn of(&self, name: &SecretName) -> Keep {
        Keep { pinned: self.pins.of(name.as_str()), ..self.keep.clone() }
    }

    /// Those of which something would go, or stays only because it is named.
    fn plan(
        &self,
        store: &Store,
        namespace: &Namespace,
        names: &[SecretName],
    ) -> Result<Vec<Pruned>, Failure> {
        let mut planned = Vec::new();
        for name in names {
            let fates = self.of(name).fates(&store.versions(namespace, name)?.unwrap_or_default());
            if fates.iter().any(|(_, fate)| matches!(fate, Fate::Goes | Fate::Pinned)) {
                planned.push(self.told(name, &fates));
            }
        }
        Ok(planned)
    }

    fn told(&self, name: &SecretName, fates: &[(u64, Fate)]) -> Pruned {
        let destroyed = fates.iter().filter(|(_, fate)| *fate == Fate::Goes).map(|(version, _)| *version);
        let kept = fates.iter().filter_map(|&(version, fate)| {
            Some(Kept { version, because: self.reason(name.as_str(), version, fate)? })
        });
        Pruned { name: name.to_string(), destroyed: destroyed.collect(), kept: kept.collect() }
    }

    fn reason(&self, name: &str, version: u64, fate: Fate) -> Option<String> {
        Some(match fate {
            Fate::Goes => return None,
            Fate::Active => "it is the active one".to_owned(),
            Fate::Pinned => Kept::named(&self.pins, name, version).because,
            Fate::Newest => format!("it is one of the {} newest", self.keep.newest),
            Fate::Young => "it is not old enough".to_owned(),
        })
    }
}

fn with_some(all: Vec<Pruned>) -> Vec<Pruned> {
    all.into_iter().filter(|it| !it.destroyed.is_empty()).collect()
}

fn tell(pruned: &[Pruned], what: &str, common: &Common) -> Result<(), Failure> {
    if common.json {
        return output::print_json(&pruned);
    }
    if pruned.iter().all(|it| it.destroyed.is_empty()) {
        note("no version is old enough to go");
    }
    output::print(pruned.iter().map(|it| it.lines(what)).collect::<String>())
}

impl Pruned {
    fn lines(&self, what: &str) -> String {
        let numbers: Vec<_> = self.destroyed.iter().map(ToString::to_string).collect();
        let plural = if numbers.len() == 1 { "" } else { "s" };
        let head = match numbers.is_empty() {
            true => String::new(),
            false => format!("{}: version{plural} {} {what}\n", self.name, numbers.join(", ")),
        };
        head + &self.kept.iter().map(|it| it.line(&self.name)).collect::<String>()
    }
}
