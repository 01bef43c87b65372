//! What goes to a Vault and what its answers mean: one request in its headers, and a refusal in words. Nobody's
//! credential is ever in them, and it goes to no other server. Uses `net`.

use std::borrow::Cow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use subtle::ConstantTimeEq;

use crate::net::{Client, Json, JsonError, NetErrorKind, Request, Response, Route};
use crate::poison::EvenPoisoned;
use crate::provider::ProviderError;
use crate::secret::SecretBytes;
use crate::visible;

/// One server, or what stands before several.
pub(super) struct Api {
    client: Client,
    namespace: Option<String>,
    /// How far it had come at its last answer: none of its nodes may answer from before that.
    index: Mutex<Option<String>>,
}

/// A question, which may be asked more than once.
pub(super) struct Ask {
    how: How,
    route: Route,
    version: Option<u64>,
    members: Vec<(Cow<'static, str>, Member)>,
    /// By which two of them are the same, if what is sent is another each time.
    stands_for: Option<SecretBytes>,
    is_mute: bool,
    is_of_root: bool,
    /// The server has said our token back to us.
    is_echoed: AtomicBool,
}

#[derive(Clone, Copy)]
enum How {
    Get,
    List,
    Put,
}

/// What is in a body.
pub(super) enum Member {
    Text(String),
    Secret(SecretBytes),
}

/// Between two tries, where a node has not yet heard what another one has said.
const PAUSE: Duration = Duration::from_millis(100);
const TRIES: usize = 3;
/// The most of a server's own words.
const LONGEST: usize = 240;
/// What a server may say of a place where its words could hold a value.
const KNOWN: [&str; 7] = [
    "permission denied",
    "sealed",
    "rate limit quota",
    "no handler for route",
    "unknown role",
    "unsupported path",
    "not allowed by this role",
];
const INDEX: &str = "x-vault-index";

impl Ask {
    pub(super) fn get(route: Route) -> Self {
        Self::new(How::Get, route)
    }

    pub(super) fn list(route: Route) -> Self {
        Self::new(How::List, route)
    }

    pub(super) fn put(route: Route) -> Self {
        Self::new(How::Put, route)
    }

    fn new(how: How, route: Route) -> Self {
        Self {
            how,
            route,
            version: None,
            members: Vec::new(),
            stands_for: None,
            is_mute: false,
            is_of_root: false,
            is_echoed: AtomicBool::new(false),
        }
    }

    pub(super) fn version(self, version: Option<u64>) -> Self {
        Self { version, ..self }
    }

    /// Nothing in its name has to be escaped.
    pub(super) fn with(mut self, name: impl Into<Cow<'static, str>>, member: Member) -> Self {
        self.members.push((name.into(), member));
        self
    }

    /// It is made anew each time of this.
    pub(super) fn standing_for(self, credential: SecretBytes) -> Self {
        Self { stands_for: Some(credential), ..self }
    }

    /// The server's words for a refusal may hold a value.
    pub(super) fn mute(self) -> Self {
        Self { is_mute: true, ..self }
    }

    /// Only the outermost namespace knows it.
    pub(super) fn of_root(self) -> Self {
        Self { is_of_root: true, ..self }
    }

    /// With the same credentials.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        if let (Some(ours), Some(others)) = (&self.stands_for, &other.stands_for) {
            return ours.same_as(others.expose());
        }
        self.members.len() == other.members.len()
            && self
                .members
                .iter()
                .zip(&other.members)
                .all(|((_, a), (_, b))| a.bytes_of().ct_eq(b.bytes_of()).into())
    }

    fn body(&self) -> Result<Vec<u8>, ProviderError> {
        // Never moved while it grows: what is left behind would not be wiped.
        let size = self.members.iter().map(|(name, member)| name.len() + 6 * member.bytes_of().len() + 8);
        let mut body = Vec::with_capacity(2 + size.sum::<usize>());
        for (index, (name, member)) in self.members.iter().enumerate() {
            let text = std::str::from_utf8(member.bytes_of());
            let text =
                text.map_err(|_| ProviderError::Invalid(format!("our `{name}` is no text (UTF-8)")))?;
            body.extend_from_slice(if index == 0 { b"{\"" } else { b",\"" });
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(b"\":");
            serde_json::to_writer(&mut body, text).expect("a text can be written into memory");
        }
        body.extend_from_slice(if self.members.is_empty() { b"{}" } else { b"}" });
        Ok(body)
    }

    fn request(&self, route: Route) -> Result<Request, ProviderError> {
        let request = match self.how {
            How::Get => Request::get(route),
            How::List => Request::list(route),
            How::Put => Request::put(route).json(self.body()?),
        };
        Ok(match self.version {
            Some(version) => request.query("version", &version.to_string()),
            None => request,
        })
    }
}

