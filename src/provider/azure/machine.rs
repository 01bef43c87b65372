//! Who a machine is in Azure: a token of its managed identity, and where it stands, as its metadata service tells
//! them. That one is near, or it is not there; never asked through a proxy. Uses `net`.

use std::time::Duration;

use super::token::Token;
use crate::config::{Address, Tls, Transport};
use crate::net::{Client, Json, JsonError, Request, Response, Route};
use crate::provider::remote::of_machine;
use crate::provider::{ProviderError, refusal};

pub(in crate::provider) struct Machine(Client);

/// Where it stands: what a server may bind a role to.
#[cfg_attr(not(feature = "vault"), allow(dead_code, reason = "a login of Vault's wants it"))]
pub(in crate::provider) struct Instance {
    pub(in crate::provider) subscription: String,
    pub(in crate::provider) group: String,
    pub(in crate::provider) name: String,
    /// Of one that is part of a scale set.
    pub(in crate::provider) scale_set: Option<String>,
}

/// For each question.
const PATIENCE: Duration = Duration::from_secs(2);

impl Machine {
    pub(in crate::provider) fn new(address: Address) -> Self {
        Self(Client::new(Transport { address, tls: Tls::default() }, PATIENCE))
    }

    /// A token for this resource, of this identity if the machine has several.
    pub(in crate::provider) async fn token(
        &self,
        resource: &str,
        client_id: Option<&str>,
    ) -> Result<Token, ProviderError> {
        let ask = Request::get(Route::to("/metadata/identity/oauth2/token"))
            .query("api-version", "2018-02-01")
            .query("resource", resource);
        let ask = client_id.into_iter().fold(ask, |ask, id| ask.query("client_id", id));
        let answer = self.ask(ask, "a token").await?;
        Ok(Token::read(answer.json()?)?)
    }

    /// Whether a machine of Azure answers there, and not that of another cloud.
    #[cfg(feature = "azure")]
    pub(in crate::provider) async fn is_there(&self) -> bool {
        let ask = Request::get(Route::to("/metadata/instance")).query("api-version", "2017-12-01");
        match ask.header("metadata", "true") {
            Ok(ask) => self.0.send(ask).await.is_ok_and(|it| it.status() == 200),
            Err(_) => false,
        }
    }

    #[cfg(feature = "azure")]
    pub(in crate::provider) fn sweep(&self) {
        self.0.sweep();
    }

    #[cfg_attr(not(feature = "vault"), allow(dead_code, reason = "a login of Vault's wants it"))]
    pub(in crate::provider) async fn instance(&self) -> Result<Instance, ProviderError> {
        let ask = Request::get(Route::to("/metadata/instance")).query("api-version", "2017-12-01");
        let answer = self.ask(ask, "where it stands").await?;
        let compute = answer.json()?.at(&["compute"])?;
        let text = |name: &str| compute.at(&[name]).and_then(Json::text);
        let read = || -> Result<Instance, JsonError> {
            Ok(Instance {
                subscription: text("subscriptionId")?,
                group: text("resourceGroupName")?,
                name: text("name")?,
                scale_set: compute
                    .get("vmScaleSetName")?
                    .map(Json::text)
                    .transpose()?
                    .filter(|it| !it.is_empty()),
            })
        };
        Ok(read()?)
    }

    async fn ask(&self, ask: Request, what: &str) -> Result<Response, ProviderError> {
        let what = format!("the machine's metadata service does not tell {what}");
        let response = self.0.send(ask.header("metadata", "true")?).await;
        let response = response.map_err(|error| of_machine(&what, &error.into()))?;
        match response.status() {
            200 => Ok(response),
            429 => Err(refusal("the machine's metadata service", &response)),
            status => Err(ProviderError::Unavailable(format!("{what}: it answers with status {status}"))),
        }
    }
}
