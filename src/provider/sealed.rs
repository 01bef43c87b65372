//! Stands in for a store whose key is not there yet: it fails, and says what is missing.

use super::{AsOf, Batch, BoxFuture, Changes, Provider, ProviderError, Pulse};
use crate::secret::SecretKey;

pub struct Sealed {
    why: String,
}

impl Sealed {
    pub fn new(why: impl ToString) -> Self {
        Self { why: why.to_string() }
    }

    fn fail<T: Send + 'static>(&self) -> BoxFuture<'_, Result<T, ProviderError>> {
        let error = ProviderError::Sealed(self.why.clone());
        Box::pin(async { Err(error) })
    }
}

impl Provider for Sealed {
    fn fetch<'a>(&'a self, _keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        self.fail()
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        self.fail()
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        self.fail()
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }
}

impl Changes for Sealed {
    fn pulse(&self) -> Pulse {
        Pulse::Moving
    }

    fn unchanged<'a>(
        &'a self,
        _keys: &'a [SecretKey],
        _since: u64,
    ) -> BoxFuture<'a, Result<Option<AsOf>, ProviderError>> {
        self.fail()
    }
}