impl Member {
    fn bytes_of(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Secret(secret) => secret.expose(),
        }
    }
}

impl Api {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn new(client: Client, namespace: Option<String>) -> Self {
        Self { client, namespace, index: Mutex::default() }
    }

    pub(super) fn sweep(&self) {
        self.client.sweep();
    }

    /// Any answer is one, whatever its status, but that a node has to catch up first or sends us elsewhere.
    pub(super) async fn send(
        &self,
        ask: &Ask,
        token: Option<&SecretBytes>,
    ) -> Result<Response, ProviderError> {
        let mut tries = 1;
        let mut route = ask.route.clone();
        loop {
            let response: Response =
                self.client.send(self.dress(ask.request(route.clone())?, ask, token)?).await?;
            ask.heed_echo(token, &response);
            match response.status() {
                412 | 429 if lags(&response) && tries < TRIES => {
                    // Who has lost that index may answer without it.
                    self.remember(None);
                    tokio::time::sleep(PAUSE * tries as u32).await;
                }
                301 | 302 | 307 | 308 if tries == 1 => route = self.elsewhere(&response)?,
                301 | 302 | 307 | 308 => return Err(self.moved()),
                _ => {
                    if let Some(index) = response.header(INDEX) {
                        self.remember(Some(index.to_owned()));
                    }
                    return Ok(response);
                }
            }
            tries += 1;
        }
    }

    fn dress(
        &self,
        request: Request,
        ask: &Ask,
        token: Option<&SecretBytes>,
    ) -> Result<Request, ProviderError> {
        let mut request = request.header("x-vault-request", "true").map_err(unfit)?;
        if let Some(namespace) = self.namespace.as_deref().filter(|_| !ask.is_of_root) {
            request = request.header("x-vault-namespace", namespace).map_err(unfit)?;
        }
        if let Some(index) = self.index.lock().even_poisoned().as_deref() {
            request = request.header(INDEX, index).map_err(unfit)?;
            request = request.header("x-vault-inconsistent", "forward-active-node").map_err(unfit)?;
        }
        match token {
            Some(token) => request.secret("x-vault-token", "", token).map_err(unfit),
            None => Ok(request),
        }
    }

    fn remember(&self, index: Option<String>) {
        *self.index.lock().even_poisoned() = index;
    }

    /// The same question at another place of the same server.
    fn elsewhere(&self, response: &Response) -> Result<Route, ProviderError> {
        response.location().and_then(|location| self.client.stays(location)).ok_or_else(|| self.moved())
    }

    fn moved(&self) -> ProviderError {
        let who = self.client.address().authority();
        ProviderError::Unavailable(format!(
            "{who} is a standby and sends us to its leader, where no credential of ours goes: \
             set `address` to what reaches the leader"
        ))
    }

    /// Why it has answered with this status, where that is no answer. `what` was asked for.
    pub(super) fn refusal(&self, what: &str, ask: &Ask, response: &Response) -> ProviderError {
        let words = words(response);
        let is_sealed = words.as_deref().is_some_and(|words| words.contains("sealed"));
        let shown = words.filter(|words| ask.may_be_told(words)).map(|words| format!(": {words}"));
        let shown = shown.unwrap_or_default();
        let who = self.client.address().authority();
        let status = response.status();
        match status {
            503 if is_sealed => ProviderError::Unavailable(format!("{who} is sealed: it has to be unsealed")),
            501 => ProviderError::Unavailable(format!("{who} is not initialized")),
            412 => ProviderError::Unavailable(format!("{who} is a standby that lags behind ({status})")),
            429 if lags(response) => {
                ProviderError::Unavailable(format!("{who} is a standby that lags behind ({status})"))
            }
            429 => ProviderError::Throttled {
                why: format!("{who} is asked too often ({status}){shown}"),
                after: response.retry_after(Timestamp::now()),
            },
            472 | 473 => {
                ProviderError::Unavailable(format!("{who} is a replica that is not ready ({status})"))
            }
            500.. => ProviderError::Unavailable(format!("{who} has failed at {what} ({status}){shown}")),
            401 | 403 => ProviderError::Denied(format!("{who} refuses {what} ({status}){shown}")),
            400 | 404 => ProviderError::Denied(format!("{who} does not accept {what} ({status}){shown}")),
            _ => ProviderError::Invalid(format!("{who} answers {what} with status {status}{shown}")),
        }
    }
}

impl Ask {
    /// Whether these words of the server hold nothing of what it was sent, nor a value.
    fn may_be_told(&self, words: &str) -> bool {
        let is_sent = |member: &Member| match member {
            Member::Text(_) => false,
            Member::Secret(secret) => std::str::from_utf8(secret.expose()).is_ok_and(|it| words.contains(it)),
        };
        let is_known = || KNOWN.iter().any(|known| words.contains(known));
        let is_echo =
            self.is_echoed.load(Ordering::Relaxed) || self.members.iter().any(|(_, it)| is_sent(it));
        !is_echo && (!self.is_mute || is_known())
    }

