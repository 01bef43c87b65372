//! `secretfs edit`: changes what is known of a secret beside its values. No version is added.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::report::Failure;
use super::{Common, completions, exit, named, open, output, when};
use crate::clock::{Clock, SystemClock};
use crate::secret::SecretName;
use crate::store::{Access, Change, Edit, SecretInfo};

#[derive(clap::Args)]
pub struct Args {
    /// The secret
    #[arg(add = completions::secrets())]
    name: String,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Wanted {
    /// What it is for; an empty text takes it away, as with --label and --owner
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The service that it belongs to: openai, slack, …
    #[arg(long, value_name = "NAME", add = completions::labels())]
    label: Option<String>,
    /// Who answers for it
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// A tag to add
    #[arg(long = "tag", value_name = "TAG", add = completions::tags())]
    tags: Vec<String>,
    /// A tag to take away
    #[arg(long = "untag", value_name = "TAG", add = completions::tags())]
    gone: Vec<String>,
    /// When its active version expires: 30d, 2027-01-31, 2027-01-31T12:00:00Z, never
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let name = named::whole(&args.name)?;
    let now = SystemClock.now();
    let expires = args.wanted.expires.as_deref().map(|text| end(text, now)).transpose()?;
    let (store, namespace) = open::here(common, Access::Write)?;
    if store.describe(&namespace, &name)?.is_none() {
        return Err(named::missing(&store, &namespace, name.as_str()));
    }
    let stamp = open::stamp_at(now);
    let mut info = store.change(&namespace, stamp, |change| args.wanted.apply(change, &name, expires))?;
    store.tell_uses(std::slice::from_mut(&mut info));
    match common.json {
        true => output::print_json(&info)?,
        false => output::print(format!("{name}: changed\n"))?,
    }
    Ok(exit::OK)
}

fn end(text: &str, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    match text {
        "never" => Ok(None),
        text => when::parse_future(text, now).map(Some),
    }
}

impl Wanted {
    fn apply(
        &self,
        change: &mut Change<'_>,
        name: &SecretName,
        expires: Option<Option<Timestamp>>,
    ) -> Result<SecretInfo, Failure> {
        let there = change.describe(name)?.map(|info| info.tags).unwrap_or_default();
        let mut info = change.edit(name, &self.edit(there))?;
        if let Some(at) = expires {
            info = change.expire(name, at)?;
        }
        Ok(info)
    }

    fn edit(&self, mut tags: BTreeSet<String>) -> Edit {
        tags.retain(|tag| !self.gone.contains(tag));
        tags.extend(self.tags.iter().cloned());
        Edit {
            kind: None,
            description: self.description.clone(),
            label: self.label.clone(),
            owner: self.owner.clone(),
            tags: Some(tags),
        }
    }
}
