//! The object graph: from the config and the command line to a broker. Uses every layer.

use std::sync::Arc;

use super::report::Failure;
use super::{Common, exit, open};
use crate::broker::{Broker, Environment};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, FileOptions, ProviderKind};
use crate::policy::Policy;
use crate::provider::{EnvProvider, LocalStore, Provider};
use crate::resolver::Resolver;
use crate::secret::SecretBytes;
use crate::store::Access;
use crate::template::{Dialect, Format, Syntax, UnknownName};

const STORE: &str = "store";
const ENV: &str = "env";

/// The broker over all providers that the config names. The store is opened unless it is not
/// there and everything comes from elsewhere.
pub fn broker(common: &Common, config: &Config, environment: Environment) -> Result<Broker, Failure> {
    let default = config.sources.from.as_deref().unwrap_or(STORE);
    let clock = Arc::new(SystemClock);
    let env: Arc<dyn Provider> = Arc::new(EnvProvider::new(std::env::vars_os(), clock.now()));
    let mapped = config.sources.map.iter().map(|(name, it)| (name.to_string(), it.clone())).collect();
    let is_env = config.providers.get(default) == Some(&ProviderKind::Env);
    if is_env && !open::store_path(common, &config.store).exists() {
        let resolver = Resolver::new(default, env).mapping(mapped);
        return Ok(Broker::new(Policy::by_mode(), resolver, random_key()?, environment));
    }
    let store = Arc::new(open::open_store(common, &config.store, Access::Read)?);
    let salt = SecretBytes::copy_of(store.salt_key().expose());
    let local: Arc<dyn Provider> = Arc::new(LocalStore::new(store, open::namespace(common)?, clock));
    let resolver = match is_env {
        true => Resolver::new(default, env).with(STORE, local),
        false => Resolver::new(default, local).with(ENV, env),
    };
    Ok(Broker::new(Policy::by_mode(), resolver.mapping(mapped), salt, environment))
}

/// Without a store there is no key to keep: salts last as long as this process.
fn random_key() -> Result<SecretBytes, Failure> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| Failure::new(exit::OS, error))?;
    Ok(SecretBytes::copy_of(&key))
}

/// The output format that options ask for; `None`: by the file's name.
pub fn format(options: &FileOptions) -> Result<Option<Format>, Failure> {
    let format = options.format.as_deref().map(Format::parse).transpose().map_err(unknown)?;
    let dialect = options.dialect.as_deref().map(Dialect::parse).transpose().map_err(unknown)?;
    match (format, dialect) {
        (format, None) => Ok(format),
        (None | Some(Format::Env(_)), Some(dialect)) => Ok(Some(Format::Env(dialect))),
        (Some(format), Some(_)) => {
            Err(Failure::new(exit::CONFIG, format!("the format {} has no dialects", format.name()))
                .hint("format: env"))
        }
    }
}

pub fn syntax(options: &FileOptions) -> Result<Syntax, Failure> {
    let syntax = options.syntax.as_deref().map(Syntax::parse).transpose().map_err(unknown)?;
    Ok(syntax.unwrap_or(Syntax::Angle))
}

fn unknown(error: UnknownName) -> Failure {
    Failure::new(exit::CONFIG, error)
}
