//! A HashiCorp Vault or an OpenBao as a provider (`type: vault`). Uses `net`.

use std::sync::Arc;
use std::time::Duration;

use super::{AsOf, Batch, BoxFuture, Provider, ProviderError, Pulse};
use crate::config::Vault;
use crate::net::Client;
use crate::secret::SecretKey;

pub struct VaultProvider {
    client: Client,
}

impl VaultProvider {
    /// `store` is where its own secrets may be.
    pub fn new(settings: Vault, timeout: Duration, _store: Option<Arc<dyn Provider>>) -> Self {
        Self { client: Client::new(settings.transport, timeout) }
    }
}

impl Provider for VaultProvider {
    fn fetch<'a>(&'a self, _keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(async { Err(ProviderError::Unavailable("not built".to_owned())) })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async { Err(ProviderError::Unavailable("not built".to_owned())) })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async { Err(ProviderError::Unavailable("not built".to_owned())) })
    }

    /// Nothing is known without asking.
    fn pulse(&self) -> Pulse {
        Pulse::Moving
    }

    fn sweep(&self) {
        self.client.sweep();
    }

    fn unchanged<'a>(
        &'a self,
        _keys: &'a [SecretKey],
        _since: u64,
    ) -> BoxFuture<'a, Result<Option<AsOf>, ProviderError>> {
        Box::pin(async { Ok(None) })
    }
}
