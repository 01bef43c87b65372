//! One question to a key vault, as who we are there: the first one finds out whom the token has to be for. The token is
//! had once however many ask, renewed before its end, and had anew once when it is refused. Uses `identity`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::challenge::Resource;
use super::identity::Identity;
use super::refusal::Refusal;
use crate::net::{Client, Request, Response};
use crate::provider::azure::Token;
use crate::provider::{ProviderError, Step};
use crate::sys::uptime::Uptime;

pub(super) struct Session {
    client: Client,
    identity: Identity,
    /// Whether whom the token is for is held against the vault's own host.
    verifies: bool,
    /// Held while somebody gets a token: the others need the same.
    login: Mutex<Login>,
}

#[derive(Default)]
struct Login {
    resource: Option<Resource>,
    token: Option<Arc<Token>>,
    /// Who is refused is not asked for again by each who waits.
    refused: Option<(Uptime, ProviderError)>,
}

const PAUSE: Duration = Duration::from_secs(1);

impl Session {
    pub(super) fn new(client: Client, identity: Identity, verifies: bool) -> Self {
        Self { client, identity, verifies, login: Mutex::default() }
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
                Some(token) => ask()?.secret("authorization", "Bearer ", &token.secret),
                None => Ok(ask()?),
            };
            let response = self.client.send(request.map_err(ProviderError::from)?).await;
            let response = response.map_err(ProviderError::from)?;
            match response.status() {
                200 => return Ok(response),
                401 => self.challenged(&response, token.as_ref()).await?,
                _ => return Err(Refusal::of(&self.who(), &response)),
            }
            if token.is_some() && std::mem::replace(&mut was_refused, true) {
                let why =
                    "does not take the token that we were given for it: is it of the vault's own tenant?";
                return Err(ProviderError::Denied(format!("{} {why}", self.who())).into());
            }
        }
    }

    /// A vault says whom a token has to be for, with each refusal.
    async fn challenged(&self, response: &Response, token: Option<&Arc<Token>>) -> Result<(), ProviderError> {
        let Some(resource) = response.header("www-authenticate").and_then(Resource::of_header) else {
            let why = "is not what answers: something before it says 401, and not whom a token is to be for";
            return Err(ProviderError::Unavailable(format!("{} {why}", self.who())));
        };
        let host = &self.client.address().host;
        if self.verifies && !resource.fits(host) {
            return Err(ProviderError::Untrusted(format!(
                "{} wants a token for `{}`, to which it does not belong: it gets none. If it does belong to it, say \
                 `verify_challenge: false`",
                self.who(),
                resource.as_str()
            )));
        }
        let mut login = self.login.lock().await;
        let is_void = |held: &Arc<Token>| token.is_some_and(|void| Arc::ptr_eq(held, void));
        if login.resource.as_ref() != Some(&resource) || login.token.as_ref().is_some_and(is_void) {
            login.token = None;
        }
        login.resource = Some(resource);
        Ok(())
    }

    /// `None` before anybody knows whom it has to be for.
    async fn token(&self) -> Result<Option<Arc<Token>>, ProviderError> {
        let mut login = self.login.lock().await;
        let Some(resource) = login.resource.clone() else { return Ok(None) };
        let held = login.token.clone().filter(|token| !token.has_ended());
        if let Some(token) = held.as_ref().filter(|token| !token.ends_soon()) {
            return Ok(Some(token.clone()));
        }
        let recent = login.refused.as_ref().filter(|(at, _)| Uptime::now().since(*at) < PAUSE);
        let had = match recent {
            Some((_, why)) => Err(why.clone()),
            None => self.identity.token(&resource).await,
        };
        match (had, held) {
            (Ok(token), _) => login.token = Some(Arc::new(token)),
            // It is good for some minutes still.
            (Err(_), Some(held)) => return Ok(Some(held)),
            (Err(why), None) => {
                if recent.is_none() && matches!(why, ProviderError::Denied(_)) {
                    login.refused = Some((Uptime::now(), why.clone()));
                }
                return Err(why);
            }
        }
        Ok(login.token.clone())
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
