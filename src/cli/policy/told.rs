//! A decision, for a person and for a program. Uses policy.

use serde_json::{Value, json};

use super::wanted::Wanted;
use crate::caller::Identity;
use crate::policy::{Access, Policy, RuleId, Verdict};
use crate::secret::Reference;

/// What a caller would get, and why.
pub struct Told {
    pub verdict: Verdict,
    pub rule: RuleId,
    /// What was not said of the caller, and could have led to something else.
    unknown: Vec<&'static str>,
    /// What is said of each thing that may be meant, where that differs.
    readings: Vec<(String, Verdict, RuleId)>,
}

impl Told {
    pub fn of(policy: &Policy, who: &Identity, access: &Access<'_>, readings: &[Reference]) -> Self {
        let decision = policy.evaluate(who, access);
        let unknown = policy.unknown(who, access).into_iter().collect();
        let of_reading = |it: &Reference| {
            let decision = policy.evaluate(who, &Access { keys: std::slice::from_ref(&it.key), ..*access });
            (as_meant(it), decision.verdict(), decision.rule().clone())
        };
        let mut readings: Vec<_> = readings.iter().map(of_reading).collect();
        if readings.iter().all(|it| it.1 == readings[0].1) {
            readings.clear();
        }
        Self { verdict: decision.verdict(), rule: decision.rule().clone(), unknown, readings }
    }

    pub fn as_text(&self, wanted: &Wanted, access: &Access<'_>) -> String {
        let Access { door, action, .. } = access;
        let mut lines = vec![
            format!("{}: {} ({action}, {door})", self.verdict, wanted.name()),
            format!("  {}", in_words(&self.rule)),
        ];
        let of_reading = |(what, verdict, rule): &(String, Verdict, RuleId)| {
            format!("  if {what} is meant: {verdict}, {}", in_words(rule))
        };
        lines.extend(self.readings.iter().map(of_reading));
        if !self.unknown.is_empty() {
            let keys = self.unknown.join(", ");
            lines.push(format!("  not said, so taken as unknown: {keys}"));
        }
        lines.join("\n") + "\n"
    }

    pub fn as_json(&self, wanted: &Wanted, access: &Access<'_>) -> Value {
        let mut document = json!({
            "verdict": self.verdict.name(),
            "file": wanted.target.as_ref().map(|target| target.path()),
            "secrets": wanted.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "door": access.door.name(),
            "action": access.action.name(),
            "rule": as_json(&self.rule),
            "unknown": self.unknown,
        });
        if !self.readings.is_empty() {
            let of = |(what, verdict, rule): &(String, Verdict, RuleId)| json!({"meant": what, "verdict": verdict.name(), "rule": as_json(rule)});
            document["readings"] = self.readings.iter().map(of).collect();
        }
        document
    }
}

fn as_meant(reference: &Reference) -> String {
    match &reference.field {
        Some(field) => format!("the field {field} of {}", reference.key),
        None => format!("a secret {}", reference.key),
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
