//! A token for an application, from the authority where it is registered: by its secret, or by a statement on who we
//! are that somebody has signed. What is refused there is told in our own words. Uses `net`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::assertion;
use super::challenge::Resource;
use crate::net::{Client, Json, Request, Response, Route};
use crate::provider::azure::Token;
use crate::provider::{OwnSecret, ProviderError, refusal};
use crate::secret::SecretBytes;
use crate::sys::leftover;

/// An application, and where it is registered.
pub(super) struct App {
    authority: Client,
    tenant: OwnSecret,
    id: OwnSecret,
}

/// By what it is known.
pub(super) enum Proof {
    Secret(SecretBytes),
    Assertion(SecretBytes),
}

const KIND: &str = "application/x-www-form-urlencoded";
const BY_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl App {
    pub(super) fn new(authority: Client, tenant: OwnSecret, id: OwnSecret) -> Self {
        Self { authority, tenant, id }
    }

    /// Where tokens are asked for: also whom an assertion is for.
    pub(super) async fn endpoint(&self) -> Result<Route, ProviderError> {
        let tenant = word(&self.tenant, "the tenant (`tenant_id`)").await?;
        Ok(Route::to("").name(&tenant)?.then("/oauth2/v2.0/token"))
    }

    /// Signed with what is in here, the certificate and its key.
    pub(super) async fn assertion(&self, pem: &SecretBytes) -> Result<Proof, ProviderError> {
        let endpoint = format!("{}{}", self.authority.address(), self.endpoint().await?.as_str());
        let id = self.id().await?;
        leftover::wiped(|| assertion::signed(pem, &id, &endpoint)).map(Proof::Assertion)
    }

    pub(super) async fn token(&self, resource: &Resource, proof: Proof) -> Result<Token, ProviderError> {
        let body = form(&self.id().await?, &resource.scope(), &proof);
        let request = Request::post(self.endpoint().await?).repeatable().body(KIND, body);
        let response = self.authority.send(request).await?;
        match response.status() {
            200 => Ok(Token::read(response.json()?)?),
            _ => Err(refused(&self.authority.address().authority(), &response)),
        }
    }

    async fn id(&self) -> Result<String, ProviderError> {
        word(&self.id, "the application's id (`client_id`)").await
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

/// In one piece, so that no smaller copy stays behind.
fn form(client: &str, scope: &str, proof: &Proof) -> Vec<u8> {
    let (words, secret): (&[(&str, &str)], _) = match proof {
        Proof::Secret(secret) => (&[], ("client_secret", secret)),
        Proof::Assertion(jwt) => (&[("client_assertion_type", BY_ASSERTION)], ("client_assertion", jwt)),
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
        let code =
            answer.get("error_codes").ok()?.and_then(|codes| codes.items().ok()?.first()?.whole().ok());
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
        let body = form("app", "https://vault.azure.net/.default", &secret);
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            "client_id=app&grant_type=client_credentials&scope=https%3A%2F%2Fvault.azure.net%2F.default\
             &client_secret=a%26b%3Dc~%FF"
        );
        assert!(body.len() < body.capacity());
    }
}
