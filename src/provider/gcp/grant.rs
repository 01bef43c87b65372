//! Makes tokens of credentials: signs one, or has it granted by Google's token servers. Those are asked over TLS, and
//! their refusals are known by their words (`error`). Uses `net`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::json;
use zeroize::Zeroizing;

use super::credentials::{Client as Login, External, Kind, Place, Subject};
use super::jwt;
use crate::config::{SecretSource, Tls, Transport};
use crate::net::{Client, Json, Request, Response};
use crate::provider::remote::wordless;
use crate::provider::{BoxFuture, OwnSecret, ProviderError, refusal};
use crate::secret::SecretBytes;

/// How the servers of tokens are reached.
pub(super) struct Grantor {
    /// The authorities of the config: nothing else of it is about these servers.
    pub(super) tls: Tls,
}

pub(super) struct Granted {
    pub(super) token: SecretBytes,
    pub(super) life: Duration,
}

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

impl Grantor {
    pub(super) fn granted<'a>(
        &'a self,
        kind: &'a Kind,
        patience: Duration,
    ) -> BoxFuture<'a, Result<Granted, ProviderError>> {
        Box::pin(async move {
            match kind {
                Kind::Key { email, id, key } => {
                    let token = jwt::signed(email, id, key, SCOPE, Timestamp::now());
                    let token =
                        token.map_err(|error| denied(&format!("the `private_key` of {email} is {error}")))?;
                    Ok(Granted { token, life: Duration::from_secs(jwt::LIFE.unsigned_abs()) })
                }
                Kind::User { client, refresh_token, token_url } => {
                    let form: [(&str, &[u8]); 4] = [
                        ("grant_type", b"refresh_token"),
                        ("client_id", client.id.as_bytes()),
                        ("client_secret", client.secret.expose()),
                        ("refresh_token", refresh_token.expose()),
                    ];
                    self.ask_for_token(token_url, &form, None, patience).await
                }
                Kind::External(external) => self.exchanged(external, patience).await,
                Kind::Impersonated { url, delegates, by } => {
                    let granted = self.granted(by, patience).await?;
                    self.impersonated(url, delegates, &granted.token, patience).await
                }
            }
        })
    }

    /// Another authority's token for one of Google's.
    async fn exchanged(&self, external: &External, patience: Duration) -> Result<Granted, ProviderError> {
        let subject = self.subject(external, patience).await?;
        let mut form = vec![
            ("grant_type", EXCHANGE.as_bytes()),
            ("audience", external.audience.as_bytes()),
            ("scope", SCOPE.as_bytes()),
            ("requested_token_type", ACCESS_TOKEN.as_bytes()),
            ("subject_token_type", external.token_type.as_bytes()),
            ("subject_token", subject.expose()),
        ];
        // A client has a project of its own.
        let project = external.user_project.as_ref().filter(|_| external.client.is_none());
        let options = project.map(|project| json!({ "userProject": project }).to_string());
        form.extend(options.iter().map(|it| ("options", it.as_bytes())));
        self.ask_for_token(&external.token_url, &form, external.client.as_ref(), patience).await
    }

    /// The other authority's token, as it is now.
    async fn subject(&self, external: &External, patience: Duration) -> Result<SecretBytes, ProviderError> {
        let text = match &external.subject {
            Subject::File(path) => OwnSecret::new(SecretSource::File(path.into()), None).read().await?,
            Subject::Url { place, headers } => {
                let ask = headers.iter().try_fold(Request::get(place.route.clone()), |ask, (name, value)| {
                    ask.secret(name, "", value)
                });
                let response = self.client(place, patience).send(ask?).await?;
                match response.status() {
                    200 => SecretBytes::copy_of(response.body().expose()),
                    // It has no words that are known: whether it means us cannot be told.
                    status @ (401 | 403) => {
                        let why = format!("{} gives no token ({status}): check its `headers`", who(place));
                        return Err(ProviderError::Unavailable(why));
                    }
                    _ => return Err(refusal(&who(place), &response)),
                }
            }
        };
        let Some(member) = &external.member else { return Ok(text) };
        let found = Json::read(text.expose()).and_then(|json| json.at(&[member])?.secret());
        // It may just be written anew.
        found.map_err(|_| {
            let why = format!("what has the token to be exchanged has no text `{member}` in JSON");
            ProviderError::Unavailable(why)
        })
    }

    /// A token of the service account whose part the owner of this one may play.
    async fn impersonated(
        &self,
        url: &Place,
        delegates: &[String],
        token: &SecretBytes,
        patience: Duration,
    ) -> Result<Granted, ProviderError> {
        let body = json!({"scope": [SCOPE], "delegates": delegates, "lifetime": "3600s"});
        let ask = Request::post(url.route.clone()).repeatable().json(body.to_string().into_bytes());
        let response =
            self.client(url, patience).send(ask.secret("authorization", "Bearer ", token)?).await?;
        if !response.is_success() {
            return Err(not_granted(url, &response));
        }
        let answer = response.json()?;
        let end = answer.at(&["expireTime"])?.text()?.parse::<Timestamp>();
        let end = end.map_err(|_| ProviderError::Invalid(format!("{} gives no `expireTime`", who(url))))?;
        let life = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
        Ok(Granted { token: answer.at(&["accessToken"])?.secret()?, life })
    }

    async fn ask_for_token(
        &self,
        url: &Place,
        form: &[(&str, &[u8])],
        client: Option<&Login>,
        patience: Duration,
    ) -> Result<Granted, ProviderError> {
        let ask = Request::post(url.route.clone()).repeatable().form(form);
        let ask = match client {
            Some(client) => ask.secret("authorization", "Basic ", &basic(client))?,
            None => ask,
        };
        let response = self.client(url, patience).send(ask).await?;
        if !response.is_success() {
            return Err(not_granted(url, &response));
        }
        let answer = response.json()?;
        let life = answer.at(&["expires_in"])?.whole()?;
        Ok(Granted { token: answer.at(&["access_token"])?.secret()?, life: Duration::from_secs(life) })
    }

    fn client(&self, place: &Place, patience: Duration) -> Client {
        let tls = if place.address.is_tls { self.tls.clone() } else { Tls::default() };
        Client::new(Transport { address: place.address.clone(), tls }, patience)
    }
}

fn basic(client: &Login) -> SecretBytes {
    let pair = Zeroizing::new([client.id.as_bytes(), b":", client.secret.expose()].concat());
    SecretBytes::new(STANDARD.encode(&pair).into_bytes())
}

/// Who does not grant it. Its own words are one of a few, or are not told.
fn not_granted(url: &Place, response: &Response) -> ProviderError {
    let error = response.json().ok().and_then(|it| it.at(&["error"]).ok());
    let word = error.and_then(|it| it.text().or_else(|_| it.at(&["status"])?.text()).ok());
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match word.filter(|it| it.len() < 64 && it.bytes().all(is_fit)) {
        Some(word) if (400..500).contains(&response.status()) && response.status() != 429 => {
            denied(&format!("{} refuses our credentials ({word})", who(url)))
        }
        Some(_) => refusal(&who(url), response),
        None => wordless(&who(url), response),
    }
}

fn denied(why: &str) -> ProviderError {
    ProviderError::Denied(why.to_owned())
}

fn who(place: &Place) -> String {
    place.address.authority()
}
