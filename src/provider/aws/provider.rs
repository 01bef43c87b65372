//! Secrets Manager and the parameters of AWS as providers (`type: aws-sm`, `aws-ssm`). Uses `net`.

use std::sync::Arc;
use std::time::Duration;

use crate::config::AwsSecrets;
use crate::provider::{Batch, BoxFuture, Provider, ProviderError};
use crate::secret::{SecretBytes, SecretKey};

pub struct AwsProvider {
    settings: AwsSecrets,
}

impl AwsProvider {
    /// `store` is where its own secrets may be.
    pub fn new(
        settings: AwsSecrets,
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

impl Provider for AwsProvider {
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
