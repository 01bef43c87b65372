//! `check --as`: what a caller that is described would get of each file of the mounts and of each
//! credential. May use every layer.

use serde::Serialize;

use crate::cli::output;
use crate::cli::policy::asked::Caller;
use crate::cli::policy::told::{Told, as_json, in_words};
use crate::cli::policy::wanted::{Served, Wanted};
use crate::cli::report::Failure;
use crate::config::Config;
use crate::daemon::rules;
use crate::policy::{Access, Action, Door, Verdict};

#[derive(Serialize)]
pub(super) struct Seen {
    file: String,
    verdict: &'static str,
    rule: serde_json::Value,
    #[serde(skip)]
    why: String,
}

/// One row for each file whose template can be judged, and each credential.
pub(super) fn of(config: &Config, caller: &Caller, door: Option<Door>) -> Result<Vec<Seen>, Failure> {
    let policy = rules::policy(config)?;
    let mut seen = Vec::new();
    for target in &Served::of_config(config)?.through(door).all {
        // What is wrong with a template is among the faults.
        let Ok(wanted) = Wanted::whole(target) else { continue };
        let door = door.unwrap_or(target.door());
        let who = caller.identity(door)?;
        let access = Access { door, action: Action::Read, file: wanted.file(), keys: &wanted.keys };
        let Told { verdict, rule, .. } = Told::of(&policy, &who, &access, &[]);
        let file = target.path().display().to_string();
        seen.push(Seen { file, verdict: verdict.name(), rule: as_json(&rule), why: in_words(&rule) });
    }
    Ok(seen)
}

pub(super) fn table(seen: &[Seen]) -> Option<String> {
    let row = |it: &Seen| vec![it.file.clone(), it.verdict.to_owned(), it.why.clone()];
    output::table(&["FILE", "GETS", "BY"], seen.iter().map(row))
}

pub(super) fn is_denied(seen: &[Seen]) -> bool {
    seen.iter().any(|it| it.verdict == Verdict::Deny.name())
}
