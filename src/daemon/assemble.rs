//! The object graph: from the config, and what the command line put before it, to a broker.
//! Uses every layer below.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::rules;
use crate::audit::{Audit, Seed};
use crate::broker::{Broker, Environment};
use crate::cache::Cache;
use crate::clock::SystemClock;
use crate::config::{
    Config, ConfigError, ProviderConfig, Remote, RemoteSource, SecretSource, Several, StoreConfig,
};
use crate::nearest::nearest;
#[cfg(feature = "aws")]
use crate::provider;
#[cfg(feature = "azure")]
use crate::provider::AzureProvider;
#[cfg(feature = "etcd")]
use crate::provider::EtcdProvider;
#[cfg(feature = "gcp")]
use crate::provider::GcpProvider;
#[cfg(feature = "kubernetes")]
use crate::provider::KubernetesProvider;
#[cfg(feature = "onepassword")]
use crate::provider::OnePasswordProvider;
#[cfg(feature = "vault")]
use crate::provider::VaultProvider;
use crate::provider::{EnvProvider, ExecProvider, FileProvider, LocalStore, Nowhere, Provider, Sealed};
use crate::resolver::Resolver;
use crate::secret::{NameError, Namespace, SecretBytes};
use crate::store::{Access, Ask, EnvKey, KeySources, Store, StoreError};

pub const STORE: &str = "store";
const ENV: &str = "env";
const DEFAULT_STORE: &str = ".secretfs";

/// What the command line says of the store; it goes before the config.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub store: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub namespace: Option<String>,
    pub env_key: EnvKey,
    /// Asks for a passphrase, if somebody is there.
    pub ask: Option<Ask>,
    /// Whether a store without its key is served as one that fails, until the key comes.
    pub waits_for_key: bool,
    /// Whether deploy-time secrets may be asked for.
    pub deploys: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("there is no namespace `{name}`")]
    NoNamespace { name: Namespace, near: Option<String> },
    #[error("the namespace `user:{uid}` belongs to another user")]
    OtherUser { uid: u32 },
    #[error("the namespace `deploy` is for deployments; no workload gets it")]
    Deploy,
    #[error(transparent)]
    Rules(#[from] ConfigError),
    #[error(transparent)]
    Random(#[from] getrandom::Error),
}

impl Choice {
    /// The chosen one, else that of `SECRETFS_STORE`, else the config's, else `./.secretfs`.
    pub fn store_path(&self, config: &StoreConfig) -> PathBuf {
        let variable =
            || std::env::var_os("SECRETFS_STORE").filter(|path| !path.is_empty()).map(PathBuf::from);
        let chosen = self.store.clone().or_else(variable).or_else(|| config.path.clone());
        chosen.unwrap_or_else(|| DEFAULT_STORE.into())
    }

    pub fn key_sources(&self, config: &StoreConfig) -> KeySources {
        let file = self.key_file.clone().or_else(|| config.key_file.clone());
        KeySources { ask: self.ask.clone(), ..KeySources::of_process(file, self.env_key.clone()) }
    }

    pub fn open_store(&self, config: &StoreConfig, access: Access) -> Result<Store, StoreError> {
        Store::open(&self.store_path(config), access, &self.key_sources(config))
    }

    /// Whoever serves workloads asks nothing of the namespace `deploy`.
    pub fn refuse_deploy(&self) -> Result<(), AssembleError> {
        match self.namespace.as_deref() == Some(Namespace::DEPLOY) && !self.deploys {
            true => Err(AssembleError::Deploy),
            false => Ok(()),
        }
    }

    /// The namespace of a user is named by that user and by root. This keeps mistakes out; it is no
    /// wall against who has the store's key, and with it everything.
    pub fn namespace(&self) -> Result<Namespace, AssembleError> {
        let namespace =
            self.namespace.as_deref().map_or_else(|| Ok(Namespace::default()), Namespace::parse)?;
        let us = nix::unistd::geteuid();
        match namespace.user() {
            Some(uid) if !us.is_root() && us.as_raw() != uid => Err(AssembleError::OtherUser { uid }),
            _ => Ok(namespace),
        }
    }
}

/// That a namespace which was asked for is there. The default one always is.
pub fn check_namespace(store: &Store, namespace: &Namespace) -> Result<(), AssembleError> {
    let known = store.namespaces()?;
    if *namespace == Namespace::default() || known.contains(namespace) {
        return Ok(());
    }
    let near = nearest(namespace.as_str(), known.iter().map(Namespace::as_str)).map(str::to_owned);
    Err(AssembleError::NoNamespace { name: namespace.clone(), near })
}

/// The broker over all providers that the config names. The store is opened unless it is not
/// there and everything comes from elsewhere.
pub fn broker(choice: &Choice, config: &Config, environment: Environment) -> Result<Broker, AssembleError> {
    broker_and(choice, config, environment, &BTreeSet::new())
}

/// The same, with stand-ins for providers that the config does not name.
pub fn broker_and(
    choice: &Choice,
    config: &Config,
    environment: Environment,
    unnamed: &BTreeSet<String>,
) -> Result<Broker, AssembleError> {
    assemble(choice, config, environment, unnamed, None)
}

/// What an earlier config has led to. A later one goes on with those providers of which it says
/// nothing else: they keep what they have fetched, and a store that is open stays so.
pub struct Before<'a> {
    pub config: &'a Config,
    pub broker: &'a Broker,
}

