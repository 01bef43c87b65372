//! Opens the store that the command line, the environment and the config point to, and tells its
//! failures. May use every layer.

use std::path::PathBuf;

use jiff::Timestamp;

use super::report::{Failure, warn};
use super::{Common, audited, config, exit};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, StoreConfig};
use crate::daemon::assemble::{self, AssembleError, Choice};
use crate::secret::{NameError, Namespace};
use crate::store::{Access, KeyError, KeySources, Scrub, Stamp, Store, StoreError};

impl Common {
    /// What it says of the store.
    pub fn choice(&self) -> Choice {
        Choice {
            store: self.store.clone(),
            key_file: self.key_file.clone(),
            namespace: self.namespace.clone(),
            env_key: self.env_key.clone(),
            ask: self.ask.clone(),
            waits_for_key: false,
            deploys: false,
        }
    }
}

pub fn open_store(common: &Common, config: &StoreConfig, access: Access) -> Result<Store, Failure> {
    Ok(common.choice().open_store(config, access)?)
}

/// The same; what is done to it is written down as the config says.
fn open_watched(common: &Common, config: &Config, access: Access) -> Result<Store, Failure> {
    let store = open_store(common, &config.store, access)?;
    match access {
        Access::Write => Ok(audited::watched(store, &config.audit)?),
        Access::Read => Ok(store),
    }
}

/// Who changes something, and when.
pub fn stamp() -> Stamp {
    stamp_at(SystemClock.now())
}

/// The same, where other times have been judged against this moment.
pub fn stamp_at(now: Timestamp) -> Stamp {
    Stamp { now, by: format!("uid:{}", nix::unistd::getuid()) }
}

/// What was removed shall be gone from the files, too. That it is not yet is no failure: it is
/// removed, and what is left of it is sealed.
pub fn scrub(store: &Store, what: Scrub) {
    match store.scrub(what) {
        Ok(true) => {}
        Ok(false) => {
            warn("the store is being read: sealed bytes of what was removed stay in its log for now")
        }
        Err(error) => warn(format!("sealed bytes of what was removed stay in the store's files: {error}")),
    }
}

/// The store and the namespace that this command is about.
pub fn here(common: &Common, access: Access) -> Result<(Store, Namespace), Failure> {
    let namespace = namespace(common)?;
    Ok((open_watched(common, &config::load(common)?, access)?, namespace))
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
            AssembleError::Rules(error) => error.into(),
            AssembleError::Deploy => Self::new(exit::NO_PERMISSION, &error)
                .hint("secretfs exec --deploy --namespace deploy -- COMMAND"),
            AssembleError::Random(error) => Self::new(exit::OS, error),
            AssembleError::OtherUser { .. } => {
                let own = format!("your own is user:{}; root may name any", nix::unistd::geteuid());
                Self::new(exit::NO_PERMISSION, &error).hint(own)
            }
            AssembleError::NoNamespace { ref name, ref near } => {
                let failure = Self::new(exit::NO_INPUT, &error);
                match near {
                    Some(near) => failure.hint(format!("did you mean `{near}`?")),
                    None => failure.hint(format!("secretfs namespace create {name}")),
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
        StoreError::NoStore(_)
        | StoreError::Unfinished(_)
        | StoreError::SecretMissing(_)
        | StoreError::NamespaceMissing(_)
        | StoreError::VersionMissing { .. } => exit::NO_INPUT,
        StoreError::Exists(_)
        | StoreError::FileExists(_)
        | StoreError::NotAStore(_)
        | StoreError::ReadOnly => exit::CANNOT_CREATE,
        StoreError::Unsafe { .. } | StoreError::Sealed(_) => exit::NO_PERMISSION,
        StoreError::Unwitnessed { .. } => exit::IO,
        StoreError::SecretExists(_)
        | StoreError::NamespaceExists(_)
        | StoreError::Aside(_)
        | StoreError::Field(..)
        | StoreError::Refused(_) => exit::DATA,
        StoreError::Newer { .. } => exit::UNAVAILABLE,
        StoreError::Busy(_) | StoreError::Claimed(_) | StoreError::Interrupted | StoreError::Rekeyed => {
            exit::TEMPORARY
        }
        StoreError::Random(_) => exit::OS,
        StoreError::Corrupt(_)
        | StoreError::Backup { .. }
        | StoreError::DiskFull
        | StoreError::NoSqlite { .. }
        | StoreError::Io { .. }
        | StoreError::Database(_) => exit::IO,
    }
}
