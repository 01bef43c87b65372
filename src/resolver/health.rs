//! How providers are, and whether what is held of them is still so: asked for by operators, never by readers. Uses
//! `provider`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::together::all;
use super::{ResolveError, Resolver};
use crate::provider::{Memory, Provider, Refreshed};
use crate::secret::SecretKey;
use crate::sys::uptime::Uptime;

/// How a provider is.
pub struct Health {
    pub name: String,
    pub problem: Option<String>,
    /// How old the oldest answer is that is served in place of a newer one.
    pub stale: Option<Duration>,
}

/// For a provider to say how it is.
const PATIENCE: Duration = Duration::from_secs(2);

impl Resolver {
    /// Each provider by name, with why a fetch would fail now, and for how long nobody has confirmed what is
    /// served. One that does not answer in time would fail, too.
    pub async fn health(&self) -> Vec<Health> {
        let mut health = Vec::new();
        for (name, provider) in self.each() {
            let problem = match tokio::time::timeout(PATIENCE, provider.health()).await {
                Ok(answer) => answer.err().map(|error| error.to_string()),
                Err(_) => Some(format!("no answer within {PATIENCE:?}")),
            };
            let stale =
                provider.memory().and_then(Memory::stale_since).map(|since| Uptime::now().since(since));
            health.push(Health { name: name.to_owned(), problem, stale });
        }
        health
    }

    /// Asks providers anew for all that they hold: those of these names, or all; at the same time.
    pub async fn refresh(&self, names: &[String]) -> Result<Vec<(String, Refreshed)>, ResolveError> {
        let mut wanted = BTreeSet::new();
        for name in names {
            let key = SecretKey { provider: Some(name.clone()), ..SecretKey::named("") };
            wanted.extend(self.members(self.provider_of(&key)?));
        }
        let is_wanted = |at: &usize| names.is_empty() || wanted.contains(at);
        let named = (0..self.providers.len()).filter(is_wanted).map(|at| &self.providers[at]);
        let ask = |(name, provider): (&str, Arc<dyn Provider>)| {
            let name = name.to_owned();
            async move {
                let refreshed = match provider.memory() {
                    Some(memory) => memory.refresh().await,
                    None => Refreshed::default(),
                };
                Ok((name, refreshed))
            }
        };
        all(named.filter_map(|it| Some((&*it.name, it.one()?.clone()))).map(ask)).await
    }
}
