//! A token for an application, from the authority where it is registered: by its secret, or by a statement on who we
//! are that somebody has signed. What is refused there is told in our own words. Uses `net`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::assertion;
use crate::config::AzureResource;
use crate::net::{Client, Json, Request, Response, Route};
use crate::provider::azure::Token;
use crate::provider::remote::wordless;
use crate::provider::{OwnSecret, ProviderError, refusal};
use crate::secret::SecretBytes;
use crate::sys::leftover;

/// An application, where it is registered, and what it is known by there.
pub(super) struct App {
    pub(super) authority: Client,
    pub(super) tenant: OwnSecret,
    pub(super) id: OwnSecret,
    pub(super) proof: Proof,
}

/// Read for each token: whoever wrote it writes it anew.
pub(super) enum Proof {
    Secret(OwnSecret),
    /// And its key.
    Certificate(OwnSecret),
    /// A token that another authority has signed.
    Federated(OwnSecret),
}

const KIND: &str = "application/x-www-form-urlencoded";
const ASSERTION: &str = "client_assertion";
const BY_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl App {
    pub(super) async fn token(&self, resource: &AzureResource) -> Result<Token, ProviderError> {
        let tenant = word(&self.tenant, "the tenant (`tenant_id`)").await?;
        let id = word(&self.id, "the application's id (`client_id`)").await?;
        let route = Route::to("").name(&tenant)?.then("/oauth2/v2.0/token");
        let (name, proof) = match &self.proof {
            Proof::Secret(secret) => ("client_secret", secret.read().await?),
            Proof::Federated(token) => (ASSERTION, token.read().await?),
            Proof::Certificate(pem) => (ASSERTION, self.signed(&pem.read().await?, &id, &route)?),
        };
        let scope = resource.scope();
        let mut plain = vec![("client_id", &*id), ("grant_type", "client_credentials"), ("scope", &*scope)];
        plain.extend((name == ASSERTION).then_some(("client_assertion_type", BY_ASSERTION)));
        let request = Request::post(route).repeatable().body(KIND, form(&plain, (name, &proof)));
        let response = self.authority.send(request).await?;
        match response.status() {
            200 => Ok(Token::read(response.json()?)?),
            _ => Err(refused(&self.authority.address().authority(), &response)),
        }
    }

    /// For the one endpoint where tokens are asked for.
    fn signed(&self, pem: &SecretBytes, id: &str, route: &Route) -> Result<SecretBytes, ProviderError> {
        let endpoint = format!("{}{}", self.authority.address(), route.as_str());
        leftover::wiped(|| assertion::signed(pem, id, &endpoint))
    }

    pub(super) fn name(&self) -> &'static str {
        match self.proof {
            Proof::Secret(_) => "an application, by its secret",
            Proof::Certificate(_) => "an application, by its certificate",
            Proof::Federated(_) => "a workload's identity",
        }
    }

    pub(super) fn sweep(&self) {
        self.authority.sweep();
    }
}

async fn word(source: &OwnSecret, what: &str) -> Result<String, ProviderError> {
    let text = source.read().await?;
    String::from_utf8(text.expose().to_vec())
        .map_err(|_| ProviderError::Invalid(format!("{what} is no text")))
}

/// In one piece, so that no smaller copy of the secret stays behind.
fn form(plain: &[(&str, &str)], (name, secret): (&str, &SecretBytes)) -> Vec<u8> {
    let pairs = plain.iter().map(|(name, value)| (*name, value.as_bytes()));
    let pairs: Vec<(&str, &[u8])> = pairs.chain([(name, secret.expose())]).collect();
    let most = pairs.iter().map(|(name, value)| 2 + name.len() + 3 * value.len()).sum();
    let mut body = Vec::with_capacity(most);
    for (name, value) in pairs {
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
        let code =
            answer.get("error_codes").ok()?.and_then(|codes| codes.items().ok()?.first()?.whole().ok());
        Some((answer.at(&["error"]).and_then(Json::text).ok()?, code))
    };
    let Some((error, code)) = told() else { return wordless(who, response) };
    let is_word = error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let error = if is_word { &*error } else { "an error" };
    let says = |what: &str| match code {
        Some(code) => format!("{who} {what} ({error}, AADSTS{code})"),
        None => format!("{who} {what} ({error})"),
    };
    match (error, response.status()) {
        (_, 429 | 500..) | ("temporarily_unavailable" | "server_error", _) => match refusal(who, response) {
            ProviderError::Invalid(_) => ProviderError::Unavailable(says("is not ready")),
            other => other,
        },
        _ if code == Some(OUT_OF_TIME) => ProviderError::Unavailable(says(
            "does not take the time of what we say for right: check the clock of this machine, and the age of its token",
        )),
        _ => ProviderError::Denied(says(code.map_or("refuses our login", in_words))),
    }
}

/// An assertion is too old, or not yet good.
const OUT_OF_TIME: u64 = 700_024;

/// What a code of Entra's means (AADSTS…).
fn in_words(code: u64) -> &'static str {
    match code {
        7_000_215 => "refuses the secret of the application: is it the secret's value, not its id?",
        7_000_222 => "refuses the secret of the application, which has expired",
        700_016 => "does not know the application in this tenant: check `client_id` and `tenant_id`",
        90_002 | 900_023 => "does not know the tenant: check `tenant_id`",
        70_021 | 700_213 | 700_211 => "knows no federated credential of the application that this token fits",
        700_027 => "refuses the signature: is this certificate one of the application's?",
        500_011 => "does not know for whom the token is to be: check `resource`",
        _ => "refuses our login",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_holds_what_stands_in_it_and_nothing_breaks_out() {
        let secret = SecretBytes::copy_of(b"a&b=c~\xff");
        let plain = [("client_id", "app"), ("scope", "https://vault.azure.net/.default")];
        let body = form(&plain, ("client_secret", &secret));
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            "client_id=app&scope=https%3A%2F%2Fvault.azure.net%2F.default&client_secret=a%26b%3Dc~%FF"
        );
        assert!(body.len() < body.capacity());
    }
}
