//! From the rules of a config to those that policy judges by: users and groups are looked up, roles
//! laid open. Whatever is not there is an error where it is written. Uses config and policy.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{Group, User};

use super::apart;
use crate::config::{self, AccessRule, Config, ConfigError, Exe, Matcher, ProviderConfig, Wanted, Written};
use crate::control::socket;
use crate::credentials::{Credential, Credentials};
use crate::nearest::nearest;
use crate::policy::{self, Condition, Names, Policy, Rule, Rules, SecretRule, Test, Who};
use crate::sys::identity;

/// Where the providers are that need no settings.
const STORE: &str = super::assemble::STORE;

/// What `policy:` says.
pub fn policy(config: &Config) -> Result<Policy, ConfigError> {
    if config.policy.is_empty() {
        return Ok(Policy::by_mode());
    }
    let compiler = Compiler { config };
    let rules = config.policy.iter().enumerate().map(|(index, it)| {
        let place = vec!["policy".to_owned(), index.to_string()];
        let scope = SecretRule::scope(&it.secrets, &it.files) + ": ";
        let rule = compiler.rule(&place, &scope, &it.access)?;
        Ok(SecretRule { secrets: it.secrets.clone(), files: it.files.clone(), rule })
    });
    Ok(Policy::new(rules.collect::<Result<_, ConfigError>>()?, names(config)))
}

/// The rules of a file, of which this is the place in the config.
pub fn access(config: &Config, place: &[String], rules: &[AccessRule]) -> Result<Rules, ConfigError> {
    let compiler = Compiler { config };
    let rules = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| compiler.rule(&[place, &[index.to_string()]].concat(), "", rule));
    Ok(Rules::new(rules.collect::<Result<_, ConfigError>>()?))
}

/// What units are given.
pub fn credentials(config: &Config) -> Result<Credentials, ConfigError> {
    let said = &config.credentials;
    let socket = said.socket.clone().or_else(|| socket::default_path(socket::CREDENTIALS));
    let names = said.names.iter().map(|(name, it)| {
        let rules =
            it.access.as_deref().map(|rules| access(config, &config::Credentials::place(name), rules));
        let readings = it.secret.dot_as_field().into_iter().chain([it.secret.clone()]).collect();
        Ok((name.clone(), Credential { readings, rules: rules.transpose()? }))
    });
    let names = names.collect::<Result<_, ConfigError>>()?;
    Ok(Credentials { socket: socket.unwrap_or_default(), names })
}

/// Says which rules can fit nobody: for programs that this daemon may not see, and for names that
/// only lead to one.
pub fn warn(config: &Config) {
    let hidden = identity::sight().hides_programs();
    for list in config.matchers() {
        let programs = programs(&list);
        if let (Some(hidden), false) = (&hidden, programs.is_empty()) {
            let place: Vec<_> = list.path.iter().map(String::as_str).collect();
            let rule = config.origin(&place, "a rule on programs".to_owned());
            tracing::warn!(%rule, "{hidden}");
        }
        for (place, path) in programs {
            let Some(real) = apart::real(config, path).filter(|real| real != path) else { continue };
            let place: Vec<_> = place.iter().map(String::as_str).collect();
            let told = config.error_at(&place, behind_link(path, &real)).in_brief();
            tracing::warn!("rule_fits_nobody: {told}");
        }
    }
}

/// The paths of programs that these matchers name, and where.
fn programs<'a>(list: &Written<'a>) -> Vec<(Vec<String>, &'a Path)> {
    let matchers = list.matchers.iter().enumerate();
    let all = matchers.flat_map(|(index, Matcher(all))| all.iter().map(move |wanted| (index, wanted)));
    let of = |(index, wanted): (usize, &'a Wanted)| {
        let Wanted::Exe(programs) = wanted else { return Vec::new() };
        let place = |value: usize| {
            [&list.path[..], &[index.to_string(), "exe".to_owned(), value.to_string()]].concat()
        };
        programs.iter().enumerate().map(|(value, it)| (place(value), it.path.as_path())).collect()
    };
    all.flat_map(of).collect()
}

/// The kernel tells the program that runs, never the links that lead to it.
pub fn behind_link(path: &Path, real: &Path) -> String {
    let (path, real) = (path.display(), real.display());
    format!("{path}: leads over a link, so it fits nobody; what runs is {real}: name that")
}

/// Everything that names somebody whom this machine does not know.
pub fn unknown(config: &Config) -> Vec<ConfigError> {
    let compiler = Compiler { config };
    let lists = config.matchers().into_iter();
    lists.flat_map(|list| compiler.unknown(&list.path, list.matchers)).collect()
}

/// All names of one provider's secrets mean the same secrets.
fn names(config: &Config) -> Names {
    let default = config.sources.from.clone().unwrap_or_else(|| STORE.to_owned());
    let mut first: Vec<((String, String), &String)> = Vec::new();
    let mut same = BTreeMap::new();
    for (name, kind) in &config.providers {
        let Some(place) = kind.place() else { continue };
        match first.iter().find(|(known, _)| *known == place) {
            Some((_, one)) => drop(same.insert(name.clone(), (*one).clone())),
            None => first.push((place, name)),
        }
    }
    let mapped = config.sources.map.iter().map(|(name, target)| (name.to_string(), target.clone()));
    let several = config.providers.iter().filter_map(|(name, kind)| match kind {
        ProviderConfig::Several(several) => Some((name.clone(), several.of.clone())),
        _ => None,
    });
    Names { default, same, several: several.collect(), mapped: mapped.collect() }
}

