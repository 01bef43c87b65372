//! One question to etcd, as the user of the config: logs in when it has to, once more when its token is void,
//! and says in our own words what etcd refuses; its own might quote what it was sent. Uses `net`.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::net::{Client, Json, Lines, Request, Response, Route, Streamed};
use crate::provider::remote::wordless;
use crate::provider::{OwnSecret, ProviderError};
use crate::secret::SecretBytes;
use crate::sys::uptime::Uptime;

pub(super) struct Gateway {
    client: Client,
    user: Option<(String, OwnSecret)>,
    /// Held while somebody logs in: the others need the same.
    login: Mutex<Login>,
}

/// Of nobody, if the config names nobody.
type Token = Option<Arc<SecretBytes>>;

#[derive(Default)]
struct Login {
    token: Token,
    refused: Option<Refused>,
}

/// A login that was refused is as good as one that would be: it costs the server more than any question.
struct Refused {
    at: Uptime,
    password: SecretBytes,
    why: ProviderError,
}

/// After which a password that was refused is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Why there is no answer.
pub(super) enum Refusal {
    Error(ProviderError),
    /// The revision that was asked for is not there any more, or not yet.
    Compacted,
    Future,
    NoRight,
    /// The token is void, or was never one.
    Token,
    /// It takes nobody's word for who asks.
    NoUser,
    NoLogins,
}

/// The names of gRPC's codes that etcd uses.
mod code {
    pub(super) const INVALID_ARGUMENT: u64 = 3;
    pub(super) const DEADLINE: u64 = 4;
    pub(super) const PERMISSION_DENIED: u64 = 7;
    pub(super) const EXHAUSTED: u64 = 8;
    pub(super) const PRECONDITION: u64 = 9;
    pub(super) const OUT_OF_RANGE: u64 = 11;
    pub(super) const UNAVAILABLE: u64 = 14;
    pub(super) const UNAUTHENTICATED: u64 = 16;
}

#[derive(Serialize)]
struct Credentials<'a> {
    name: &'a str,
    password: &'a str,
}

impl Login {
    fn refuse_again(&self, password: &SecretBytes) -> Result<(), ProviderError> {
        let is_same =
            |it: &&Refused| Uptime::now().since(it.at) < PAUSE && it.password.same_as(password.expose());
        self.refused.as_ref().filter(is_same).map_or(Ok(()), |it| Err(it.why.clone()))
    }
}

impl From<ProviderError> for Refusal {
    fn from(error: ProviderError) -> Self {
        Self::Error(error)
    }
}

impl Gateway {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn new(client: Client, user: Option<(String, OwnSecret)>) -> Self {
        Self { client, user, login: Mutex::default() }
    }

    pub(super) fn sweep(&self) {
        self.client.sweep();
    }

    /// `body` changes nothing there.
    pub(super) async fn ask(&self, route: &'static str, body: &[u8]) -> Result<Response, Refusal> {
        self.as_user(|token| async move {
            let request = self.request(route, body, token.as_deref())?;
            self.judge(self.client.send(request).await.map_err(ProviderError::from)?)
        })
        .await
    }

    /// The same, where the answer has no end.
    pub(super) async fn stream(&self, route: &'static str, body: &[u8]) -> Result<Lines, Refusal> {
        self.as_user(|token| async move {
            let request = self.request(route, body, token.as_deref())?;
            let request = request.header("grpc-metadata-hasleader", "true").map_err(ProviderError::from)?;
            match self.client.stream(request).await.map_err(ProviderError::from)? {
                Streamed::Lines(lines) => Ok(lines),
                Streamed::Refused(response) => {
                    self.judge(response)?;
                    Err(ProviderError::Invalid(self.says("does not tell of changes")).into())
                }
            }
        })
        .await
    }

    /// A token that is void is had anew, once.
    async fn as_user<T, F>(&self, ask: impl Fn(Token) -> F) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refusal>>,
    {
        let token = self.token().await?;
        match ask(token.clone()).await {
            Err(Refusal::Token) if token.is_some() => self.forget(token).await,
            outcome => return outcome,
        }
        ask(self.token().await?).await
    }

    fn request(
        &self,
        route: &'static str,
        body: &[u8],
        token: Option<&SecretBytes>,
    ) -> Result<Request, ProviderError> {
        let request = Request::post(Route::to(route)).repeatable().json(body.to_vec());
        match token {
            Some(token) => Ok(request.secret("authorization", "", token)?),
            None => Ok(request),
        }
    }

