//! One question to a Connect server, and what it means that it does not answer it: only what says so in Connect's own form
//! is its refusal. Uses `net`.

use std::time::Duration;

use crate::net::{Client, Json, Request, Response, Route};
use crate::provider::{OwnSecret, ProviderError, refusal};

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

impl From<ProviderError> for Refusal {
    fn from(error: ProviderError) -> Self {
        Self::Error(error)
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

    /// Those whose `name` is this. The form is SCIM's, in which quotes are escaped.
    pub(super) async fn get_where(
        &self,
        route: Route,
        name: &'static str,
        value: &str,
    ) -> Result<Response, Refusal> {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        self.ask(Request::get(route).query("filter", &format!("{name} eq \"{value}\""))).await
    }

    async fn ask(&self, request: Request) -> Result<Response, Refusal> {
        let token = self.token.read().await?;
        let request = request.secret("authorization", "Bearer ", &token).map_err(ProviderError::from)?;
        let response = self.client.send(request).await.map_err(ProviderError::from)?;
        let is_own = || response.json().is_ok_and(|it| it.at(&["status"]).and_then(Json::whole).is_ok());
        let says = |what: &str| self.says(what);
        Err(match response.status() {
            200 => return Ok(response),
            401 if is_own() => {
                ProviderError::Denied(says("refuses our token: it is void, or of another server (401)"))
                    .into()
            }
            403 if is_own() => Refusal::NoRight,
            404 if is_own() => Refusal::Gone,
            400 if is_own() => ProviderError::Invalid(says("does not understand the question (400)")).into(),
            401 | 403 => {
                let why = format!("is not what answers: something before it says {}", response.status());
                ProviderError::Unavailable(says(&why)).into()
            }
            _ => refusal(&self.who(), &response).into(),
        })
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

    pub(super) fn allow(&self, time: Duration) {
        self.client.allow(time);
    }
}
