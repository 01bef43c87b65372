//! One rule, the list of a file, and how a list is gone through: from the top, and the first that
//! fits decides. Uses the words only.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use super::matcher::{Asker, Who};
use super::names::Goes;
use super::pattern::Pattern;
use super::{Action, Actions, Verdict};
use crate::caller::Facts;

/// Where a rule stands, and what it says. The place is looked for when somebody wants to know.
pub struct Origin {
    text: String,
    place: LazyLock<Place, Box<dyn FnOnce() -> Place + Send>>,
}

/// Line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: PathBuf,
    pub line: usize,
    pub column: usize,
}

/// A rule of who may do what.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub verdict: Verdict,
    pub who: Who,
    pub actions: Actions,
    pub origin: Arc<Origin>,
}

/// The rules of a file, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    list: Vec<Rule>,
    facts: Facts,
    hashed: Vec<PathBuf>,
}

/// A rule of which secrets may go where.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretRule {
    pub secrets: Vec<Pattern>,
    /// Of the files; none are all, and what is no file.
    pub files: Vec<Pattern>,
    pub rule: Rule,
}

/// Whether a rule on secrets is about one of them on its way into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Naming {
    No,
    /// In other files.
    Elsewhere,
    /// The secret is asked for by what it is like, and may have such a name.
    Perhaps,
    Here,
}

impl Origin {
    pub fn new(text: String, place: impl FnOnce() -> Place + Send + 'static) -> Self {
        Self { text, place: LazyLock::new(Box::new(place)) }
    }

    /// What the rule says.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn place(&self) -> &Place {
        &self.place
    }
}

/// A rule that was moved is another one: whoever is told of it looks where it stands.
impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.place() == other.place()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.text)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl Rule {
    /// `allow user app, door mount (read, list)`.
    pub fn words(verdict: Verdict, who: &Who, actions: Actions) -> String {
        let names = actions.names().collect::<Vec<_>>().join(", ");
        match actions == verdict.usual_actions() {
            true => format!("{} {who}", verdict.verb()),
            false => format!("{} {who} ({names})", verdict.verb()),
        }
    }

    /// Whether it is about this. `None`: it may be.
    pub(super) fn fits(&self, asker: &Asker<'_>, action: Action) -> Option<bool> {
        match self.actions.has(action) {
            true => self.who.fits(asker),
            false => Some(false),
        }
    }
}

impl Rules {
    pub fn new(list: Vec<Rule>) -> Self {
        let facts = list.iter().fold(Facts::NONE, |facts, rule| facts | rule.who.facts());
        let hashed = hashed(list.iter());
        Self { list, facts, hashed }
    }

    pub fn list(&self) -> &[Rule] {
        &self.list
    }

    pub(super) fn facts(&self) -> Facts {
        self.facts
    }

    pub(super) fn hashed(&self) -> &[PathBuf] {
        &self.hashed
    }

    /// The first that allows: with it, nobody may who is not allowed to.
    pub fn closed_by(&self) -> Option<&Rule> {
        self.list.iter().find(|rule| rule.verdict == Verdict::Real)
    }
}

impl SecretRule {
    /// `secrets stripe/* in files billing/*`.
    pub fn scope(secrets: &[Pattern], files: &[Pattern]) -> String {
        let list = |patterns: &[Pattern]| patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join("|");
        match files.is_empty() {
            true => format!("secrets {}", list(secrets)),
            false => format!("secrets {} in files {}", list(secrets), list(files)),
        }
    }

    /// Whether it is about this secret, wherever it goes.
    pub(super) fn names(&self, goes: &Goes<'_>) -> Option<bool> {
        goes.secret.is_any_of(&self.secrets)
    }

    pub(super) fn fits(&self, goes: &Goes<'_>, asker: &Asker<'_>, action: Action) -> Option<bool> {
        match self.naming(goes) {
            Naming::No | Naming::Elsewhere => Some(false),
            Naming::Here => self.rule.fits(asker, action),
            Naming::Perhaps => self.rule.fits(asker, action).filter(|fits| !fits),
        }
    }

    pub(super) fn naming(&self, goes: &Goes<'_>) -> Naming {
        let goes_there = match (self.files.as_slice(), &goes.file) {
            ([], _) => true,
            (_, None) => false,
            (files, Some(file)) => files.iter().any(|pattern| file.fits(pattern)),
        };
        match (self.names(goes), goes_there) {
            (Some(false), _) => Naming::No,
            (_, false) => Naming::Elsewhere,
            (None, true) => Naming::Perhaps,
            (Some(true), true) => Naming::Here,
        }
    }
}

/// The programs whose digest these rules ask for.
pub(super) fn hashed<'a>(rules: impl Iterator<Item = &'a Rule>) -> Vec<PathBuf> {
    let programs: BTreeSet<&PathBuf> = rules.flat_map(|rule| rule.who.hashed()).collect();
    programs.into_iter().cloned().collect()
}

/// What a list has led to: the rule that decides, or none. A rule that may or may not fit is taken
/// both ways, and the stricter outcome counts.
pub(super) fn first<'a>(
    rules: impl Iterator<Item = (&'a Rule, Option<bool>)>,
    otherwise: impl FnOnce() -> (Verdict, By<'a>),
) -> (Verdict, By<'a>) {
    let mut at_best: Option<(Verdict, By<'a>)> = None;
    for (rule, fits) in rules {
        let this = (rule.verdict, By::Rule(rule));
        match (fits, rule.verdict) {
            (Some(false), _) | (None, Verdict::Real) => {}
            (Some(true), _) | (None, Verdict::Deny) => return stricter(at_best, this),
            (None, Verdict::Placeholder) => at_best = Some(stricter(at_best, this)),
        }
    }
    stricter(at_best, otherwise())
}

/// What has decided.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    Mode,
    Nothing,
    Rule(&'a Rule),
    /// It is allowed by this one, and to others.
    Closed(&'a Rule),
}

fn stricter<'a>(one: Option<(Verdict, By<'a>)>, other: (Verdict, By<'a>)) -> (Verdict, By<'a>) {
    match one {
        Some(one) if one.0 >= other.0 => one,
        _ => other,
    }
}
