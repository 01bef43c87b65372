//! What the providers of a config are together: which names there are, and of whom several are made. Pure.

use std::collections::BTreeSet;

use super::{ProviderConfig, SecretSource};
use crate::config::{Config, ConfigError, Secrets, Sources, word};
use crate::nearest::nearest;

static OWN_PROVIDERS: [(&str, ProviderConfig); 2] =
    [("store", ProviderConfig::Store), ("env", ProviderConfig::ENV)];

impl Config {
    /// The two providers that need no settings keep their names.
    pub(in crate::config) fn add_own_providers(&mut self) -> Result<(), ConfigError> {
        for (name, kind) in &OWN_PROVIDERS {
            if self.providers.get(*name).is_some_and(|given| given != kind) {
                let problem =
                    format!("the name `{name}` belongs to the provider of that type, without settings");
                return Err(self.error_at(&["providers", name], problem));
            }
        }
        self.providers.insert("store".to_owned(), ProviderConfig::Store);
        Ok(())
    }

    /// The variables that hold secrets of our own: for the providers, and for nobody whom we start.
    pub fn own_variables(&self) -> BTreeSet<String> {
        let named = self.providers.values().flat_map(ProviderConfig::own_secrets);
        let named = named.filter_map(|source| match source {
            SecretSource::Variable(name) => Some(name.clone()),
            _ => None,
        });
        let usual = self.providers.values().flat_map(ProviderConfig::usual_variables);
        named.chain(usual.map(|&name| name.to_owned())).collect()
    }

    /// Each of several is another one, and asks for itself.
    pub(in crate::config) fn judge_several(&mut self) -> Result<(), ConfigError> {
        for (name, of) in self.providers.iter().filter_map(several).collect::<Vec<_>>() {
            let mut seen = BTreeSet::new();
            for (index, member) in of.iter().enumerate() {
                let index = index.to_string();
                let place = ["providers", &*name, "of", &*index];
                self.use_provider(member, &place)?;
                if matches!(self.providers.get(member), Some(ProviderConfig::Several(_))) {
                    return Err(self.error_at(&place, format!("`{member}` is itself made of several")));
                }
                if !seen.insert(member) {
                    return Err(self.error_at(&place, format!("`{member}` is named twice")));
                }
            }
        }
        Ok(())
    }

    pub(in crate::config) fn judge_sources(&mut self, table: Secrets) -> Result<Sources, ConfigError> {
        let mut sources = Sources::default();
        for (name, word::Word(reference)) in table {
            let place = ["secrets", name.as_str()];
            if name.as_str() == "from" {
                self.use_provider(&reference.text, &place)?;
                sources.from = Some(reference.text);
                continue;
            }
            if let Some(provider) = &reference.parsed.key.provider {
                self.use_provider(provider, &place)?;
            }
            sources.map.insert(name, reference.parsed);
        }
        Ok(sources)
    }

    fn use_provider(&mut self, name: &str, place: &[&str]) -> Result<(), ConfigError> {
        if self.providers.contains_key(name) {
            return Ok(());
        }
        if let Some((_, kind)) = OWN_PROVIDERS.iter().find(|(own, _)| *own == name) {
            self.providers.insert(name.to_owned(), kind.clone());
            return Ok(());
        }
        let own = OWN_PROVIDERS.iter().map(|(own, _)| *own);
        let known: BTreeSet<&str> = self.providers.keys().map(String::as_str).chain(own).collect();
        let hint = match nearest(name, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there is {}", Vec::from_iter(known).join(", ")),
        };
        Err(self.error_at(place, format!("no provider is named `{name}`")).hint(Some(hint)))
    }
}

fn several((name, kind): (&String, &ProviderConfig)) -> Option<(String, Vec<String>)> {
    match kind {
        ProviderConfig::Several(several) => Some((name.clone(), several.of.clone())),
        _ => None,
    }
}
