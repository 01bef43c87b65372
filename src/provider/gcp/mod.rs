//! GCP's Secret Manager as a provider (`type: gcp-sm`). Uses `net`.

use std::sync::Arc;
use std::time::Duration;

use super::{Batch, BoxFuture, Provider, ProviderError};
use crate::config::GcpSecrets;
use crate::secret::{SecretBytes, SecretKey};

pub struct GcpProvider {
    settings: GcpSecrets,
}

impl GcpProvider {
    /// `store` is where its own secrets may be.
    pub fn new(
        settings: GcpSecrets,
        _timeout: Duration,
        _version_key: SecretBytes,
        _store: Option<Arc<dyn Provider>>,
    ) -> Self {
        Self { settings }
    }

    fn none<T>(&self) -> Result<T, ProviderError> {
        Err(ProviderError::Unavailable(format!("{:?} is not built yet", self.settings)))
    }
}

impl Provider for GcpProvider {
    fn fetch<'a>(&'a self, _keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(async { self.none() })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async { self.none() })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async { self.none() })
    }
}
