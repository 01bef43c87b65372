//! Opens the store that the command line, the environment and the config point to, and tells its
//! failures. May use every layer.

use std::path::PathBuf;

use super::report::Failure;
use super::{Common, config, exit};
use crate::config::StoreConfig;
use crate::nearest::nearest;
use crate::secret::Namespace;
use crate::store::{Access, KeyError, KeySources, Store, StoreError};

const DEFAULT: &str = ".secretfs";

pub fn open_store(common: &Common, config: &StoreConfig, access: Access) -> Result<Store, Failure> {
    Ok(Store::open(&store_path(common, config), access, &key_sources(common, config))?)
}

/// The store and the namespace that this command is about.
pub fn here(common: &Common, access: Access) -> Result<(Store, Namespace), Failure> {
    let namespace = namespace(common)?;
    Ok((open_store(common, &config::load(common)?.store, access)?, namespace))
}

/// That a namespace which was asked for is there. The default one always is.
pub fn check_namespace(store: &Store, namespace: &Namespace) -> Result<(), Failure> {
    let known = store.namespaces()?;
    if *namespace == Namespace::default() || known.contains(namespace) {
        return Ok(());
    }
    let failure = Failure::new(exit::NO_INPUT, format!("there is no namespace `{namespace}`"));
    Err(match nearest(namespace.as_str(), known.iter().map(Namespace::as_str)) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint(format!("secretfs --namespace {namespace} set NAME makes it")),
    })
}

/// `--store`, else `SECRETFS_STORE`, else the config's, else `./.secretfs`.
pub fn store_path(common: &Common, config: &StoreConfig) -> PathBuf {
    let variable = || std::env::var_os("SECRETFS_STORE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let chosen = common.store.clone().or_else(variable).or_else(|| config.path.clone());
    chosen.unwrap_or_else(|| DEFAULT.into())
}

pub fn key_sources(common: &Common, config: &StoreConfig) -> KeySources {
    let file = common.key_file.clone().or_else(|| config.key_file.clone());
    KeySources::of_process(file, common.env_key.clone())
}

pub fn namespace(common: &Common) -> Result<Namespace, Failure> {
    let Some(name) = &common.namespace else { return Ok(Namespace::default()) };
    Namespace::parse(name).map_err(|error| Failure::new(exit::USAGE, error))
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let failure = Self::new(status(&error), &error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::new(exit::NO_PERMISSION, &error).hint(error.hint())
    }
}

fn status(error: &StoreError) -> u8 {
    match error {
        StoreError::NoStore(_) | StoreError::SecretMissing(_) => exit::NO_INPUT,
        StoreError::Exists(_) | StoreError::NotAStore(_) | StoreError::ReadOnly => exit::CANNOT_CREATE,
        StoreError::Unsafe { .. } | StoreError::Sealed(_) => exit::NO_PERMISSION,
        StoreError::SecretExists(_) | StoreError::Refused(_) => exit::DATA,
        StoreError::Newer { .. } => exit::UNAVAILABLE,
        StoreError::Busy(_) => exit::TEMPORARY,
        StoreError::Random(_) => exit::OS,
        StoreError::Corrupt(_) | StoreError::DiskFull | StoreError::Io { .. } | StoreError::Database(_) => {
            exit::IO
        }
    }
}