impl Before<'_> {
    pub fn broker(
        &self,
        choice: &Choice,
        config: &Config,
        environment: Environment,
    ) -> Result<Broker, AssembleError> {
        assemble(choice, config, environment, &BTreeSet::new(), Some(self))
    }

    fn provider(&self, name: &str, config: &Config) -> Option<Arc<dyn Provider>> {
        let is_same = self.config.store == config.store
            && self.config.providers.get(name) == config.providers.get(name);
        is_same.then(|| self.broker.provider(name)).flatten()
    }

    /// What stands behind its memory, if only that has other settings: it goes on with its login.
    fn upstream(&self, name: &str, remote: &Remote, config: &Config) -> Option<Arc<dyn Provider>> {
        let ProviderConfig::Remote(before) = self.config.providers.get(name)? else { return None };
        let is_same = self.config.store == config.store && before.source == remote.source;
        is_same.then(|| Some(self.broker.provider(name)?.memory()?.behind())).flatten()
    }
}

fn assemble(
    choice: &Choice,
    config: &Config,
    environment: Environment,
    unnamed: &BTreeSet<String>,
    before: Option<&Before<'_>>,
) -> Result<Broker, AssembleError> {
    choice.refuse_deploy()?;
    let policy = rules::policy(config)?;
    let kept = |name: &str| before?.provider(name, config);
    let default = config.sources.from.as_deref().unwrap_or(STORE);
    let clock = Arc::new(SystemClock);
    let is_elsewhere = !asks_store(config, default) && !choice.store_path(&config.store).exists();
    let (mut seed, mut key_source) = (Seed::Beside, None);
    let (local, salt) = match (kept(STORE), before) {
        (Some(store), Some(before)) => (Some(store), before.broker.salt_key()),
        _ if is_elsewhere => (None, random_key()?),
        _ => match choice.open_store(&config.store, Access::Read) {
            Err(error @ StoreError::Sealed(_)) if choice.waits_for_key => {
                tracing::error!(%error, "the store is sealed: its readers get ENOKEY until its key is there");
                let sealed: Arc<dyn Provider> = Arc::new(Sealed::new(error));
                seed = Seed::Locked;
                (Some(sealed), random_key()?)
            }
            opened => {
                let store = Arc::new(opened?);
                let namespace = choice.namespace()?;
                if matches!(environment, Environment::All) {
                    // A mount waits for a namespace that is still to come; a command does not.
                    check_namespace(&store, &namespace)?;
                }
                let salt = SecretBytes::copy_of(store.salt_key().expose());
                let keyed = store.clone();
                key_source = store.key_source().map(str::to_owned);
                seed = Seed::from(move || keyed.audit_seed().ok());
                let local: Arc<dyn Provider> = Arc::new(LocalStore::new(store, namespace, clock));
                (Some(local), salt)
            }
        },
    };
    let since = Timestamp::now();
    let provider = |name: &str, kind: &ProviderConfig| -> Option<Arc<dyn Provider>> {
        match kind {
            ProviderConfig::Store => local.clone(),
            ProviderConfig::Several(_) => None,
            ProviderConfig::Env { prefix } => {
                let hidden = config.own_variables();
                let is_same = before.is_some_and(|before| before.config.own_variables() == hidden);
                let kept = kept(name).filter(|_| is_same);
                Some(kept.unwrap_or_else(|| Arc::new(EnvProvider::new(prefix, since, hidden))))
            }
            ProviderConfig::Remote(remote) => {
                let (place, prefix) = kind.place().unwrap_or_default();
                let place = format!("{place}\0{prefix}\0{}", kind.asker());
                Some(kept(name).unwrap_or_else(|| {
                    let upstream = before.and_then(|before| before.upstream(name, remote, config));
                    let upstream = upstream.unwrap_or_else(|| upstream_of(remote, &salt, local.clone()));
                    remembering((name, &place), remote, upstream, local.as_deref())
                }))
            }
        }
    };
    let mut providers = config.providers.clone();
    if matches!(environment, Environment::All) {
        // The caller's own environment holds nothing that is news to the caller.
        providers.insert(ENV.to_owned(), ProviderConfig::ENV);
    }
    let mut resolver =
        Resolver::of(providers.iter().filter_map(|(name, kind)| Some((&**name, provider(name, kind)?))));
    for (name, kind) in &providers {
        if let ProviderConfig::Several(Several { of, strategy }) = kind {
            resolver = resolver.with_several(name, of, *strategy);
        }
    }
    resolver = resolver.defaulting_to(default);
    let nowhere = |resolver: Resolver, name: &String| resolver.with(name, Arc::new(Nowhere));
    resolver = unnamed.iter().fold(resolver, nowhere);
    let mapped = config.sources.map.iter().map(|(name, it)| (name.to_string(), it.clone())).collect();
    let audit = match before {
        Some(before) if before.config.store == config.store => match before.config.audit == config.audit {
            true => before.broker.audit().clone(),
            false => Arc::new(before.broker.audit().under(config.audit.clone())),
        },
        before => {
            let audit = Audit::new(config.audit.clone(), seed).opened_by(key_source);
            Arc::new(audit.after(before.map(|it| &**it.broker.audit())))
        }
    };
    Ok(Broker::new(policy, resolver.mapping(mapped), salt, environment).audited(audit))
}

