//! A token for an application, from the authority where it is registered: by its secret, or by a statement on who we
//! are that somebody has signed. What is refused there is told in our own words. Uses `net`.

use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::challenge::Resource;
use crate::config::{Address, AzureApp, Tls, Transport};
use crate::net::{Client, Json, Request, Response, Route};
use crate::provider::azure::Token;
use crate::provider::{OwnSecret, Provider, ProviderError, refusal};
use crate::secret::SecretBytes;

/// An application, and where it is registered.
pub(super) struct App {
    tenant: OwnSecret,
    client: OwnSecret,
    /// `None`: that of the environment, else the usual one.
    authority: Option<Address>,
    tls: Tls,
    timeout: Duration,
    /// Whom was asked last: an authority is found once.
    asked: Mutex<Option<(Address, Arc<Client>)>>,
}

/// By what it is known.
pub(super) enum Proof {
    Secret(SecretBytes),
    Assertion(SecretBytes),
}

const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
const USUAL: &str = "https://login.microsoftonline.com";
const KIND: &str = "application/x-www-form-urlencoded";
const BY_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl App {
    /// `tls` says whom to believe beside the system's authorities.
    pub(super) fn new(app: AzureApp, tls: Tls, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Self {
        let AzureApp { tenant, client, authority } = app;
        let (tenant, client) = (OwnSecret::of_text(tenant, store.clone()), OwnSecret::of_text(client, store));
        Self { tenant, client, authority, tls, timeout, asked: Mutex::default() }
    }

    pub(super) async fn client_id(&self) -> Result<String, ProviderError> {
        word(&self.client, "the application's id (`client_id`)").await
    }

    /// Where tokens are asked for: also whom an assertion is for.
    pub(super) async fn endpoint(&self) -> Result<(Arc<Client>, Route), ProviderError> {
        let tenant = word(&self.tenant, "the tenant (`tenant_id`)").await?;
        let address = match &self.authority {
            Some(address) => address.clone(),
            None => of_environment()?,
        };
        let mut asked = self.asked.lock().await;
        let known = asked.as_ref().filter(|(known, _)| *known == address).map(|(_, client)| client.clone());
        let client = known.unwrap_or_else(|| {
            let transport = Transport { address: address.clone(), tls: self.tls.clone() };
            Arc::new(Client::new(transport, self.timeout))
        });
        *asked = Some((address, client.clone()));
        Ok((client, Route::to("").name(&tenant)?.then("/oauth2/v2.0/token")))
    }

    pub(super) async fn token(&self, resource: &Resource, proof: Proof) -> Result<Token, ProviderError> {
        let (client, route) = self.endpoint().await?;
        let body = form(&self.client_id().await?, &resource.scope(), &proof);
        let request = Request::post(route).repeatable().body(KIND, body);
        let response = client.send(request).await?;
        match response.status() {
            200 => Ok(Token::read(response.json()?)?),
            _ => Err(refused(&client.address().authority(), &response)),
        }
    }

    pub(super) async fn sweep(&self) {
        if let Some((_, client)) = &*self.asked.lock().await {
            client.sweep();
        }
    }
}

async fn word(source: &OwnSecret, what: &str) -> Result<String, ProviderError> {
    let text = source.read().await?;
    String::from_utf8(text.expose().to_vec())
        .map_err(|_| ProviderError::Invalid(format!("{what} is no text")))
}

fn of_environment() -> Result<Address, ProviderError> {
    let given = std::env::var(AUTHORITY).ok().filter(|text| !text.is_empty());
    let given = given.map(|text| if text.contains("://") { text } else { format!("https://{text}") });
    Address::parse(given.as_deref().unwrap_or(USUAL))
        .map_err(|why| ProviderError::Invalid(format!("{AUTHORITY}: {why}")))
}

/// In one piece, so that no smaller copy stays behind.
fn form(client: &str, scope: &str, proof: &Proof) -> Vec<u8> {
    let (words, secret): (&[(&str, &str)], _) = match proof {
        Proof::Secret(secret) => (&[], ("client_secret", secret)),
        Proof::Assertion(jwt) => {
            (&[("client_assertion_type", BY_ASSERTION)], ("client_assertion", jwt))
        }
    };
    let plain = [("client_id", client), ("grant_type", "client_credentials"), ("scope", scope)];
    let mut body = Vec::with_capacity(512 + 3 * (client.len() + scope.len() + secret.1.len()));
    let pairs = plain.iter().chain(words).map(|(name, value)| (*name, value.as_bytes()));
    for (name, value) in pairs.chain([(secret.0, secret.1.expose())]) {
        if !body.is_empty() {
            body.push(b'&');
        }
        body.extend_from_slice(name.as_bytes());
        body.push(b'=');
        percent_encode(value, ENCODED).for_each(|part| body.extend_from_slice(part.as_bytes()));
    }
    body
}

/// Its own description may say more than it should: only its code is told.
fn refused(who: &str, response: &Response) -> ProviderError {
    let told = || -> Option<(String, Option<u64>)> {
        let answer = response.json().ok()?;
        let code = answer.get("error_codes").ok()?.and_then(|codes| codes.items().ok()?.first()?.whole().ok());
        Some((answer.at(&["error"]).and_then(Json::text).ok()?, code))
    };
    let Some((error, code)) = told() else { return refusal(who, response) };
    let known = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let error = if known(&error) { error } else { "an error".to_owned() };
    let code = code.map(|code| format!(", AADSTS{code}")).unwrap_or_default();
    let says = |what: &str| format!("{who} {what} ({error}{code})");
    match (&*error, response.status()) {
        (_, 429 | 500..) | ("temporarily_unavailable" | "server_error", _) => match refusal(who, response) {
            ProviderError::Invalid(_) => ProviderError::Unavailable(says("is not ready")),
            other => other,
        },
        _ => ProviderError::Denied(says(match code_of(&code) {
            7_000_215 => "refuses the secret of the application: is it the secret's value, not its id?",
            7_000_222 => "refuses the secret of the application, which has expired",
            700_016 => "does not know the application in this tenant: check `client_id` and `tenant_id`",
            90_002 | 900_023 => "does not know the tenant: check `tenant_id`",
            70_021 | 700_213 | 700_211 => {
                "knows no federated credential of the application that this token fits"
            }
            700_027 => "refuses the signature: is this certificate one of the application's?",
            _ => "refuses our login",
        })),
    }
}

fn code_of(text: &str) -> u64 {
    text.trim_start_matches(", AADSTS").parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_holds_what_stands_in_it_and_nothing_breaks_out() {
        let secret = Proof::Secret(SecretBytes::copy_of(b"a&b=c~\xff"));
        let body = Zeroizing::new(form("app", "https://vault.azure.net/.default", &secret));
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            "client_id=app&grant_type=client_credentials&scope=https%3A%2F%2Fvault.azure.net%2F.default\
             &client_secret=a%26b%3Dc~%FF"
        );
        assert!(body.len() < body.capacity());
    }
}
