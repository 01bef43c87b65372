//! Who may read what. Pure: what is known of a caller, a file with its rules and the asked-for
//! secrets go in, a [`Decision`] comes out. Uses the words only.

mod decision;
mod lint;
mod matcher;
mod names;
mod ownership;
mod pattern;
mod rule;
#[cfg(test)]
mod tests;
mod verb;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use decision::{Decision, Denial, Grant, RuleId};
pub use lint::{Shadowed, shadowed, shadowed_on_secrets};
pub use matcher::{Condition, Matcher, Test, Who};
pub use names::Names;
pub use ownership::Ownership;
pub use pattern::Pattern;
pub use rule::{Naming, Origin, Place, Rule, Rules, SecretRule};
pub use verb::{Action, Actions, Door, Verdict};

use crate::caller::{Caller, Facts, Identity, Inquiry, Refusal};
use crate::secret::SecretKey;
use matcher::Asker;
use names::{Goes, InMount};
use rule::{By, first, hashed};

/// What is asked for.
pub struct Access<'a> {
    pub door: Door,
    pub action: Action,
    /// The file that is read; a variable of exec has none, and for one that it covers only owner and
    /// mode are asked.
    pub file: Option<FileRef<'a>>,
    pub keys: &'a [SecretKey],
}

/// A file of a mount.
#[derive(Clone, Copy)]
pub struct FileRef<'a> {
    /// Free of links.
    pub mount: &'a Path,
    /// The same as the config spells it.
    pub spelled: &'a Path,
    /// In the mount.
    pub path: &'a Path,
    pub ownership: Ownership,
    /// Its `access:`; without, it is read like a normal file.
    pub rules: Option<&'a Rules>,
}

/// The rules in force, beside those of each file. Replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    secrets: Vec<SecretRule>,
    names: Names,
    facts: Facts,
    hashed: Vec<PathBuf>,
}

impl Policy {
    /// Files are read like normal files: by owner, group and mode.
    pub fn by_mode() -> Self {
        Self::default()
    }

    pub fn new(secrets: Vec<SecretRule>, names: Names) -> Self {
        let facts = secrets.iter().fold(Facts::NONE, |facts, it| facts | it.rule.who.facts());
        let facts = if secrets.is_empty() { facts } else { facts | Facts::CREDENTIALS };
        let hashed = hashed(secrets.iter().map(|it| &it.rule));
        Self { secrets, names, facts, hashed }
    }

    /// Whether the same rules are about the same callers: names may stand for others by now.
    pub fn is_about_the_same(&self, other: &Self) -> bool {
        let who = |policy: &Self| policy.secrets.iter().map(|it| it.rule.who.clone()).collect::<Vec<_>>();
        who(self) == who(other)
    }

    /// Whether the pattern is, or may be, about this secret.
    pub fn is_about(&self, pattern: &Pattern, key: &SecretKey) -> bool {
        self.names.of(key).is_any_of(std::slice::from_ref(pattern)) != Some(false)
    }

    /// Whether these are the same secret, by whichever names.
    pub fn is_same(&self, one: &SecretKey, other: &SecretKey) -> bool {
        self.names.of(one).has_name_of(&self.names.of(other))
    }

    /// Whether it has a name that nobody knows before it is looked at: it is asked for by its label.
    pub fn may_be_any(&self, key: &SecretKey) -> bool {
        self.names.of(key).has_unknown
    }

    /// The rules on secrets, in their order.
    pub fn rules(&self) -> &[SecretRule] {
        &self.secrets
    }

    /// What a judgement of this caller over this file can hang on. Nothing else need be found out.
    pub fn inquiry<'a>(&'a self, caller: &Caller, file: Option<&FileRef<'a>>) -> Inquiry<'a> {
        let of_file = file.and_then(|file| file.rules).map_or(&[][..], Rules::hashed);
        Inquiry { facts: self.facts(caller, file), hashed: [&self.hashed, of_file] }
    }

    fn facts(&self, caller: &Caller, file: Option<&FileRef<'_>>) -> Facts {
        let Some(file) = file else { return self.facts };
        let by_rules = file.rules.map_or(Facts::NONE, |rules| rules.facts() | Facts::CREDENTIALS);
        let by_mode = match file.has_mode_decide() && file.ownership.hangs_on_groups(caller) {
            true => Facts::GROUPS,
            false => Facts::NONE,
        };
        self.facts | by_rules | by_mode
    }

