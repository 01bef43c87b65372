//! Who a machine of Google's is: a token of its service account, as its metadata server tells it. That one is near, or
//! it is not there; never asked through a proxy. Uses `net`.

use std::time::Duration;

use super::grant::Granted;
use crate::config::{Address, Tls, Transport};
use crate::net::{Client, Json, NetErrorKind, Request, Route};
use crate::provider::ProviderError;
use crate::provider::remote::of_machine;

const WHAT: &str = "the machine's metadata server does not tell a token";
/// For the question.
const PATIENCE: Duration = Duration::from_secs(2);
/// What it says of itself, and wants to hear.
const FLAVOR: (&str, &str) = ("metadata-flavor", "Google");
const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// Which programs of Google's ask instead.
const VARIABLE: &str = "GCE_METADATA_HOST";
/// By its name, and without somebody who would have to resolve that.
const NAME: &str = "metadata.google.internal";
const HOST: &str = "169.254.169.254";

/// A token of the machine's usual service account. Without an address: from where Google's programs have it.
pub(super) async fn token(address: Option<Address>) -> Result<Granted, ProviderError> {
    let granted = async { granted(address.map_or_else(usual, Ok)?).await };
    granted.await.map_err(|error| of_machine(WHAT, &error))
}

fn usual() -> Result<Address, ProviderError> {
    let host = std::env::var(VARIABLE).ok().filter(|it| !it.is_empty() && it != NAME);
    let unfit = || ProviderError::Invalid(format!("{VARIABLE} is neither {NAME} nor on this machine"));
    Address::of_origin(&format!("http://{}", host.as_deref().unwrap_or(HOST))).ok_or_else(unfit)
}

async fn granted(address: Address) -> Result<Granted, ProviderError> {
    let ask = Request::get(Route::to(TOKEN)).header(FLAVOR.0, FLAVOR.1)?;
    let response = Client::new(Transport { address, tls: Tls::default() }, PATIENCE).send(ask).await?;
    let strange = |what: String| ProviderError::from(NetErrorKind::Protocol(what));
    if response.header(FLAVOR.0) != Some(FLAVOR.1) {
        return Err(strange("what answers there is not Google's".to_owned()));
    }
    match response.status() {
        200 => {}
        404 => return Err(strange("the machine has no service account".to_owned())),
        status => return Err(strange(format!("it answers with status {status}"))),
    }
    let answer = response.json()?;
    let token = answer.at(&["access_token"]).and_then(Json::secret)?;
    let life = answer.at(&["expires_in"]).and_then(Json::whole)?;
    Ok(Granted { token, life: Duration::from_secs(life) })
}