/// Whether what is mapped nowhere is looked for in the store, or another provider cannot do without it.
fn asks_store(config: &Config, default: &str) -> bool {
    let is_store = |name: &str| matches!(config.providers.get(name), None | Some(ProviderConfig::Store));
    let needs_it = |kind: &ProviderConfig| match kind {
        ProviderConfig::Several(several) => several.of.iter().any(|name| is_store(name)),
        kind => kind.own_secrets().iter().any(|source| matches!(source, SecretSource::Store(_))),
    };
    is_store(default) || config.providers.values().any(needs_it)
}

/// A provider elsewhere, which wants a memory in front of it.
fn upstream_of(remote: &Remote, key: &SecretBytes, store: Option<Arc<dyn Provider>>) -> Arc<dyn Provider> {
    let key = || SecretBytes::copy_of(key.expose());
    #[allow(unused_variables, reason = "without a provider of the network")]
    let timeout = remote.limits.timeout;
    match &remote.source {
        RemoteSource::Exec(program) => Arc::new(ExecProvider::new(program.clone(), key())),
        RemoteSource::File(document) => Arc::new(FileProvider::new(document.clone(), key(), store)),
        #[cfg(feature = "vault")]
        RemoteSource::Vault(vault) => Arc::new(VaultProvider::new((**vault).clone(), timeout, key(), store)),
        #[cfg(feature = "etcd")]
        RemoteSource::Etcd(etcd) => Arc::new(EtcdProvider::new((**etcd).clone(), timeout, store)),
        #[cfg(feature = "aws")]
        RemoteSource::Aws(aws) => provider::aws((**aws).clone(), timeout, store),
        #[cfg(feature = "azure")]
        RemoteSource::Azure(azure) => Arc::new(AzureProvider::new((**azure).clone(), timeout, store)),
        #[cfg(feature = "gcp")]
        RemoteSource::Gcp(gcp) => Arc::new(GcpProvider::new((**gcp).clone(), timeout, store)),
        #[cfg(feature = "onepassword")]
        RemoteSource::OnePassword(connect) => {
            Arc::new(OnePasswordProvider::new((**connect).clone(), timeout, key(), store))
        }
        #[cfg(feature = "kubernetes")]
        RemoteSource::Kubernetes(it) => {
            Arc::new(KubernetesProvider::new((**it).clone(), timeout, key(), store))
        }
        // The config refuses what is not built.
        #[allow(unreachable_patterns, reason = "unless all features are there")]
        _ => Arc::new(Nowhere),
    }
}

/// With its memory in front of it, and the copies in the store if it has some.
fn remembering(
    (name, place): (&str, &str),
    remote: &Remote,
    upstream: Arc<dyn Provider>,
    store: Option<&dyn Provider>,
) -> Arc<dyn Provider> {
    let cache = Cache::new(name, upstream, remote.limits.clone(), remote.keeping.clone());
    if !remote.keeping.mirror {
        return Arc::new(cache);
    }
    match store
        .and_then(Provider::store)
        .and_then(|store| store.mirror(name, place, remote.keeping.oldest_copy()))
    {
        Some(mirror) => Arc::new(cache.mirrored(mirror)),
        None => {
            tracing::warn!(
                provider = name,
                "mirror: nothing is kept, without a store and its key (try: secretfs init)"
            );
            Arc::new(cache)
        }
    }
}

/// Without a store there is no key to keep: salts last as long as this process.
fn random_key() -> Result<SecretBytes, getrandom::Error> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    Ok(SecretBytes::copy_of(&key))
}
