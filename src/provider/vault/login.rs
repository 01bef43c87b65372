//! How a token is had: the methods of login, each as one question, and a wrapped secret id, which is unwrapped once
//! and never tried twice. Uses `api` and own secrets.

use std::sync::Arc;

use super::api::{Api, Ask, Member, json, odd, unfit};
#[cfg(feature = "aws")]
use super::aws::Aws;
use super::cloud::Azure;
use super::refusal::{short, words};
use crate::config::{Login, SecretSource};
use crate::net::{Json, JsonError, Response, Route};
use crate::provider::{OwnSecret, Provider, ProviderError};
use crate::secret::SecretBytes;

pub(super) struct Door {
    method: Method,
    /// Where the method is enabled.
    mount: String,
}

enum Method {
    Token(OwnSecret),
    AppRole {
        role_id: OwnSecret,
        secret_id: OwnSecret,
        wrapping: Option<tokio::sync::Mutex<Option<Unwrapped>>>,
    },
    Jwt {
        role: String,
        jwt: OwnSecret,
    },
    UserPass {
        username: String,
        password: OwnSecret,
    },
    Cert {
        role: Option<String>,
    },
    #[cfg(feature = "aws")]
    Aws(Box<Aws>),
    Azure(Box<Azure>),
}

/// A wrapping token is good for one use: what it held is kept as long as we run.
struct Unwrapped {
    wrapping: SecretBytes,
    held: SecretBytes,
}

/// What a login gives.
pub(super) struct Granted {
    pub(super) token: SecretBytes,
    /// In seconds; 0: for ever.
    pub(super) ttl: u64,
    pub(super) is_renewable: bool,
    /// It is not for any number of questions.
    pub(super) is_counted: bool,
}

impl Door {
    /// `store` is where our own secrets may be.
    pub(super) fn new(login: Login, mount: String, store: Option<Arc<dyn Provider>>) -> Self {
        let own = |source: SecretSource| OwnSecret::new(source, store.clone());
        let method = match login {
            Login::Token(source) => Method::Token(own(source)),
            Login::AppRole { role_id, secret_id, is_wrapped } => Method::AppRole {
                role_id: OwnSecret::of_text(role_id, store.clone()),
                secret_id: own(secret_id),
                wrapping: is_wrapped.then(Default::default),
            },
            Login::Jwt { role, jwt } => Method::Jwt { role, jwt: own(jwt) },
            Login::UserPass { username, password } => Method::UserPass { username, password: own(password) },
            Login::Cert { role } => Method::Cert { role },
            #[cfg(feature = "aws")]
            Login::Aws(aws) => Method::Aws(Box::new(Aws::new(*aws, store.clone()))),
            #[cfg(not(feature = "aws"))]
            Login::Aws(_) => unreachable!("the config refuses what is not built"),
            Login::Azure(azure) => Method::Azure(Box::new(Azure::new(*azure))),
        };
        Self { method, mount }
    }

    /// The token that somebody has given us, as it is now, if that is how we log in.
    pub(super) async fn given(&self) -> Option<Result<SecretBytes, ProviderError>> {
        match &self.method {
            Method::Token(own) => Some(own.read().await),
            _ => None,
        }
    }

    pub(super) fn is_given(&self) -> bool {
        matches!(self.method, Method::Token(_))
    }

    /// As people know it.
    pub(super) fn name(&self) -> String {
        format!("the login at auth/{}", self.mount)
    }

    /// With the credentials as they are now.
    pub(super) async fn ask(&self, api: &Api) -> Result<Ask, ProviderError> {
        let route = Route::to("/v1/auth").names(&self.mount).map_err(unfit)?.then("/login");
        let ask = |route| Ask::put(route);
        Ok(match &self.method {
            Method::Token(_) => unreachable!("a token that is given needs no login"),
            Method::AppRole { role_id, secret_id, wrapping } => {
                let secret_id = match wrapping {
                    None => secret_id.read().await?,
                    Some(kept) => unwrapped(api, secret_id.read().await?, kept).await?,
                };
                ask(route)
                    .with("role_id", Member::Secret(role_id.read().await?))
                    .with("secret_id", Member::Secret(secret_id))
            }
            Method::Jwt { role, jwt } => ask(route)
                .with("role", Member::Text(role.clone()))
                .with("jwt", Member::Secret(jwt.read().await?)),
            Method::UserPass { username, password } => {
                let route = route.name(username).map_err(unfit)?;
                ask(route).with("password", Member::Secret(password.read().await?))
            }
            Method::Cert { role: Some(role) } => ask(route).with("name", Member::Text(role.clone())),
            Method::Cert { role: None } => ask(route),
            #[cfg(feature = "aws")]
            Method::Aws(aws) => aws.ask(route).await?,
            Method::Azure(azure) => azure.ask(route).await?,
        })
    }
}

