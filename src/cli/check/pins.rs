//! Which versions the config's templates and profiles name by their number. As long as they do, those of the store
//! have to stay: a template that cannot be judged is a failure then. Of several as one nobody has a version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::finding::{Finding, Kind, Place};
use super::references::{self, Variable};
use super::report::Report;
use super::subject;
use crate::cli::report::Failure;
use crate::config::{Config, ProviderConfig};
use crate::daemon::assemble::STORE;
use crate::resolver::ResolveError;
use crate::secret::SecretKey;
use crate::template::Template;

/// The place that names a version, by secret and version.
#[derive(Default)]
pub struct Pins(BTreeMap<String, BTreeMap<u64, Place>>);

impl Pins {
    pub fn of_config(config: &Config) -> Result<Self, Failure> {
        let mut pins = Self::default();
        for template in templates(config)? {
            of_template(&template).for_each(|(key, place)| pins.add(config, &key, place));
        }
        itself(config)?.into_iter().for_each(|(key, place)| pins.add(config, &key, place));
        Ok(pins)
    }

    /// The pinned versions of a secret.
    pub fn of(&self, name: &str) -> BTreeSet<u64> {
        self.0.get(name).into_iter().flat_map(|versions| versions.keys().copied()).collect()
    }

    /// Where a version is named, for a person.
    pub fn place(&self, name: &str, version: u64) -> Option<String> {
        Some(self.0.get(name)?.get(&version)?.to_string())
    }

    fn add(&mut self, config: &Config, key: &SecretKey, place: Place) {
        let Some(Pin { provider, path, version }) = Pin::of(config, key) else { return };
        let kind = config.providers.get(provider);
        if kind.map_or(provider == STORE, |it| *it == ProviderConfig::Store) {
            self.0.entry(path.to_owned()).or_default().entry(version).or_insert(place);
        }
    }
}

/// A version that is asked for, and of whom.
struct Pin<'a> {
    provider: &'a str,
    path: &'a str,
    version: u64,
}

impl<'a> Pin<'a> {
    fn of(config: &'a Config, key: &'a SecretKey) -> Option<Self> {
        let mut mapped = config.sources.map.iter().filter(|_| key.provider.is_none());
        let target =
            mapped.find(|(name, _)| name.as_str() == key.path).map_or(key, |(_, target)| &target.key);
        let provider = target.provider.as_deref().or(config.sources.from.as_deref()).unwrap_or(STORE);
        Some(Self { provider, path: &target.path, version: key.version.or(target.version)? })
    }
}

/// Each place that asks several as one for a version is a fault: in these templates, and with the whole config in that.
pub(super) fn judge<'a>(
    config: &Config,
    templates: impl Iterator<Item = &'a Template>,
    is_whole: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let of_config = if is_whole { itself(config)? } else { Vec::new() };
    for (key, place) in templates.flat_map(of_template).chain(of_config) {
        if let Some(error) = nobodys(config, &key) {
            report.add(Finding::on(place, Kind::Template, error.to_string()).hint(error.hint()));
        }
    }
    Ok(())
}

/// What there is to be said if it is a version of several as one.
pub(super) fn nobodys(config: &Config, key: &SecretKey) -> Option<ResolveError> {
    let Pin { provider, path, version } = Pin::of(config, key)?;
    let Some(ProviderConfig::Several(several)) = config.providers.get(provider) else { return None };
    let (of, path) = (several.of.clone(), path.to_owned());
    Some(ResolveError::Pinned { several: provider.to_owned(), path, version, of })
}

fn of_template(template: &Template) -> impl Iterator<Item = (SecretKey, Place)> {
    let place = |line, column| Place::at(template.name(), line, column);
    template.references().iter().map(move |it| (it.item.key.clone(), place(it.line, it.column)))
}

/// What the config names by itself, and where.
fn itself(config: &Config) -> Result<Vec<(SecretKey, Place)>, Failure> {
    let variables = references::variables(config)?.into_iter().chain(references::of_daemon(config)?);
    let of_variable = |Variable { place, readings }: Variable| {
        readings.references.into_iter().map(move |it| (it.key, place.clone()))
    };
    let mapped = config.sources.map.iter().map(|(name, target)| {
        (target.key.clone(), Place::from(&config.error_at(&["secrets", name.as_str()], "")))
    });
    Ok(variables.flat_map(of_variable).chain(mapped).collect())
}

fn templates(config: &Config) -> Result<Vec<Arc<Template>>, Failure> {
    if config.mounts.is_empty() && config.profiles.is_empty() {
        return Ok(Vec::new());
    }
    let mut report = Report::default();
    let subjects = subject::of_config(config, &mut report)?;
    let compiled: Vec<_> =
        subjects.iter().filter_map(|it| super::compile(it, &mut report)).map(|(_, it)| it).collect();
    match report.status() {
        crate::cli::exit::OK => Ok(compiled),
        status => {
            Err(Failure::new(status, "it cannot be told which versions the templates of the config name")
                .hint("secretfs check shows what is wrong with them"))
        }
    }
}