    fn heed_echo(&self, token: Option<&SecretBytes>, response: &Response) {
        if response.is_success() {
            return;
        }
        let sent = self.members.iter().filter_map(|(_, member)| match member {
            Member::Secret(secret) => Some(secret.expose()),
            Member::Text(_) => None,
        });
        let words = first_error(response).unwrap_or_default();
        let holds = |secret: &[u8]| {
            // The beginning tells it: what is shown is cut.
            let part = &secret[..secret.len().min(TELLING)];
            let has = |text: &[u8]| text.windows(part.len()).any(|it| it == part);
            !part.is_empty() && (has(response.body().expose()) || has(words.as_bytes()))
        };
        let has_one = sent.chain(token.map(SecretBytes::expose)).any(holds);
        self.is_echoed.fetch_or(has_one, Ordering::Relaxed);
    }
}

/// So many bytes of a secret say that it is the secret.
const TELLING: usize = 16;

/// A node that has not come as far as another one had: an empty list of errors, and no word of a quota.
pub(super) fn lags(response: &Response) -> bool {
    let is_quota = || words(response).is_some() || response.header("retry-after").is_some();
    response.status() == 412 || (response.status() == 429 && !is_quota())
}

/// A refusal as a server has it for a token that it knows, and whose policies stand against the question.
pub(super) fn is_of_policy(response: &Response) -> bool {
    first_error(response)
        .is_some_and(|text| text.contains("error occurred") && !text.contains("invalid token"))
}

fn first_error(response: &Response) -> Option<String> {
    response.json().ok()?.get("errors").ok()??.items().ok()?.first()?.text().ok()
}

/// What the server says itself, in a line.
pub(super) fn words(response: &Response) -> Option<String> {
    let text = first_error(response)?;
    let points: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("* ")).collect();
    let text = if points.is_empty() { text.trim().to_owned() } else { points.join("; ") };
    let text: String = visible::in_line(&text).chars().take(LONGEST).collect();
    (!text.is_empty()).then_some(text)
}

/// The document that was answered.
pub(super) fn json(response: &Response) -> Result<Json<'_>, ProviderError> {
    response.json().map_err(unfit)
}

/// The answer is not the one that belongs to the question.
pub(super) fn odd(error: JsonError) -> ProviderError {
    ProviderError::Invalid(error.to_string())
}

/// Nothing was sent, or nothing can be made of what came.
pub(super) fn unfit(kind: NetErrorKind) -> ProviderError {
    ProviderError::Invalid(kind.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_whatever_is_in_it() {
        let ask = Ask::put(Route::to("/v1/x"))
            .with("role_id", Member::Text("a\"b".into()))
            .with("secret_id", Member::Secret(SecretBytes::copy_of("ä\n\\".as_bytes())));
        let body = ask.body().unwrap();
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read, serde_json::json!({"role_id": "a\"b", "secret_id": "ä\n\\"}));
        assert!(body.capacity() >= body.len(), "it has never grown");
        assert_eq!(Ask::put(Route::to("/v1/x")).body().unwrap(), b"{}");
        let broken = Ask::put(Route::to("/")).with("jwt", Member::Secret(SecretBytes::copy_of(b"\xff")));
        assert!(broken.body().is_err());
    }

    #[test]
    fn what_was_sent_is_not_told() {
        let ask = Ask::put(Route::to("/v1/x"))
            .with("role", Member::Text("web".into()))
            .with("jwt", Member::Secret(SecretBytes::copy_of(b"hunter2")));
        assert!(ask.may_be_told("role \"web\" could not be found"));
        assert!(!ask.may_be_told("cannot parse hunter2"));
        let mute = Ask::get(Route::to("/v1/database/creds/app")).mute();
        assert!(mute.may_be_told("permission denied"));
        assert!(!mute.may_be_told("syntax error at CREATE ROLE x PASSWORD y"));
    }

    #[test]
    fn credentials_are_the_same_or_not() {
        let ask = |secret: &[u8]| {
            Ask::put(Route::to("/v1/x")).with("secret_id", Member::Secret(SecretBytes::copy_of(secret)))
        };
        assert!(ask(b"a").is_same(&ask(b"a")));
        assert!(!ask(b"a").is_same(&ask(b"b")));
        assert!(!ask(b"a").is_same(&Ask::put(Route::to("/v1/x"))));
        let signed = |now, key| ask(now).standing_for(SecretBytes::copy_of(key));
        assert!(signed(b"a", b"k").is_same(&signed(b"b", b"k")), "signed anew with the same key");
        assert!(!signed(b"a", b"k").is_same(&signed(b"a", b"l")));
    }
}
