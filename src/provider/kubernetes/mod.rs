//! Secrets and ConfigMaps of Kubernetes as a provider (`type: kubernetes`). Uses `net`.

use std::sync::Arc;
use std::time::Duration;

use super::{Batch, BoxFuture, Provider, ProviderError};
use crate::config::Kubernetes;
use crate::secret::{SecretBytes, SecretKey};

pub struct KubernetesProvider {
    settings: Kubernetes,
}

impl KubernetesProvider {
    /// `store` is where its own secrets may be.
    pub fn new(
        settings: Kubernetes,
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

impl Provider for KubernetesProvider {
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
