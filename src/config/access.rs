//! The rules of who may read what, as the config says them: users and groups by name are looked up
//! later. Pure; uses the words of `policy`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Config, ConfigError, Credentials};
use crate::nearest::nearest;
use crate::policy::{Actions, Door, Origin, Pattern, Place, Verdict};

/// One rule of a file's `access:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    pub verdict: Verdict,
    /// Any of them. Never empty.
    pub who: Vec<Matcher>,
    pub actions: Actions,
}

/// One rule of `policy:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRule {
    pub secrets: Vec<Pattern>,
    pub files: Vec<Pattern>,
    pub access: AccessRule,
}

/// All of these hold; none are anyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher(pub Vec<Wanted>);

/// One key of a matcher, with the values of which one has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Uid(Vec<u32>),
    User(Vec<String>),
    Gid(Vec<u32>),
    Group(Vec<String>),
    Exe(Vec<Program>),
    Unit(Vec<Pattern>),
    UserUnit(Vec<Pattern>),
    Cgroup(Vec<Pattern>),
    Container(Vec<Pattern>),
    Role(Vec<String>),
    Door(Vec<Door>),
}

/// A program by its whole path, and perhaps its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub path: PathBuf,
    pub sha256: Option<[u8; 32]>,
}

/// A list of matchers, and where in the config it stands.
pub struct Written<'a> {
    pub path: Vec<String>,
    pub matchers: &'a [Matcher],
}

impl Wanted {
    pub fn key(&self) -> &'static str {
        match self {
            Self::Uid(_) => "uid",
            Self::User(_) => "user",
            Self::Gid(_) => "gid",
            Self::Group(_) => "group",
            Self::Exe(_) => "exe",
            Self::Unit(_) => "unit",
            Self::UserUnit(_) => "user_unit",
            Self::Cgroup(_) => "cgroup",
            Self::Container(_) => "container",
            Self::Role(_) => "role",
            Self::Door(_) => "door",
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Uid(all) | Self::Gid(all) => all.is_empty(),
            Self::User(all) | Self::Group(all) | Self::Role(all) => all.is_empty(),
            Self::Exe(all) => all.is_empty(),
            Self::Unit(all) | Self::UserUnit(all) | Self::Cgroup(all) | Self::Container(all) => {
                all.is_empty()
            }
            Self::Door(all) => all.is_empty(),
        }
    }
}

impl Config {
    /// Whether there are any rules beside owners and modes.
    pub fn has_rules(&self) -> bool {
        let has = |options: &super::FileOptions| options.access.is_some();
        !self.policy.is_empty()
            || self.credentials.names.values().any(|it| it.access.is_some())
            || self.mounts.iter().any(|it| has(&it.defaults) || it.files.values().any(|it| has(&it.options)))
    }

    /// A rule's place, to be looked for when somebody wants to know.
    pub fn origin(&self, path: &[&str], text: String) -> Origin {
        let (parts, path) =
            (self.parts.clone(), path.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>());
        Origin::new(text, move || {
            let path: Vec<_> = path.iter().map(String::as_str).collect();
            let error = parts.error_at(&path, "");
            let (line, column) = error.place.map_or((1, 1), |place| (place.line, place.column));
            Place { file: error.file, line, column }
        })
    }

    /// Every list of matchers: those of roles, of files and of secrets.
    pub fn matchers(&self) -> Vec<Written<'_>> {
        let roles = self
            .roles
            .iter()
            .map(|(name, matchers)| Written { path: vec!["roles".to_owned(), name.clone()], matchers });
        let files = self.access_lists().into_iter().flat_map(|(path, rules)| written(path, rules));
        let secrets = written(vec!["policy".to_owned()], self.policy.iter().map(|it| &it.access));
        roles.chain(files).chain(secrets).collect()
    }

    /// The lists of files, each with its place: those of mounts, of single files, and of credentials.
    pub fn access_lists(&self) -> Vec<(Vec<String>, &[AccessRule])> {
        let mut lists = Vec::new();
        for (index, mount) in self.mounts.iter().enumerate() {
            let place = ["mounts".to_owned(), index.to_string()];
            let own = mount.defaults.access.as_deref();
            lists.extend(own.map(|rules| ([&place[..], &["access".to_owned()]].concat(), rules)));
            for (path, entry) in &mount.files {
                let inside = ["files".to_owned(), path.to_string_lossy().into_owned(), "access".to_owned()];
                let own = entry.options.access.as_deref();
                lists.extend(own.map(|rules| ([&place[..], &inside].concat(), rules)));
            }
        }
        for (name, credential) in &self.credentials.names {
            let own = credential.access.as_deref();
            lists.extend(own.map(|rules| (Credentials::place(name).to_vec(), rules)));
        }
        lists
    }

    /// Every role that is named is there, and none is made of itself.
    pub(super) fn judge_roles(&self) -> Result<(), ConfigError> {
        for Written { path, matchers } in self.matchers() {
            for_each_role(matchers, |matcher, value, name| {
                let at = [matcher.to_string(), "role".to_owned(), value.to_string()];
                let place: Vec<_> = path.iter().chain(&at).map(String::as_str).collect();
                if !self.roles.contains_key(name) {
                    let hint = match nearest(name, self.roles.keys()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None if self.roles.is_empty() => "name it under `roles:`".to_owned(),
                        None => format!("there is {}", Vec::from_iter(self.roles.keys().cloned()).join(", ")),
                    };
                    return Err(self.error_at(&place, format!("there is no role `{name}`")).hint(Some(hint)));
                }
                match path.first().is_some_and(|it| it == "roles") && reaches(&self.roles, name, &path[1]) {
                    true => Err(self.error_at(&place, format!("the role `{}` is made of itself", path[1]))),
                    false => Ok(()),
                }
            })?;
        }
        Ok(())
    }
}

fn written<'a>(
    path: Vec<String>,
    rules: impl IntoIterator<Item = &'a AccessRule>,
) -> impl Iterator<Item = Written<'a>> {
    rules.into_iter().enumerate().map(move |(index, rule)| Written {
        path: [&path[..], &[index.to_string(), rule.verdict.verb().to_owned()]].concat(),
        matchers: &rule.who,
    })
}

fn for_each_role(
    matchers: &[Matcher],
    mut judge: impl FnMut(usize, usize, &str) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    for (index, matcher) in matchers.iter().enumerate() {
        let names = matcher.0.iter().filter_map(|wanted| match wanted {
            Wanted::Role(names) => Some(names),
            _ => None,
        });
        for (value, name) in names.flat_map(|names| names.iter().enumerate()) {
            judge(index, value, name)?;
        }
    }
    Ok(())
}

/// Whether the role is made of the other one, at any depth.
fn reaches(roles: &BTreeMap<String, Vec<Matcher>>, from: &str, to: &str) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        if let Some(matchers) = roles.get(&name).filter(|_| seen.insert(name.clone())) {
            let _ = for_each_role(matchers, |_, _, name| {
                open.push(name.to_owned());
                Ok(())
            });
        }
    }
    false
}
