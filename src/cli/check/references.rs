//! The references of templates and profiles, looked up as their door would: what is missing, and
//! providers that nobody has named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::finding::{Finding, Kind, Place};
use super::pins;
use super::report::{Reference, Report};
use super::subject::Subject;
use super::used::{self, Used};
use crate::broker::{Broker, Environment, Error};
use crate::cli::named::Readings;
use crate::cli::report::Failure;
use crate::cli::{Common, exec, session};
use crate::config::{Config, ProviderConfig};
use crate::daemon::assemble::{self, Choice};
use crate::policy::Door;
use crate::provider::Given;
use crate::resolver::ResolveError;
use crate::secret::{self, SecretKey};
use crate::template::{Kind as Fault, Template};

type Compiled<'a> = (&'a Subject, Arc<Template>);

/// Looks up what the templates name, as the mount would or as a command; and with the whole
/// config, what its profiles name.
pub(super) fn look_up(
    common: &Common,
    config: &Config,
    compiled: &[Compiled<'_>],
    is_whole: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let (mounted, own): (Vec<_>, Vec<_>) = compiled.iter().partition(|(subject, _)| subject.is_mounted);
    let variables = if is_whole { variables(config)? } else { Vec::new() };
    let of_daemon = if is_whole { of_daemon(config)? } else { Vec::new() };
    let mut doors = Doors { common, config, report };
    doors.judge(Environment::Only(config.env_allowed.clone()), &mounted, &of_daemon)?;
    doors.judge(Environment::All, &own, &variables)
}

/// A single value that is asked for: a variable of a profile, or what is waited for.
pub(super) struct Variable {
    pub(super) place: Place,
    pub(super) readings: Readings,
}

pub(super) fn variables(config: &Config) -> Result<Vec<Variable>, Failure> {
    let named =
        config.profiles.iter().flat_map(|(profile, it)| it.env.iter().map(move |entry| (profile, entry)));
    named
        .map(|(profile, (name, text))| {
            let error = config.error_at(&["profiles", profile, "env", name], "");
            Ok(Variable { place: Place::from(&error), readings: Readings::of(text)? })
        })
        .collect()
}

/// What the daemon waits for before it says that it is ready, and what it gives to units.
pub(super) fn of_daemon(config: &Config) -> Result<Vec<Variable>, Failure> {
    let place = |index: usize| Place::from(&config.error_at(&["ready", &index.to_string()], ""));
    let numbered = config.ready.iter().enumerate().map(|(index, it)| (place(index), it));
    let of_credential = |name: &str| Place::from(&config.error_at(&["credentials", "names", name], ""));
    let credentials = config.credentials.names.iter().map(|(name, it)| (of_credential(name), &it.secret));
    numbered
        .chain(credentials)
        .map(|(place, it)| Ok(Variable { place, readings: Readings::of(&it.to_string())? }))
        .collect()
}

/// All secrets that templates and the config itself name: for profiles, for what is waited for, for
/// credentials. Looks at what there is only if that has to be known.
pub(super) fn used(
    common: &Common,
    config: &Config,
    compiled: &[Compiled<'_>],
    offline: bool,
) -> Result<Used, Failure> {
    let may_be_field = config.policy.iter().flat_map(|it| &it.secrets).any(used::may_be_field);
    let known = match may_be_field && !offline {
        true => names(common, config).ok(),
        false => None,
    };
    let of = |(_, template): &Compiled<'_>| {
        template.references().iter().map(|it| it.item.clone()).collect::<Vec<_>>()
    };
    let mut used = Used::new(compiled.iter().flat_map(of), known);
    variables(config)?.into_iter().chain(of_daemon(config)?).for_each(|it| used.add(it.readings.references));
    Ok(used)
}

fn names(common: &Common, config: &Config) -> Result<Vec<String>, Failure> {
    let choice = Choice { deploys: true, ..common.choice() };
    let broker = assemble::broker(&choice, config, Environment::All)?;
    session::wait_and_leave(&broker, Given::Over, async { Ok(broker.names().await) })
}

struct Doors<'a> {
    common: &'a Common,
    config: &'a Config,
    report: &'a mut Report,
}

