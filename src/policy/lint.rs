//! Rules that never decide, because one before them fits all that they fit. Says so only where it
//! is certain. Uses the words only.

use super::matcher::{Condition, Matcher, Test, Who};
use super::rule::{Rule, SecretRule};
use super::{Pattern, Rules};

/// A rule, and the one that goes before it.
pub struct Shadowed<'a> {
    pub rule: &'a Rule,
    pub by: &'a Rule,
}

/// Of the rules of a file.
pub fn shadowed(rules: &Rules) -> Vec<Shadowed<'_>> {
    let list = rules.list();
    found(list.len(), |index| &list[index], |one, other| covers(&list[one], &list[other]))
}

/// Of the rules on secrets.
pub fn shadowed_on_secrets(rules: &[SecretRule]) -> Vec<Shadowed<'_>> {
    found(
        rules.len(),
        |index| &rules[index].rule,
        |one, other| {
            let [one, other] = [&rules[one], &rules[other]];
            let all_files =
                one.files.is_empty() || (!other.files.is_empty() && all(&one.files, &other.files));
            all_files && all(&one.secrets, &other.secrets) && covers(&one.rule, &other.rule)
        },
    )
}

fn found<'a>(
    count: usize,
    rule: impl Fn(usize) -> &'a Rule,
    covers: impl Fn(usize, usize) -> bool,
) -> Vec<Shadowed<'a>> {
    let first = |index: usize| (0..index).find(|before| covers(*before, index));
    let shadowed = (0..count).filter_map(|index| Some((index, first(index)?)));
    shadowed.map(|(index, by)| Shadowed { rule: rule(index), by: rule(by) }).collect()
}

fn covers(one: &Rule, other: &Rule) -> bool {
    one.actions.covers(other.actions) && one.who.covers(&other.who)
}

fn all(one: &[Pattern], other: &[Pattern]) -> bool {
    other.iter().all(|other| one.iter().any(|one| one.covers(other)))
}

impl Who {
    /// Whether it certainly fits all whom the other one fits.
    fn covers(&self, other: &Self) -> bool {
        other.matchers().iter().all(|other| self.matchers().iter().any(|one| one.covers(other)))
    }
}

impl Matcher {
    fn covers(&self, other: &Self) -> bool {
        self.conditions().iter().all(|one| one.covers(other))
    }
}

impl Condition {
    /// Whether it holds for all whom the matcher fits.
    fn covers(&self, other: &Matcher) -> bool {
        let is_role_of_all = |test: &Test| match test {
            Test::Role { who, .. } => who.matchers().iter().any(|one| one.covers(other)),
            _ => false,
        };
        let is_of = |condition: &Self| {
            condition.tests().iter().all(|other| self.tests().iter().any(|one| one.covers(other)))
        };
        self.tests().iter().any(is_role_of_all) || other.conditions().iter().any(is_of)
    }
}

impl Test {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Uid(one) | Self::User { uid: one, .. }, Self::Uid(it) | Self::User { uid: it, .. })
            | (Self::Gid(one) | Self::Group { gid: one, .. }, Self::Gid(it) | Self::Group { gid: it, .. }) => {
                one == it
            }
            (Self::Exe { path, sha256 }, Self::Exe { path: other, sha256: digest }) => {
                path == other && (sha256.is_none() || sha256 == digest)
            }
            (Self::Unit(one), Self::Unit(it))
            | (Self::UserUnit(one), Self::UserUnit(it))
            | (Self::Cgroup(one), Self::Cgroup(it))
            | (Self::Container(one), Self::Container(it)) => one.covers(it),
            (Self::Role { who, .. }, Self::Role { who: other, .. }) => who.covers(other),
            (Self::Door(one), Self::Door(it)) => one == it,
            _ => false,
        }
    }
}
