//! One question to a Connect server, and what it means that it does not answer it: only what says so in Connect's own form
//! is its refusal. Uses `net`.

use crate::net::{Client, Json, Request, Response, Route};
use crate::provider::remote::wordless;
use crate::provider::{OwnSecret, ProviderError};

pub(super) struct Connect {
    client: Client,
    token: OwnSecret,
}

/// Why there is no answer.
pub(super) enum Refusal {
    Error(ProviderError),
    /// It is not there.
    Gone,
    /// The token has no right to it.
    NoRight,
}

const VAULTS: &str = "/v1/vaults";

/// One by its id.
pub(super) fn vault(id: &str) -> Result<Route, ProviderError> {
    Ok(Route::to(VAULTS).name(id)?)
}

impl<E: Into<ProviderError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Connect {
    pub(super) fn new(client: Client, token: OwnSecret) -> Self {
        Self { client, token }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) async fn get(&self, route: Route) -> Result<Response, Refusal> {
        self.ask(Request::get(route)).await
    }

    /// `None`: it is not there.
    pub(super) async fn find(&self, route: Route) -> Result<Option<Response>, ProviderError> {
        match self.get(route).await {
            Ok(response) => Ok(Some(response)),
            Err(Refusal::Gone) => Ok(None),
            Err(refusal) => Err(self.error(refusal)),
        }
    }

    /// All that our token has a right to.
    pub(super) async fn vaults(&self) -> Result<Response, ProviderError> {
        self.get(Route::to(VAULTS)).await.map_err(|refusal| self.error(refusal))
    }

    /// Those of this name. The form of the question is SCIM's, in which quotes are escaped.
    pub(super) async fn vaults_named(&self, name: &str) -> Result<Response, ProviderError> {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        let ask = Request::get(Route::to(VAULTS)).query("filter", &format!("name eq \"{name}\""));
        self.ask(ask).await.map_err(|refusal| self.error(refusal))
    }

    async fn ask(&self, request: Request) -> Result<Response, Refusal> {
        let token = self.token.read().await?;
        let response = self.client.send(request.secret("authorization", "Bearer ", &token)?).await?;
        let is_own = || response.json().is_ok_and(|it| it.at(&["status"]).and_then(Json::whole).is_ok());
        let error = match response.status() {
            200 => return Ok(response),
            403 if is_own() => return Err(Refusal::NoRight),
            404 if is_own() => return Err(Refusal::Gone),
            401 if is_own() => {
                ProviderError::Denied(self.says("refuses our token: it is void, or of another server (401)"))
            }
            400 if is_own() => ProviderError::Invalid(self.says("does not understand the question (400)")),
            _ => wordless(&self.who(), &response),
        };
        Err(error.into())
    }

    /// For who expects an answer and nothing else.
    pub(super) fn error(&self, refusal: Refusal) -> ProviderError {
        match refusal {
            Refusal::Error(error) => error,
            Refusal::Gone => ProviderError::Invalid(self.says("knows nothing of what it was asked (404)")),
            Refusal::NoRight => ProviderError::Denied(self.says("gives our token no right to this (403)")),
        }
    }

    pub(super) fn says(&self, what: &str) -> String {
        format!("{} {what}", self.who())
    }

    fn who(&self) -> String {
        self.client.address().authority()
    }
}
