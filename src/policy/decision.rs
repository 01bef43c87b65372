//! The outcome of a judgement. A [`Grant`] can only be made here, and nothing is resolved without
//! one: a search for `Grant::new` lists every place that says yes. Uses the words only.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::Verdict;
use super::rule::{By, Origin};
use crate::caller::Refusal;
use crate::secret::SecretKey;

/// Yes with its proof, yes for harmless values, or no with its reason.
#[must_use]
pub enum Decision {
    Granted(Grant),
    /// As `Granted`; the grant itself knows that no real value may be shown.
    Placeholder(Grant),
    Denied(Denial),
}

/// The proof that policy allowed these secrets to one caller.
#[derive(Clone)]
pub struct Grant {
    keys: Vec<SecretKey>,
    rule: RuleId,
    shows_real: bool,
}

/// Why policy said no. The denied caller only ever learns that it was.
#[derive(Clone, Debug)]
pub struct Denial {
    pub reason: String,
    pub rule: RuleId,
}

/// What has decided, for the log and the audit.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleId {
    /// Owner, group and mode of the file.
    Mode,
    /// No rule is about it.
    Nothing,
    /// Who has the store's key has no need of rules.
    Owner,
    Refused(Refusal),
    /// Nobody knows any more what is in the bytes that are asked for.
    Unknown,
    Rule(Arc<Origin>),
    /// This rule allows it to others, and none to this caller.
    Closed(Arc<Origin>),
}

impl Decision {
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Granted(_) => Verdict::Real,
            Self::Placeholder(_) => Verdict::Placeholder,
            Self::Denied(_) => Verdict::Deny,
        }
    }

    pub fn rule(&self) -> &RuleId {
        match self {
            Self::Granted(grant) | Self::Placeholder(grant) => &grant.rule,
            Self::Denied(denial) => &denial.rule,
        }
    }

    /// The grant, which knows by itself whether it shows real values.
    pub fn granted(self) -> Result<Grant, Denial> {
        match self {
            Self::Granted(grant) | Self::Placeholder(grant) => Ok(grant),
            Self::Denied(denial) => Err(denial),
        }
    }

    /// What a door has to know. A refused caller is not judged.
    pub fn refused(refusal: Refusal) -> Self {
        Self::Denied(Denial::refused(refusal))
    }

    pub(super) fn of(verdict: Verdict, rule: RuleId, keys: &[SecretKey]) -> Self {
        match verdict {
            Verdict::Real => Self::Granted(Grant::new(keys, rule, true)),
            Verdict::Placeholder => Self::Placeholder(Grant::new(keys, rule, false)),
            Verdict::Deny => Self::Denied(Denial::new(rule)),
        }
    }
}

impl Grant {
    /// To find out which secrets are meant: it shows no value of them.
    pub fn to_look(keys: &[SecretKey]) -> Self {
        Self::new(keys, RuleId::Nothing, false)
    }

    fn new(keys: &[SecretKey], rule: RuleId, shows_real: bool) -> Self {
        Self { keys: keys.to_vec(), rule, shows_real }
    }

    /// Both: the secrets of either, and real values only if both show them.
    pub fn and(mut self, other: &Self) -> Self {
        self.keys.extend_from_slice(&other.keys);
        self.shows_real &= other.shows_real;
        self
    }

    pub fn covers(&self, key: &SecretKey) -> bool {
        self.keys.contains(key)
    }

    /// The first of these that it does not cover.
    pub fn lacks<'a>(&self, keys: &'a [SecretKey]) -> Option<&'a SecretKey> {
        let covered: HashSet<&SecretKey> = self.keys.iter().collect();
        keys.iter().find(|key| !covered.contains(key))
    }

    /// Whether its caller may have the values themselves.
    pub fn shows_real(&self) -> bool {
        self.shows_real
    }

    pub fn rule(&self) -> &RuleId {
        &self.rule
    }

    /// The same without the values themselves.
    pub fn masked(self) -> Self {
        Self { shows_real: false, ..self }
    }

    /// For a door that has no placeholders to give: then there is nothing.
    pub fn denied(self) -> Denial {
        Denial::new(self.rule)
    }
}

impl Denial {
    /// Rules could be about what is asked for, and nobody knows any more what that is.
    pub fn unknown() -> Self {
        Self::new(RuleId::Unknown)
    }

    pub fn refused(refusal: Refusal) -> Self {
        Self::new(RuleId::Refused(refusal))
    }

    fn new(rule: RuleId) -> Self {
        let reason = match &rule {
            RuleId::Mode => "the file's owner, group and mode".to_owned(),
            RuleId::Nothing | RuleId::Owner => "no rule".to_owned(),
            RuleId::Refused(refusal) => refusal.to_string(),
            RuleId::Unknown => "the rules on secrets: what is in it is not known any more".to_owned(),
            RuleId::Rule(origin) => format!("the rule at {origin}"),
            RuleId::Closed(origin) => {
                format!("the lack of a rule that allows it; others may, by the one at {origin}")
            }
        };
        Self { reason, rule }
    }
}

impl From<By<'_>> for RuleId {
    fn from(by: By<'_>) -> Self {
        match by {
            By::Mode => Self::Mode,
            By::Nothing => Self::Nothing,
            By::Rule(rule) => Self::Rule(rule.origin.clone()),
            By::Closed(rule) => Self::Closed(rule.origin.clone()),
        }
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode => f.write_str("mode"),
            Self::Nothing => f.write_str("no rule"),
            Self::Owner => f.write_str("owner of the key"),
            Self::Refused(refusal) => write!(f, "refused: {}", refusal.name()),
            Self::Unknown => f.write_str("unknown"),
            Self::Rule(origin) => write!(f, "{origin}"),
            Self::Closed(origin) => write!(f, "{}: not among those whom rules allow it", origin.place()),
        }
    }
}
