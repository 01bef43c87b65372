//! The environment of this process as a provider, for development (`secrets: {from: env}`).
//! Uses std; the variables are taken once, so that nothing changes between two reads.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Batch, BoxFuture, Provider, ProviderError, Pulse};
use crate::secret::{Absent, FieldName, SecretBytes, SecretKey, SecretVersion};

pub struct EnvProvider {
    variables: HashMap<String, Arc<SecretVersion>>,
}

impl EnvProvider {
    /// Takes what the iterator gives, usually `std::env::vars_os()`. Names that are not text
    /// cannot be named in a template and are left out.
    pub fn new(
        variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
        now: Timestamp,
    ) -> Self {
        let variables = variables
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, Arc::new(version(value.into_vec(), now))))
            })
            .collect();
        Self { variables }
    }
}

fn version(value: Vec<u8>, now: Timestamp) -> SecretVersion {
    SecretVersion {
        fields: BTreeMap::from([(FieldName::value(), SecretBytes::new(value))]),
        version: 1,
        created_at: now,
        updated_at: now,
        expires_at: None,
    }
}

impl Provider for EnvProvider {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        let answer = |key: &SecretKey| match (key.version, self.variables.get(&key.path)) {
            (None | Some(1), Some(found)) => Ok(found.clone()),
            _ => Err(Absent::Missing),
        };
        Box::pin(async move { Ok(Batch { answers: keys.iter().map(answer).collect(), as_of: 0 }) })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async { Ok(self.variables.keys().cloned().collect()) })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async { Ok(()) })
    }

    fn pulse(&self) -> Pulse {
        Pulse::Still(0)
    }

    fn unchanged<'a>(
        &'a self,
        _keys: &'a [SecretKey],
        since: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, ProviderError>> {
        Box::pin(async move { Ok(Some(since)) })
    }
}