impl Doors<'_> {
    fn judge(
        &mut self,
        environment: Environment,
        templates: &[&Compiled<'_>],
        variables: &[Variable],
    ) -> Result<(), Failure> {
        if variables.is_empty() && templates.iter().all(|(_, template)| template.keys().is_empty()) {
            return Ok(());
        }
        let unnamed = self.unnamed_providers(&environment, templates, variables);
        // It tells no value: what a deployment asks for can be checked, too.
        let choice = Choice { deploys: true, ..self.common.choice() };
        let broker = assemble::broker_and(&choice, self.config, environment, &unnamed)?;
        // Whoever only looks has no certificate made, nor anything else that stays at the source.
        broker.rehearse();
        session::wait_and_leave(&broker, Given::Over, async {
            for (_, template) in templates {
                self.judge_template(&broker, template, &unnamed).await?;
            }
            for variable in variables {
                self.judge_variable(&broker, variable, &unnamed).await?;
            }
            Ok(())
        })
    }

    /// Each place that names a provider which is not there is a fault.
    fn unnamed_providers(
        &mut self,
        environment: &Environment,
        templates: &[&Compiled<'_>],
        variables: &[Variable],
    ) -> BTreeSet<String> {
        let mut known: BTreeSet<&str> = self.config.providers.keys().map(String::as_str).collect();
        if matches!(environment, Environment::All) {
            known.insert("env");
        }
        let in_templates = templates.iter().flat_map(|(_, template)| {
            template
                .references()
                .iter()
                .map(move |it| (&it.item.key, Place::at(template.name(), it.line, it.column)))
        });
        let in_variables = variables.iter().flat_map(|Variable { place, readings }| {
            readings.references.last().map(|reference| (&reference.key, place.clone()))
        });
        let mut unnamed = BTreeSet::new();
        for (key, place) in in_templates.chain(in_variables) {
            let Some(name) = key.provider.as_ref().filter(|name| !known.contains(name.as_str())) else {
                continue;
            };
            let known = known.iter().map(|&name| name.to_owned()).collect();
            let error = ResolveError::NoProvider { name: name.clone(), known };
            self.report.add(Finding::on(place, Kind::Template, error.to_string()).hint(error.hint()));
            unnamed.insert(name.clone());
        }
        unnamed
    }

    async fn judge_template(
        &mut self,
        broker: &Broker,
        template: &Template,
        unnamed: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        let missing = match broker.missing(&session::caller(), Door::Command, template).await {
            Err(Error::Resolve(_)) => return self.judge_each(broker, template, unnamed).await,
            missing => missing?,
        };
        for error in missing {
            let (Fault::Missing(reference) | Fault::Expired(reference) | Fault::Revoked(reference)) =
                &error.kind
            else {
                self.report.add(Finding::of(Kind::Template, &error));
                continue;
            };
            if !is_of(&reference.key, unnamed) && !self.is_made(broker, &reference.key) {
                let place = Place::at(&error.name, error.line, error.column);
                let hint = error.hint.as_ref().map(ToString::to_string);
                self.report.add_missing(self.row(reference), place, error.message.to_string(), hint);
            }
        }
        Ok(())
    }

    /// One of the providers fails: which references that is about, each provider asked until it does.
    async fn judge_each(
        &mut self,
        broker: &Broker,
        template: &Template,
        unnamed: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        let (config, mut failed) = (self.config, BTreeMap::<String, Error>::new());
        for used in template.references().iter().filter(|used| !is_told(config, &used.item.key, unnamed)) {
            let row = self.row(&used.item);
            if !failed.contains_key(&row.provider) {
                let asked = std::slice::from_ref(&used.item);
                match broker.values(&session::caller(), Door::Command, asked).await {
                    Ok(_) => continue,
                    Err(error @ Error::Resolve(_)) => drop(failed.insert(row.provider.clone(), error)),
                    Err(error) => return Err(error.into()),
                }
            }
            let place = Place::at(template.name(), used.line, used.column);
            let hint = "what else is missing here is told once it answers; secretfs provider test says more";
            let why = failed.get(&row.provider).map_or_else(String::new, ToString::to_string);
            self.report.add_missing(row, place, why, Some(hint.to_owned()));
        }
        Ok(())
    }

    async fn judge_variable(
        &mut self,
        broker: &Broker,
        Variable { place, readings }: &Variable,
        unnamed: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        let written =
            readings.references.last().filter(|reference| !is_told(self.config, &reference.key, unnamed));
        let Some(written) = written else { return Ok(()) };
        let outcomes = match broker.values(&session::caller(), Door::Command, &readings.references).await {
            Err(error @ Error::Resolve(_)) => {
                self.report.add_missing(self.row(written), place.clone(), error.to_string(), None);
                return Ok(());
            }
            outcomes => outcomes?,
        };
        match readings.settle(outcomes) {
            Ok(Ok(_)) => {}
            Ok(Err(_)) if self.is_made(broker, &written.key) => {}
            Ok(Err(lacks)) => {
                let lack = exec::most_telling(broker, lacks).await;
                self.report.add_missing(self.row(written), place.clone(), lack.problem, lack.hint);
            }
            Err(failure) => {
                self.report.add(Finding::on(place.clone(), Kind::Config, failure.problem).hint(failure.hint));
            }
        }
        Ok(())
    }

    /// Whether it is made for who asks: there is nothing to be found before that.
    fn is_made(&self, broker: &Broker, key: &SecretKey) -> bool {
        let sources = &self.config.sources;
        let mapped = || sources.map.iter().find(|(name, _)| name.as_str() == key.path).map(|(_, it)| &it.key);
        let key = if key.provider.is_some() { key } else { mapped().unwrap_or(key) };
        let provider = key.provider.as_deref().or(sources.from.as_deref());
        provider.is_some_and(|name| is_made_by(self.config, broker, name, &key.path))
    }

    /// The reference, and the provider that it leads to.
    fn row(&self, reference: &secret::Reference) -> Reference {
        let sources = &self.config.sources;
        let mapped = || sources.map.iter().find(|(name, _)| name.as_str() == reference.key.path);
        let provider = match (&reference.key.provider, mapped()) {
            (Some(name), _) => name.clone(),
            (None, Some((_, target))) => target.to_string(),
            (None, None) => sources.from.clone().unwrap_or_else(|| "store".to_owned()),
        };
        Reference { reference: reference.to_string(), provider }
    }
}

fn is_made_by(config: &Config, broker: &Broker, provider: &str, path: &str) -> bool {
    match config.providers.get(provider) {
        Some(ProviderConfig::Several(several)) => {
            several.of.iter().any(|it| is_made_by(config, broker, it, path))
        }
        _ => broker.makes(provider, path),
    }
}

/// Whether it was known to be at fault before anybody was asked.
fn is_told(config: &Config, key: &SecretKey, unnamed: &BTreeSet<String>) -> bool {
    is_of(key, unnamed) || pins::nobodys(config, key).is_some()
}

fn is_of(key: &SecretKey, unnamed: &BTreeSet<String>) -> bool {
    key.provider.as_ref().is_some_and(|name| unnamed.contains(name))
}
