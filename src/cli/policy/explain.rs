//! `secretfs policy explain FILE`: who gets what of a file, rule by rule. Uses policy.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::told::as_json;
use super::wanted::{Served, Wanted};
use crate::cli::report::Failure;
use crate::cli::{Common, exit, output};
use crate::config::Config;
use crate::daemon::rules;
use crate::policy::{Access, Action, Door, FileRef, Naming, Policy, Rule, RuleId, Rules};
use crate::secret::SecretKey;

pub(super) fn run(served: &Served, config: &Config, path: &Path, common: &Common) -> Result<u8, Failure> {
    let target = served.find(path)?;
    let wanted = Wanted::whole(target)?;
    let policy = rules::policy(config)?;
    let Some(asked) = target.asked() else { return Ok(exit::OK) };
    let file = &Shown { path: target.path(), asked, door: target.door() };
    match common.json {
        true => output::print_json(&document(&policy, &wanted, file))?,
        false => output::print(text(&policy, &wanted, file))?,
    }
    Ok(exit::OK)
}

/// What is explained.
struct Shown<'a> {
    path: PathBuf,
    asked: FileRef<'a>,
    door: Door,
}

fn text(policy: &Policy, wanted: &Wanted, file: &Shown<'_>) -> String {
    let mut lines = vec![format!("{}", file.path.display())];
    lines.extend(of_file(file).iter().map(|line| format!("  {line}")));
    for key in &wanted.keys {
        let named = named(policy, file, key);
        lines.push(format!("the secret {key}"));
        lines.extend(numbered(named.iter().map(|(rule, naming)| (*rule, note(rule, *naming)))));
        lines.push(format!("  {}", rest(&named)));
    }
    lines.push(
        "The first rule that fits decides, for the file and for each secret; the strictest of all counts."
            .to_owned(),
    );
    lines.join("\n") + "\n"
}

fn of_file(file: &Shown<'_>) -> Vec<String> {
    let asked = &file.asked;
    let (list, owner) = (asked.rules.map_or(&[][..], Rules::list), asked.ownership);
    let mut lines: Vec<_> = numbered(list.iter().map(|rule| (rule, String::new()))).collect();
    let by_mode = format!("uid {}, gid {}, mode {:04o}", owner.uid, owner.gid, owner.mode);
    lines.push(match (asked.has_mode_decide(), list.is_empty()) {
        (true, true) => format!("no rules: read like a normal file, by {by_mode}"),
        (true, false) => format!("all others: like a normal file, by {by_mode}"),
        (false, _) => "all others: denied, as it is allowed to some".to_owned(),
    });
    lines.into_iter().map(|line| line.trim_start().to_owned()).collect()
}

fn numbered<'a>(rules: impl Iterator<Item = (&'a Rule, String)>) -> impl Iterator<Item = String> {
    rules.enumerate().map(|(index, (rule, note))| {
        format!("  {}. {}  {}{note}", index + 1, rule.origin.place(), rule.origin.text())
    })
}

/// The rules that name the secret, and how.
fn named<'a>(policy: &'a Policy, file: &Shown<'_>, key: &SecretKey) -> Vec<(&'a Rule, Naming)> {
    let keys = [key.clone()];
    let access = Access { door: file.door, action: Action::Read, file: Some(file.asked), keys: &keys };
    let mut named = policy.naming(&access);
    named.retain(|(_, naming)| *naming != Naming::No);
    named.into_iter().map(|(rule, naming)| (&rule.rule, naming)).collect()
}

fn note(rule: &Rule, naming: Naming) -> String {
    let closes = rule.verdict == crate::policy::Verdict::Real;
    match (naming, closes) {
        (Naming::Elsewhere, true) => " (of other files: here it closes the secret)".to_owned(),
        (Naming::Elsewhere, false) => " (of other files)".to_owned(),
        (Naming::Perhaps, _) => " (it may be about it: a part of it, or what the label means)".to_owned(),
        _ => String::new(),
    }
}

fn rest(named: &[(&Rule, Naming)]) -> &'static str {
    let is_closed = named.iter().any(|(rule, _)| rule.verdict == crate::policy::Verdict::Real);
    match (named.is_empty(), is_closed) {
        (true, _) => "no rule names it: whoever may read the file",
        (false, false) => "all others: whoever may read the file",
        (false, true) => "all others: denied, as it is allowed to some",
    }
}

fn document(policy: &Policy, wanted: &Wanted, file: &Shown<'_>) -> Value {
    let asked = &file.asked;
    let of_rule = |rule: &Rule| as_json(&RuleId::Rule(rule.origin.clone()));
    let of_secret = |key: &SecretKey| {
        let named = named(policy, file, key);
        json!({
            "secret": key.to_string(),
            "rules": named.iter().map(|(rule, naming)| {
                let mut document = of_rule(rule);
                document["here"] = (*naming != Naming::Elsewhere).into();
                document
            }).collect::<Vec<_>>(),
            "closed": named.iter().any(|(rule, _)| rule.verdict == crate::policy::Verdict::Real),
        })
    };
    json!({
        "file": file.path,
        "uid": asked.ownership.uid,
        "gid": asked.ownership.gid,
        "mode": format!("{:04o}", asked.ownership.mode),
        "rules": asked.rules.map_or(&[][..], Rules::list).iter().map(of_rule).collect::<Vec<_>>(),
        "closed": !asked.has_mode_decide(),
        "secrets": wanted.keys.iter().map(of_secret).collect::<Vec<_>>(),
    })
}
