//! A managed identity of the platform that runs us (App Service, Functions, Container Apps): at the address that it
//! tells its programs, with the header that it wants to see. Uses `net`.

use crate::config::AzureResource;
use crate::net::{Client, Request, Route};
use crate::provider::azure::Token;
use crate::provider::remote::of_machine;
use crate::provider::{OwnSecret, ProviderError, refusal};

pub(super) struct Platform {
    pub(super) client: Client,
    pub(super) header: OwnSecret,
    /// Which of its identities, if it has several.
    pub(super) id: Option<String>,
}

const WHAT: &str = "the platform gives no token of a managed identity";

impl Platform {
    pub(super) async fn token(&self, resource: &AzureResource) -> Result<Token, ProviderError> {
        let ask = Request::get(Route::to("")).query("api-version", "2019-08-01");
        let ask = ask.query("resource", &resource.to_string());
        let ask = self.id.iter().fold(ask, |ask, id| ask.query("client_id", id));
        let ask = ask.secret("x-identity-header", "", &self.header.read().await?)?;
        let response = self.client.send(ask).await.map_err(|error| of_machine(WHAT, &error.into()))?;
        match response.status() {
            200 => Ok(Token::read(response.json()?)?),
            status @ (400 | 401 | 403) => Err(ProviderError::Denied(format!(
                "{WHAT} (status {status}): is one assigned, and is `client_id` its client's id?"
            ))),
            429 => Err(refusal("the platform's endpoint of identities", &response)),
            status => Err(ProviderError::Unavailable(format!("{WHAT}: it answers with status {status}"))),
        }
    }
}
