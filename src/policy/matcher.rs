//! Whom a rule is about: matchers, of which one has to fit, each with conditions that must all
//! hold. What is unknown is neither yes nor no: `None`. Uses the words only.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::Door;
use super::pattern::Pattern;
use crate::caller::{Facts, Identity};

/// Whom a rule is about: any of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who(Vec<Matcher>);

/// All of these hold; none are anyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher(Vec<Condition>);

/// One key of a matcher: any of its tests. They are all of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition(Vec<Test>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    Uid(u32),
    User { uid: u32, name: String },
    Gid(u32),
    Group { gid: u32, name: String },
    Exe { path: PathBuf, sha256: Option<[u8; 32]> },
    Unit(Pattern),
    UserUnit(Pattern),
    Cgroup(Pattern),
    Container(Pattern),
    Role { name: String, who: Arc<Who> },
    Door(Door),
}

/// Who asks, and through which door.
pub(super) struct Asker<'a> {
    pub(super) who: &'a Identity,
    pub(super) door: Door,
}

impl Who {
    pub fn new(any: Vec<Matcher>) -> Self {
        Self(any)
    }

    pub fn anyone() -> Self {
        Self(vec![Matcher(Vec::new())])
    }

    pub fn matchers(&self) -> &[Matcher] {
        &self.0
    }

    pub fn is_anyone(&self) -> bool {
        self.0.iter().any(|matcher| matcher.0.is_empty())
    }

    pub(super) fn fits(&self, asker: &Asker<'_>) -> Option<bool> {
        any(self.0.iter().map(|matcher| matcher.fits(asker)))
    }

    pub(super) fn facts(&self) -> Facts {
        self.tests().fold(Facts::NONE, |facts, test| facts | test.facts())
    }

    pub(super) fn hashed(&self) -> Vec<&PathBuf> {
        let of = |test| match test {
            &Test::Exe { ref path, sha256: Some(_) } => vec![path],
            Test::Role { who, .. } => who.hashed(),
            _ => Vec::new(),
        };
        self.tests().flat_map(of).collect()
    }

    /// What is unknown of this caller that has a say, as rules call it.
    pub(super) fn unknown(&self, asker: &Asker<'_>) -> BTreeSet<&'static str> {
        self.0
            .iter()
            .filter(|matcher| matcher.fits(asker).is_none())
            .flat_map(|it| it.unknown(asker))
            .collect()
    }

    fn tests(&self) -> impl Iterator<Item = &Test> {
        self.0.iter().flat_map(|matcher| &matcher.0).flat_map(|condition| &condition.0)
    }
}

impl Matcher {
    pub fn new(all: Vec<Condition>) -> Self {
        Self(all)
    }

    pub fn conditions(&self) -> &[Condition] {
        &self.0
    }

    fn fits(&self, asker: &Asker<'_>) -> Option<bool> {
        let mut is_known = true;
        for condition in &self.0 {
            match condition.fits(asker) {
                Some(false) => return Some(false),
                Some(true) => {}
                None => is_known = false,
            }
        }
        is_known.then_some(true)
    }

    fn unknown(&self, asker: &Asker<'_>) -> BTreeSet<&'static str> {
        let unknown = |test: &&Test| test.fits(asker).is_none();
        let tests = self.0.iter().filter(|it| it.fits(asker).is_none()).flat_map(|it| &it.0);
        let keys = tests.filter(unknown).flat_map(|test| match test {
            Test::Role { who, .. } => who.unknown(asker),
            test => BTreeSet::from([test.key()]),
        });
        keys.collect()
    }
}

impl Condition {
    pub fn new(any: Vec<Test>) -> Self {
        Self(any)
    }

    pub fn tests(&self) -> &[Test] {
        &self.0
    }

    fn fits(&self, asker: &Asker<'_>) -> Option<bool> {
        any(self.0.iter().map(|test| test.fits(asker)))
    }
}

impl Test {
    /// As the config calls it.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Uid(_) => "uid",
            Self::User { .. } => "user",
            Self::Gid(_) => "gid",
            Self::Group { .. } => "group",
            Self::Exe { .. } => "exe",
            Self::Unit(_) => "unit",
            Self::UserUnit(_) => "user_unit",
            Self::Cgroup(_) => "cgroup",
            Self::Container(_) => "container",
            Self::Role { .. } => "role",
            Self::Door(_) => "door",
        }
    }

    fn facts(&self) -> Facts {
        match self {
            Self::Uid(_) | Self::User { .. } | Self::Door(_) => Facts::NONE,
            Self::Gid(_) | Self::Group { .. } => Facts::GROUPS,
            Self::Exe { sha256: None, .. } => Facts::EXE,
            Self::Exe { sha256: Some(_), .. } => Facts::DIGEST,
            Self::Unit(_) => Facts::UNIT,
            Self::UserUnit(_) => Facts::USER_UNIT,
            Self::Cgroup(_) => Facts::CGROUP,
            Self::Container(_) => Facts::CONTAINER,
            Self::Role { who, .. } => who.facts(),
        }
    }

    fn fits(&self, asker: &Asker<'_>) -> Option<bool> {
        let who = asker.who;
        match self {
            Self::Uid(uid) | Self::User { uid, .. } => Some(who.caller.uid == *uid),
            Self::Gid(gid) | Self::Group { gid, .. } => who.is_in_group(*gid),
            Self::Exe { path, sha256 } => {
                let exe = who.true_exe()?;
                match sha256 {
                    Some(wanted) if exe.path == *path => exe.sha256.map(|found| found == *wanted),
                    _ => Some(exe.path == *path),
                }
            }
            Self::Unit(pattern) => who.unit.fits(|unit| pattern.fits(unit)),
            Self::UserUnit(pattern) => who.user_unit.fits(|unit| pattern.fits(&unit.name)),
            Self::Cgroup(pattern) => who.cgroup.as_ref().map(|path| pattern.fits(path)),
            Self::Container(pattern) => who.container.fits(|it| pattern.fits(it)),
            Self::Role { who, .. } => who.fits(asker),
            Self::Door(door) => Some(asker.door == *door),
        }
    }
}

fn any(fits: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut is_known = true;
    for fits in fits {
        match fits {
            Some(true) => return Some(true),
            Some(false) => {}
            None => is_known = false,
        }
    }
    is_known.then_some(false)
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, &self.0, "; ")
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_empty() {
            true => f.write_str("anyone"),
            false => join(f, &self.0, ", "),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(test) = self.0.first() {
            write!(f, "{} ", test.key())?;
        }
        join(f, &self.0, "|")
    }
}

/// Without its key.
impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(id) | Self::Gid(id) => write!(f, "{id}"),
            Self::User { name, .. } | Self::Group { name, .. } | Self::Role { name, .. } => f.write_str(name),
            Self::Exe { path, sha256: None } => write!(f, "{}", path.display()),
            Self::Exe { path, sha256: Some(digest) } => {
                write!(f, "{} with the sha256 {}…", path.display(), hex(&digest[..4]))
            }
            Self::Unit(it) | Self::UserUnit(it) | Self::Cgroup(it) | Self::Container(it) => write!(f, "{it}"),
            Self::Door(door) => write!(f, "{door}"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn join(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display], between: &str) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}
