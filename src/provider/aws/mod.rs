//! Secrets of AWS: Secrets Manager (`secrets`) and the parameters of Systems Manager (`parameters`), and what AWS wants
//! of who asks it: keys (`keys`, `chain`), and a signature made with them (`sign`). Uses `net`, own secrets and AWS' libraries.

mod api;
mod chain;
mod codes;
mod http;
mod keys;
mod names;
mod parameters;
mod profile;
mod secrets;
mod sign;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

#[cfg(feature = "vault")]
pub(super) use self::{
    api::host_of,
    keys::KeySource,
    sign::{Scope, ToSign},
};
use super::{Provider, ProviderError};
use crate::config::{AwsSecrets, AwsService};
use crate::net::{Json, JsonError};

/// `store` is where its own secrets may be.
pub fn aws(settings: AwsSecrets, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Arc<dyn Provider> {
    match settings.service {
        AwsService::SecretsManager => Arc::new(secrets::SecretsManager::new(settings, timeout, store)),
        AwsService::Parameters => Arc::new(parameters::Parameters::new(settings, timeout, store)),
    }
}

/// A time as AWS writes it: seconds, with a fraction.
fn time_of(json: Json<'_>) -> Result<Timestamp, ProviderError> {
    let text = json.value();
    let seconds = std::str::from_utf8(text.expose()).ok().and_then(|text| text.parse::<f64>().ok());
    let time = seconds.and_then(|seconds| Timestamp::from_microsecond((seconds * 1e6) as i64).ok());
    Ok(time.ok_or(JsonError::Other { expected: "a time" })?)
}