    /// Judges one access: the file's rules or its mode, and for each secret the rules on secrets; the
    /// strictest of them counts.
    pub fn evaluate(&self, who: &Identity, access: &Access<'_>) -> Decision {
        let asker = Asker { who, door: access.door };
        if access.door == Door::Command {
            return Decision::of(Verdict::Real, RuleId::Owner, access.keys);
        }
        if who.caller.pid == 0 {
            return Decision::refused(Refusal::ForeignPidNamespace);
        }
        let (mut verdict, mut by) = of_file(&asker, access);
        for key in access.keys {
            let of_secret = self.of_secret(&asker, access, key);
            let says_more = of_secret.0 == verdict && matches!(by, By::Mode | By::Nothing);
            if of_secret.0 > verdict || (says_more && !matches!(of_secret.1, By::Nothing)) {
                (verdict, by) = of_secret;
            }
        }
        Decision::of(verdict, by.into(), access.keys)
    }

    /// What is unknown of this caller and could have led to another decision, as rules call it.
    pub fn unknown(&self, who: &Identity, access: &Access<'_>) -> BTreeSet<&'static str> {
        let asker = Asker { who, door: access.door };
        let of_file = access.file.and_then(|file| file.rules).into_iter().flat_map(Rules::list);
        let goes: Vec<_> = access.keys.iter().map(|key| self.goes(access, key)).collect();
        let is_about =
            |rule: &&SecretRule| goes.iter().any(|goes| rule.fits(goes, &asker, access.action).is_none());
        let of_secrets = self.secrets.iter().filter(is_about).map(|it| &it.rule);
        let rules = of_file.chain(of_secrets).filter(|rule| rule.actions.has(access.action));
        rules.flat_map(|rule| rule.who.unknown(&asker)).collect()
    }

    /// The rules on secrets, each with whether it is about one of these in this file.
    pub fn naming(&self, access: &Access<'_>) -> Vec<(&SecretRule, Naming)> {
        let goes: Vec<_> = access.keys.iter().map(|key| self.goes(access, key)).collect();
        let of = |rule: &SecretRule| {
            let names = goes.iter().map(|goes| rule.naming(goes));
            names.max().unwrap_or(Naming::No)
        };
        self.secrets.iter().map(|rule| (rule, of(rule))).collect()
    }

    fn of_secret(&self, asker: &Asker<'_>, access: &Access<'_>, key: &SecretKey) -> (Verdict, By<'_>) {
        if self.secrets.is_empty() {
            return (Verdict::Real, By::Nothing);
        }
        let goes = self.goes(access, key);
        let rules = self.secrets.iter().map(|it| (&it.rule, it.fits(&goes, asker, access.action)));
        first(rules, || {
            let allows =
                |it: &&SecretRule| it.rule.verdict == Verdict::Real && it.names(&goes) != Some(false);
            match self.secrets.iter().find(allows) {
                Some(closed) => (Verdict::Deny, By::Closed(&closed.rule)),
                None => (Verdict::Real, By::Nothing),
            }
        })
    }

    fn goes<'a>(&'a self, access: &Access<'a>, key: &'a SecretKey) -> Goes<'a> {
        // What `exec` covers lies where its user says.
        let file = access.file.filter(|_| access.door != Door::Exec);
        let file = file.map(|file| file.in_mount());
        Goes { secret: self.names.of(key), file }
    }
}

fn of_file<'a>(asker: &Asker<'_>, access: &Access<'a>) -> (Verdict, By<'a>) {
    let Some(file) = access.file else { return (Verdict::Real, By::Nothing) };
    let rules = file.rules.map_or(&[][..], Rules::list);
    first(rules.iter().map(|rule| (rule, rule.fits(asker, access.action))), || {
        let closed = file.rules.and_then(Rules::closed_by);
        match (closed, file.ownership.lets_read(asker.who)) {
            (Some(rule), _) => (Verdict::Deny, By::Closed(rule)),
            (None, true) => (Verdict::Real, By::Mode),
            (None, false) => (Verdict::Deny, By::Mode),
        }
    })
}

impl<'a> FileRef<'a> {
    /// Whether the pattern is about this file.
    pub fn is_like(&self, pattern: &Pattern) -> bool {
        self.in_mount().fits(pattern)
    }

    fn in_mount(self) -> InMount<'a> {
        InMount { mounts: [self.mount, self.spelled], path: self.path }
    }

    /// Whether it is read like a normal file by whom no rule is about.
    pub fn has_mode_decide(&self) -> bool {
        self.rules.is_none_or(|rules| rules.closed_by().is_none())
    }
}