impl Granted {
    /// From the answer to a login or to a renewal.
    pub(super) fn read(answer: Json<'_>) -> Result<Self, ProviderError> {
        let read = || -> Result<Self, JsonError> {
            let auth = answer.at(&["auth"])?;
            Ok(Self {
                token: auth.at(&["client_token"])?.secret()?,
                ttl: auth.at(&["lease_duration"])?.whole()?,
                is_renewable: auth.at(&["renewable"])?.flag()?,
                is_counted: auth.get("num_uses")?.is_some_and(|uses| uses.whole().is_ok_and(|uses| uses > 0)),
            })
        };
        read().map_err(odd)
    }

    /// Of a token that somebody has given us, from its own place.
    pub(super) fn looked_up(token: SecretBytes, answer: Json<'_>) -> Result<(Self, u64), ProviderError> {
        let read = || -> Result<(Self, u64), JsonError> {
            let data = answer.at(&["data"])?;
            let is_counted =
                data.get("num_uses")?.is_some_and(|uses| uses.whole().is_ok_and(|uses| uses > 0));
            let is_renewable = data.get("renewable")?.is_some_and(|it| it.flag().unwrap_or(false));
            let at_first = data.get("creation_ttl")?.map_or(Ok(0), Json::whole)?;
            Ok((Self { token, ttl: data.at(&["ttl"])?.whole()?, is_renewable, is_counted }, at_first))
        };
        read().map_err(odd)
    }
}

const OF_SECRET_IDS: &str = "/secret-id";

/// The secret id in a wrapping token. One that somebody else has used, or made, is no login of ours.
async fn unwrapped(
    api: &Api,
    wrapping: SecretBytes,
    kept: &tokio::sync::Mutex<Option<Unwrapped>>,
) -> Result<SecretBytes, ProviderError> {
    let mut kept = kept.lock().await;
    if let Some(known) = kept.as_ref().filter(|known| known.wrapping.same_as(wrapping.expose())) {
        return match known.held.is_empty() {
            false => Ok(SecretBytes::copy_of(known.held.expose())),
            true => Err(intercepted()),
        };
    }
    let token = Member::Secret(SecretBytes::copy_of(wrapping.expose()));
    let ask = Ask::put(Route::to("/v1/sys/wrapping/lookup")).with("token", token);
    let seen = api.send(&ask, None).await?;
    if is_void(&seen) {
        *kept = Some(Unwrapped { wrapping, held: SecretBytes::copy_of(b"") });
        return Err(intercepted());
    }
    if !seen.is_success() {
        return Err(api.refusal("the look at our wrapping token", &ask, &seen));
    }
    let made_at = json(&seen)?.at(&["data", "creation_path"]).and_then(Json::text).map_err(odd)?;
    if !made_at.starts_with("auth/") || !made_at.ends_with(OF_SECRET_IDS) {
        return Err(ProviderError::Denied(format!(
            "our wrapping token was not made where secret ids are made, but at `{}`: somebody may have put it in place of ours",
            short(&made_at)
        )));
    }
    let ask = Ask::put(Route::to("/v1/sys/wrapping/unwrap"));
    let response = api.send(&ask, Some(&wrapping)).await?;
    if is_void(&response) {
        *kept = Some(Unwrapped { wrapping, held: SecretBytes::copy_of(b"") });
        return Err(intercepted());
    }
    if !response.is_success() {
        return Err(api.refusal("our wrapping token", &ask, &response));
    }
    let held = json(&response)?.at(&["data", "secret_id"]).and_then(Json::secret).map_err(odd)?;
    *kept = Some(Unwrapped { wrapping, held: SecretBytes::copy_of(held.expose()) });
    Ok(held)
}

fn is_void(response: &Response) -> bool {
    words(response).is_some_and(|words| words.contains("wrapping token is not valid"))
}

fn intercepted() -> ProviderError {
    ProviderError::Denied(
        "our wrapping token is not valid or was used before: it may have expired, we may have been started anew, or \
         somebody has intercepted it; if nobody of yours has used it, revoke the secret id, then make a new one"
            .to_owned(),
    )
}
