//! Which versions the config's templates and profiles name by their number: as long as they do, those
//! versions have to stay. A template that cannot be judged is a failure: nobody knows what it names.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Place;
use super::report::Report;
use super::{references, subject};
use crate::cli::report::Failure;
use crate::config::{Config, ProviderConfig};
use crate::daemon::assemble::STORE;
use crate::secret::{self, SecretKey};

/// The place that names a version, by secret and version.
#[derive(Default)]
pub struct Pins(BTreeMap<String, BTreeMap<u64, Place>>);

impl Pins {
    pub fn of_config(config: &Config) -> Result<Self, Failure> {
        let mut pins = Self::default();
        for template in templates(config)? {
            for found in template.references() {
                let place = || Place::at(template.name(), found.line, found.column);
                pins.add(config, &found.item.key, place);
            }
        }
        let named = references::variables(config)?.into_iter().chain(references::of_daemon(config)?);
        for variable in named {
            for reference in &variable.readings.references {
                pins.add(config, &reference.key, || variable.place.clone());
            }
        }
        for (name, target) in &config.sources.map {
            let place = || Place::from(&config.error_at(&["secrets", name.as_str()], ""));
            pins.add(config, &target.key, place);
        }
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

    fn add(&mut self, config: &Config, key: &SecretKey, place: impl FnOnce() -> Place) {
        if let Some((name, version)) = in_store(config, key) {
            self.0.entry(name).or_default().entry(version).or_insert_with(place);
        }
    }
}

/// The secret of the store that a key means, if it names a version of it.
fn in_store(config: &Config, key: &SecretKey) -> Option<(String, u64)> {
    let mapped =
        config.sources.map.iter().find(|(name, _)| key.provider.is_none() && name.as_str() == key.path);
    let (provider, path, version) = match mapped {
        Some((_, secret::Reference { key: target, .. })) => {
            (target.provider.as_deref(), &target.path, key.version.or(target.version))
        }
        None => (key.provider.as_deref(), &key.path, key.version),
    };
    let provider = provider.or(config.sources.from.as_deref()).unwrap_or(STORE);
    let is_store =
        config.providers.get(provider).map_or(provider == STORE, |it| *it == ProviderConfig::Store);
    is_store.then_some(())?;
    Some((path.clone(), version?))
}

fn templates(config: &Config) -> Result<Vec<std::sync::Arc<crate::template::Template>>, Failure> {
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
