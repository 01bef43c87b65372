//! The object graph: from the config and the command line to a broker. Uses every layer.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::report::Failure;
use super::{Common, exit, open};
use crate::broker::{Broker, Environment};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ProviderKind};
use crate::policy::Policy;
use crate::provider::{EnvProvider, LocalStore, Nowhere, Provider};
use crate::resolver::Resolver;
use crate::secret::SecretBytes;
use crate::store::Access;

const STORE: &str = "store";
const ENV: &str = "env";

/// The broker over all providers that the config names. The store is opened unless it is not
/// there and everything comes from elsewhere.
pub fn broker(common: &Common, config: &Config, environment: Environment) -> Result<Broker, Failure> {
    broker_and(common, config, environment, &BTreeSet::new())
}

/// The same, with stand-ins for providers that the config does not name.
pub fn broker_and(
    common: &Common,
    config: &Config,
    environment: Environment,
    unnamed: &BTreeSet<String>,
) -> Result<Broker, Failure> {
    let default = config.sources.from.as_deref().unwrap_or(STORE);
    let clock = Arc::new(SystemClock);
    let env: Arc<dyn Provider> = Arc::new(EnvProvider::new(clock.now()));
    let is_env = config.providers.get(default) == Some(&ProviderKind::Env);
    let (local, salt) = match is_env && !open::store_path(common, &config.store).exists() {
        true => (None, random_key()?),
        false => {
            let store = Arc::new(open::open_store(common, &config.store, Access::Read)?);
            let namespace = open::namespace(common)?;
            if matches!(environment, Environment::All) {
                // A mount waits for a namespace that is still to come; a command does not.
                open::check_namespace(&store, &namespace)?;
            }
            let salt = SecretBytes::copy_of(store.salt_key().expose());
            let local: Arc<dyn Provider> = Arc::new(LocalStore::new(store, namespace, clock));
            (Some(local), salt)
        }
    };
    let first = local.as_ref().filter(|_| !is_env).unwrap_or(&env).clone();
    let mut resolver = Resolver::new(default, first);
    let mut providers = config.providers.clone();
    if matches!(environment, Environment::All) {
        // The caller's own environment holds nothing that is news to the caller.
        providers.insert(ENV.to_owned(), ProviderKind::Env);
    }
    for (name, kind) in providers.iter().filter(|(name, _)| *name != default) {
        let provider = if *kind == ProviderKind::Env { Some(&env) } else { local.as_ref() };
        resolver = provider.into_iter().fold(resolver, |resolver, it| resolver.with(name, it.clone()));
    }
    let nowhere = |resolver: Resolver, name: &String| resolver.with(name, Arc::new(Nowhere));
    resolver = unnamed.iter().fold(resolver, nowhere);
    let mapped = config.sources.map.iter().map(|(name, it)| (name.to_string(), it.clone())).collect();
    Ok(Broker::new(Policy::by_mode(), resolver.mapping(mapped), salt, environment))
}

/// Without a store there is no key to keep: salts last as long as this process.
fn random_key() -> Result<SecretBytes, Failure> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| Failure::new(exit::OS, error))?;
    Ok(SecretBytes::copy_of(&key))
}
