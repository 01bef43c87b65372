//! `secretfs test`: whether a secret does what it is for, by its type. Never a value.

use std::time::Instant;

use serde::Serialize;

use super::report::Failure;
use super::{Common, audited, config, exit, named, open, output};
use crate::clock::{Clock, SystemClock};
use crate::secret::{Absent, Namespace, SecretBytes, SecretName};
use crate::store::{Access, Change, Edit, NewVersion, Store, StoreError};
use crate::trial::{self, Reach, Trial, Verdict};

#[derive(clap::Args)]
pub struct Args {
    /// The secret
    #[arg(add = super::completions::secrets())]
    name: String,
    /// This version, not the active one
    #[arg(long, value_name = "NUMBER", conflicts_with = "refresh")]
    version: Option<u64>,
    /// Use the refresh token of an oauth secret, and keep what comes for it as a new version
    #[arg(long)]
    refresh: bool,
}

#[derive(Serialize)]
struct Tested<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    version: u64,
    /// `null`: nobody can tell.
    works: Option<bool>,
    seen: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    new_version: Option<u64>,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let since = Instant::now();
    let access = if args.refresh { Access::Write } else { Access::Read };
    let (store, namespace) = open::here(common, access)?;
    let name = named::whole(&args.name)?;
    let info = named::find_whole(&store, &namespace, &args.name)?;
    let now = SystemClock.now();
    let answer = store.get(&namespace, &[(name.clone(), args.version)], now)?.answers.pop();
    let found = answer.unwrap_or(Err(Absent::Missing)).map_err(|absent| {
        if let (Absent::Missing, Some(version)) = (&absent, args.version) {
            return StoreError::VersionMissing { name: name.to_string(), version }.into();
        }
        Failure::new(exit::NO_INPUT, format!("`{name}`: {absent}"))
            .hint(format!("secretfs versions {name} shows what there is"))
    })?;
    let secret = audited::named(&info.name, Some(found.version));
    let what = Some("tried where it is for");
    audited::used(&store, &config::load(common)?.audit, &namespace, secret, since, what)?;
    let trial = trial::of(found.kind, &found.fields, Reach { refresh: args.refresh }, now);
    let new_version = match trial.fresh.is_empty() {
        true => None,
        false => Some(keep(&store, &namespace, &name, &trial)?),
    };
    let tested = Tested {
        name: &info.name,
        kind: found.kind.as_str(),
        version: found.version,
        works: match trial.verdict {
            Verdict::Works => Some(true),
            Verdict::Fails => Some(false),
            Verdict::Unknown => None,
        },
        seen: &trial.seen,
        new_version,
    };
    tested.tell(common)
}

/// What the server has given goes into the store first of all: it may take the old tokens no more.
fn keep(store: &Store, namespace: &Namespace, name: &SecretName, trial: &Trial) -> Result<u64, Failure> {
    let copy = |value: &SecretBytes| SecretBytes::copy_of(value.expose());
    let add = |change: &mut Change<'_>| {
        let mut fields = change.fields(name)?;
        fields.extend(trial.fresh.iter().map(|(field, value)| (field.clone(), copy(value))));
        let expires_at = change.describe(name)?.and_then(|info| info.expires_at);
        change.put(name, NewVersion { fields, expires_at }, &Edit::default())
    };
    store.change(namespace, open::stamp(), add).map_err(|error| {
        let problem = format!("`{name}`: the server gave new tokens, and they could not be kept: {error}");
        Failure::new(exit::IO, problem).hint("log in anew at its provider if the old ones are refused")
    })
}

impl Tested<'_> {
    fn tell(&self, common: &Common) -> Result<u8, Failure> {
        let status = if self.works == Some(false) { exit::NO } else { exit::OK };
        if common.json {
            return output::print_json(self).map(|()| status);
        }
        let (name, version) = (self.name, self.version);
        let (last, before) =
            self.seen.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
        let (head, seen) = match self.works {
            Some(true) => (format!("{name}: version {version} works\n"), self.seen),
            Some(false) => (String::new(), before),
            None => (format!("{name}: nobody can tell: {last}\n"), before),
        };
        let kept = self.new_version.iter().map(|version| format!("{name}: version {version}\n"));
        output::print(head + &seen.iter().map(|line| format!("  {line}\n")).chain(kept).collect::<String>())?;
        match self.works {
            Some(false) => {
                Err(Failure::new(status, format!("`{name}` version {version} does not work: {last}")).hint(
                    format!("secretfs rotate {name} adds one that does; the server's log may say more"),
                ))
            }
            _ => Ok(status),
        }
    }
}