struct Compiler<'a> {
    config: &'a Config,
}

impl Compiler<'_> {
    fn rule(&self, place: &[String], scope: &str, rule: &AccessRule) -> Result<Rule, ConfigError> {
        let AccessRule { verdict, actions, .. } = *rule;
        let who = self.who(&[place, &[verdict.verb().to_owned()]].concat(), &rule.who)?;
        let place: Vec<_> = place.iter().map(String::as_str).collect();
        let text = scope.to_owned() + &Rule::words(verdict, &who, actions);
        Ok(Rule { verdict, who, actions, origin: Arc::new(self.config.origin(&place, text)) })
    }

    fn who(&self, place: &[String], matchers: &[Matcher]) -> Result<Who, ConfigError> {
        if let Some(unknown) = self.unknown(place, matchers).into_iter().next() {
            return Err(unknown);
        }
        let matchers = matchers.iter().map(|Matcher(all)| {
            let conditions = all.iter().map(|wanted| self.condition(wanted)).collect::<Result<_, _>>();
            Ok(policy::Matcher::new(conditions?))
        });
        Ok(Who::new(matchers.collect::<Result<_, ConfigError>>()?))
    }

    fn condition(&self, wanted: &Wanted) -> Result<Condition, ConfigError> {
        let tests = match wanted {
            Wanted::Uid(all) => all.iter().copied().map(Test::Uid).collect(),
            Wanted::Gid(all) => all.iter().copied().map(Test::Gid).collect(),
            Wanted::User(all) => {
                let known = all.iter().filter_map(|name| Some((uid_of(name)?, name)));
                known.map(|(uid, name)| Test::User { uid, name: name.clone() }).collect()
            }
            Wanted::Group(all) => {
                let known = all.iter().filter_map(|name| Some((gid_of(name)?, name)));
                known.map(|(gid, name)| Test::Group { gid, name: name.clone() }).collect()
            }
            Wanted::Exe(all) => {
                let exe = |Exe { path, sha256 }: &Exe| Test::Exe { path: path.clone(), sha256: *sha256 };
                all.iter().map(exe).collect()
            }
            Wanted::Unit(all) => all.iter().cloned().map(Test::Unit).collect(),
            Wanted::UserUnit(all) => all.iter().cloned().map(Test::UserUnit).collect(),
            Wanted::Cgroup(all) => all.iter().cloned().map(Test::Cgroup).collect(),
            Wanted::Container(all) => all.iter().cloned().map(Test::Container).collect(),
            Wanted::Door(all) => all.iter().copied().map(Test::Door).collect(),
            Wanted::Role(all) => all.iter().map(|name| self.role(name)).collect::<Result<_, _>>()?,
        };
        Ok(Condition::new(tests))
    }

    /// The config was judged: there is such a role, and none is made of itself.
    fn role(&self, name: &str) -> Result<Test, ConfigError> {
        let place = ["roles".to_owned(), name.to_owned()];
        let matchers = self.config.roles.get(name).map_or(&[][..], Vec::as_slice);
        Ok(Test::Role { name: name.to_owned(), who: Arc::new(self.who(&place, matchers)?) })
    }

    fn unknown(&self, place: &[String], matchers: &[Matcher]) -> Vec<ConfigError> {
        let mut unknown = Vec::new();
        for (index, Matcher(all)) in matchers.iter().enumerate() {
            for wanted in all {
                let (what, names, is_known, all): (_, _, fn(&str) -> bool, _) = match wanted {
                    Wanted::User(names) => ("user", names, |it| uid_of(it).is_some(), "/etc/passwd"),
                    Wanted::Group(names) => ("group", names, |it| gid_of(it).is_some(), "/etc/group"),
                    _ => continue,
                };
                for (value, name) in names.iter().enumerate().filter(|(_, name)| !is_known(name)) {
                    let at = [index.to_string(), what.to_owned(), value.to_string()];
                    let at: Vec<_> = place.iter().chain(&at).map(String::as_str).collect();
                    let hint = near(name, all).map(|near| format!("did you mean `{near}`?"));
                    let error = self.config.error_at(&at, format!("there is no {what} `{name}`"));
                    unknown.push(error.hint(hint));
                }
            }
        }
        unknown
    }
}

pub fn uid_of(name: &str) -> Option<u32> {
    Some(User::from_name(name).ok()??.uid.as_raw())
}

pub fn gid_of(name: &str) -> Option<u32> {
    Some(Group::from_name(name).ok()??.gid.as_raw())
}

/// Of those that the machine itself has; a directory elsewhere is not listed.
fn near(name: &str, file: &str) -> Option<String> {
    let known = fs::read_to_string(file).unwrap_or_default();
    let names = known.lines().filter_map(|line| line.split(':').next());
    nearest(name, names).map(str::to_owned)
}
