//! One question to a key vault, as who we are there: the first one finds out whom the token has to be for, and one that
//! is refused is had anew once. Uses `identity` and `login`.

use std::sync::{Arc, Mutex};

use super::challenge;
use super::identity::Identity;
use super::refusal::Refusal;
use crate::config::AzureResource;
use crate::net::{Client, Request, Response};
use crate::poison::EvenPoisoned;
use crate::provider::azure::Token;
use crate::provider::login::{Login, Pass};
use crate::provider::{ProviderError, Step};

pub(super) struct Session {
    client: Client,
    identity: Arc<Identity>,
    /// Whom tokens are for and nobody else, if the config says so.
    only: Option<AzureResource>,
    /// Whom a token has to be for, once the vault has said it.
    resource: Mutex<Option<AzureResource>>,
    login: Login<Token>,
}

impl Session {
    pub(super) fn new(client: Client, identity: Identity, only: Option<AzureResource>) -> Self {
        let (identity, resource, login) = (Arc::new(identity), Mutex::default(), Login::default());
        Self { client, identity, only, resource, login }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// `ask` makes the question, once for each try.
    pub(super) async fn ask(
        &self,
        ask: impl Fn() -> Result<Request, ProviderError>,
    ) -> Result<Response, Refusal> {
        let mut was_refused = false;
        loop {
            let token = self.token().await?;
            let request = match &token {
                Some(token) => ask()?.secret("authorization", "Bearer ", &token.secret)?,
                None => ask()?,
            };
            let response = self.client.send(request).await?;
            match response.status() {
                200 => return Ok(response),
                401 => self.challenged(&response, token.as_ref())?,
                _ => return Err(Refusal::of(&self.who(), &response)),
            }
            if token.is_some() && std::mem::replace(&mut was_refused, true) {
                return Err(self.not_taken().into());
            }
        }
    }

    fn not_taken(&self) -> ProviderError {
        let why = "does not take the token that we were given for it: is it of the vault's own tenant?";
        ProviderError::Denied(format!("{} {why}", self.who()))
    }

    /// A vault says whom a token has to be for, with each refusal.
    fn challenged(&self, response: &Response, token: Option<&Arc<Pass<Token>>>) -> Result<(), ProviderError> {
        let mut challenges = response.headers().filter(|(name, _)| *name == "www-authenticate");
        let Some(resource) = challenges.find_map(|(_, text)| challenge::wanted(text)) else {
            let why = "is not what answers: something before it says 401, and not whom a token is to be for";
            return Err(ProviderError::Unavailable(format!("{} {why}", self.who())));
        };
        self.may_have(&resource)?;
        let mut known = self.resource.lock().even_poisoned();
        match token {
            _ if known.as_ref() != Some(&resource) => self.login.clear(),
            Some(void) => self.login.refuse(void, || self.not_taken()),
            None => {}
        }
        *known = Some(resource);
        Ok(())
    }

    /// A token for another service is nothing that this host should have.
    fn may_have(&self, resource: &AzureResource) -> Result<(), ProviderError> {
        let why = match &self.only {
            Some(only) if only == resource => return Ok(()),
            None if resource.has(&self.client.address().host) => return Ok(()),
            Some(only) => format!("and `auth` says `resource: {only}`: it gets none"),
            None => {
                format!(
                    "to which it does not belong: it gets none. If it does, say `auth: {{resource: {resource}}}`"
                )
            }
        };
        Err(ProviderError::Untrusted(format!("{} wants a token for `{resource}`, {why}", self.who())))
    }

    /// `None` before anybody knows whom it has to be for.
    async fn token(&self) -> Result<Option<Arc<Pass<Token>>>, ProviderError> {
        let Some(resource) = self.resource.lock().even_poisoned().clone() else { return Ok(None) };
        let identity = self.identity.clone();
        let log_in = || async move {
            let token = identity.token(&resource).await?;
            let good_for = token.good_for;
            Ok((token, good_for))
        };
        self.login.pass(log_in).await.map(Some)
    }

    /// Who we are, for who sets it up.
    pub(super) async fn step(&self) -> Step {
        let start = std::time::Instant::now();
        let outcome = self.token().await.map(|_| self.identity.name().to_owned());
        Step::of("identity", start, outcome)
    }

    pub(super) fn sweep(&self) {
        self.client.sweep();
        self.identity.sweep();
    }

    pub(super) fn who(&self) -> String {
        self.client.address().authority()
    }
}
