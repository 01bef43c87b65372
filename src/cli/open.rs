//! Opens the store that the command line, the environment and the config point to, and tells its
//! failures. May use every layer.

use std::path::PathBuf;

use super::report::Failure;
use super::{Common, config, exit};
use crate::config::StoreConfig;
use crate::daemon::assemble::{self, AssembleError, Choice};
use crate::secret::{NameError, Namespace};
use crate::store::{Access, KeyError, KeySources, Store, StoreError};

impl Common {
    /// What it says of the store.
    pub fn choice(&self) -> Choice {
        Choice {
            store: self.store.clone(),
            key_file: self.key_file.clone(),
            namespace: self.namespace.clone(),
            env_key: self.env_key.clone(),
            waits_for_key: false,
        }
    }
}

pub fn open_store(common: &Common, config: &StoreConfig, access: Access) -> Result<Store, Failure> {
    Ok(common.choice().open_store(config, access)?)
}

/// The store and the namespace that this command is about.
pub fn here(common: &Common, access: Access) -> Result<(Store, Namespace), Failure> {
    let namespace = namespace(common)?;
    Ok((open_store(common, &config::load(common)?.store, access)?, namespace))
}

pub fn check_namespace(store: &Store, namespace: &Namespace) -> Result<(), Failure> {
    Ok(assemble::check_namespace(store, namespace)?)
}

pub fn store_path(common: &Common, config: &StoreConfig) -> PathBuf {
    common.choice().store_path(config)
}

pub fn key_sources(common: &Common, config: &StoreConfig) -> KeySources {
    common.choice().key_sources(config)
}

pub fn namespace(common: &Common) -> Result<Namespace, Failure> {
    Ok(common.choice().namespace()?)
}

impl From<AssembleError> for Failure {
    fn from(error: AssembleError) -> Self {
        match error {
            AssembleError::Store(error) => error.into(),
            AssembleError::Name(error) => error.into(),
            AssembleError::Random(error) => Self::new(exit::OS, error),
            AssembleError::NoNamespace { ref name, ref near } => {
                let failure = Self::new(exit::NO_INPUT, &error);
                match near {
                    Some(near) => failure.hint(format!("did you mean `{near}`?")),
                    None => failure.hint(format!("secretfs --namespace {name} set NAME makes it")),
                }
            }
        }
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::new(exit::USAGE, error)
    }
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
        StoreError::SecretExists(_) | StoreError::Field(..) | StoreError::Refused(_) => exit::DATA,
        StoreError::Newer { .. } => exit::UNAVAILABLE,
        StoreError::Busy(_) => exit::TEMPORARY,
        StoreError::Random(_) => exit::OS,
        StoreError::Corrupt(_)
        | StoreError::DiskFull
        | StoreError::NoSqlite { .. }
        | StoreError::Io { .. }
        | StoreError::Database(_) => exit::IO,
    }
}
