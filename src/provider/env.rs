//! The environment of this process as a provider, for development (`secrets: {from: env}`).
//! Uses std. Nobody writes this process's environment once it has threads, so it never changes.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Batch, BoxFuture, Provider, ProviderError, Pulse};
use crate::secret::{Absent, Answer, FieldName, SecretBytes, SecretKey, SecretVersion};

pub struct EnvProvider {
    /// When the process began.
    since: Timestamp,
}

impl EnvProvider {
    pub fn new(since: Timestamp) -> Self {
        Self { since }
    }

    /// The variable, copied only when somebody asks for it. What can be no name is none.
    fn answer(&self, key: &SecretKey) -> Answer {
        let can_be = matches!(key.version, None | Some(1)) && !key.path.contains(['=', '\0']);
        let value = can_be.then(|| std::env::var_os(&key.path)).flatten().ok_or(Absent::Missing)?;
        Ok(Arc::new(SecretVersion {
            fields: BTreeMap::from([(FieldName::value(), SecretBytes::new(value.into_vec()))]),
            version: 1,
            created_at: self.since,
            updated_at: self.since,
            expires_at: None,
        }))
    }
}

impl Provider for EnvProvider {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        let answers = keys.iter().map(|key| self.answer(key)).collect();
        Box::pin(async move { Ok(Batch { answers, as_of: 0 }) })
    }

    /// Names that are not text cannot be named in a template and are left out.
    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        Box::pin(async { Ok(names) })
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
