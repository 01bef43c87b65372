//! A provider that has nothing. Stands in for one that nobody has named in the config, so that
//! all else in a template can still be judged.

use super::{Batch, BoxFuture, Provider, ProviderError, Pulse};
use crate::secret::{Absent, SecretKey};

pub struct Nowhere;

impl Provider for Nowhere {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        let answers = keys.iter().map(|_| Err(Absent::Missing)).collect();
        Box::pin(async { Ok(Batch { answers, as_of: 0 }) })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async { Ok(Vec::new()) })
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