    /// One that was given before, or a new one.
    async fn token(&self) -> Result<Token, Refusal> {
        let Some((name, password)) = &self.user else { return Ok(None) };
        let mut login = self.login.lock().await;
        if login.token.is_none() {
            let password = password.read().await?;
            login.refuse_again(&password)?;
            let outcome = self.log_in(name, &password).await;
            if let Err(Refusal::Error(why @ ProviderError::Denied(_))) = &outcome {
                login.refused = Some(Refused { at: Uptime::now(), password, why: why.clone() });
            }
            login.token = Some(Arc::new(outcome?));
        }
        Ok(login.token.clone())
    }

    /// Unless somebody has a newer one already.
    async fn forget(&self, void: Token) {
        let token = &mut self.login.lock().await.token;
        if token.as_ref().zip(void.as_ref()).is_some_and(|(one, other)| Arc::ptr_eq(one, other)) {
            *token = None;
        }
    }

    async fn log_in(&self, name: &str, password: &SecretBytes) -> Result<SecretBytes, Refusal> {
        let denied = |why: &str| Refusal::Error(ProviderError::Denied(self.says(why)));
        let Ok(password) = std::str::from_utf8(password.expose()) else {
            return Err(denied("cannot be logged in to: the password is no text"));
        };
        // In one piece, so that no smaller copy stays behind.
        let mut body = Zeroizing::new(Vec::with_capacity(64 + 6 * (name.len() + password.len())));
        serde_json::to_writer(&mut *body, &Credentials { name, password }).expect("texts can be written");
        let request = self.request("/v3/auth/authenticate", &body, None)?;
        let response = self.client.send(request).await.map_err(ProviderError::from)?;
        match self.judge(response) {
            Ok(response) => {
                let token = response.json().map_err(ProviderError::from)?.at(&["token"]);
                token.and_then(Json::secret).map_err(|_| denied("gives no token"))
            }
            Err(Refusal::NoUser | Refusal::Token) => {
                Err(denied(&format!("refuses the user `{name}`, or the password")))
            }
            Err(Refusal::NoLogins) => Err(denied("knows no users (its auth is off): leave `auth` out")),
            Err(refusal) => Err(refusal),
        }
    }

    fn judge(&self, response: Response) -> Result<Response, Refusal> {
        if response.is_success() {
            return Ok(response);
        }
        let told = || -> Option<(u64, String)> {
            let answer = response.json().ok()?;
            Some((answer.at(&["code"]).ok()?.whole().ok()?, answer.at(&["message"]).ok()?.text().ok()?))
        };
        match told() {
            Some((code, message)) => Err(self.refusal_of(code, &message)),
            None => Err(wordless(&self.who(), &response).into()),
        }
    }

    fn refusal_of(&self, code: u64, message: &str) -> Refusal {
        let says = |what: &str| self.says(&format!("{what} (code {code})"));
        Refusal::Error(match code {
            code::UNAUTHENTICATED => return Refusal::Token,
            // Users or their rights were changed since the login.
            code::INVALID_ARGUMENT if message.contains("auth store is old") => return Refusal::Token,
            code::INVALID_ARGUMENT if message.contains("user name is empty") => return Refusal::NoUser,
            code::INVALID_ARGUMENT if message.contains("authentication failed") => return Refusal::NoUser,
            code::PERMISSION_DENIED => return Refusal::NoRight,
            code::PRECONDITION if message.contains("authentication is not enabled") => {
                return Refusal::NoLogins;
            }
            code::OUT_OF_RANGE if message.contains("future") => return Refusal::Future,
            code::OUT_OF_RANGE => return Refusal::Compacted,
            code::DEADLINE => ProviderError::Timeout(says("has not answered in its own time")),
            code::EXHAUSTED => ProviderError::Throttled { why: says("is asked too often"), after: None },
            code::UNAVAILABLE => {
                ProviderError::Unavailable(says("is not ready: it has no leader, or is starting"))
            }
            _ => ProviderError::Invalid(says("refuses the question")),
        })
    }

    /// For who expects an answer and nothing else.
    pub(super) fn error(&self, refusal: Refusal) -> ProviderError {
        let user =
            self.user.as_ref().map_or_else(|| "nobody".to_owned(), |(name, _)| format!("the user `{name}`"));
        ProviderError::Denied(self.says(&match refusal {
            Refusal::Error(error) => return error,
            Refusal::Compacted | Refusal::Future => "has not the revision that was asked for".to_owned(),
            Refusal::NoRight => {
                format!("gives {user} no right to these keys: `etcdctl role grant-permission` does")
            }
            Refusal::Token => format!("does not take the token of {user} that it has just given"),
            Refusal::NoUser => "wants to know who asks: name a user and a password as `auth`".to_owned(),
            Refusal::NoLogins => "knows no users: leave `auth` out".to_owned(),
        }))
    }

    /// A sentence about this server.
    pub(super) fn says(&self, what: &str) -> String {
        format!("{} {what}", self.who())
    }

    fn who(&self) -> String {
        self.client.address().authority()
    }
}
