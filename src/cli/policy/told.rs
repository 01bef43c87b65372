//! A decision, for a person and for a program. Uses policy.

use serde_json::{Value, json};

use super::wanted::Wanted;
use crate::caller::Identity;
use crate::policy::{Access, Policy, RuleId, Verdict};

/// What a caller would get, and why.
pub struct Told {
    pub verdict: Verdict,
    pub rule: RuleId,
    /// What was not said of the caller, and could have led to something else.
    unknown: Vec<&'static str>,
}

impl Told {
    pub fn of(policy: &Policy, who: &Identity, access: &Access<'_>) -> Self {
        let decision = policy.evaluate(who, access);
        let unknown = policy.unknown(who, access).into_iter().collect();
        Self { verdict: decision.verdict(), rule: decision.rule().clone(), unknown }
    }

    pub fn as_text(&self, wanted: &Wanted, access: &Access<'_>) -> String {
        let Access { door, action, .. } = access;
        let mut lines = vec![
            format!("{}: {} ({action}, {door})", self.verdict, wanted.name()),
            format!("  {}", in_words(&self.rule)),
        ];
        if !self.unknown.is_empty() {
            let keys = self.unknown.join(", ");
            lines.push(format!("  not said, so taken as unknown: {keys}"));
        }
        lines.join("\n") + "\n"
    }

    pub fn as_json(&self, wanted: &Wanted, access: &Access<'_>) -> Value {
        json!({
            "verdict": self.verdict.name(),
            "file": wanted.file.as_ref().map(|file| file.path()),
            "secrets": wanted.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "door": access.door.name(),
            "action": access.action.name(),
            "rule": as_json(&self.rule),
            "unknown": self.unknown,
        })
    }
}

/// Which rule it was, and how it came to decide.
pub fn in_words(rule: &RuleId) -> String {
    match rule {
        RuleId::Mode => "by owner, group and mode: no rule is about this caller".to_owned(),
        RuleId::Nothing => "no rule is about it".to_owned(),
        RuleId::Owner => "no rule is about who has the store's key".to_owned(),
        RuleId::Refused(refusal) => format!("refused for {refusal}"),
        RuleId::Unknown => "what is in it is not known any more".to_owned(),
        RuleId::Rule(origin) => origin.to_string(),
        RuleId::Closed(origin) => format!("no rule allows it; others may, by {origin}"),
    }
}

pub fn as_json(rule: &RuleId) -> Value {
    let (by, origin) = match rule {
        RuleId::Mode => ("mode", None),
        RuleId::Nothing => ("nothing", None),
        RuleId::Owner => ("owner", None),
        RuleId::Refused(_) => ("refusal", None),
        RuleId::Unknown => ("unknown", None),
        RuleId::Rule(origin) => ("rule", Some(origin)),
        RuleId::Closed(origin) => ("closed", Some(origin)),
    };
    let place = origin.map(|origin| origin.place());
    json!({
        "by": by,
        "text": origin.map(|origin| origin.text()),
        "file": place.map(|place| &place.file),
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
    })
}
