//! What goes to a Vault: one request in its headers. Nobody's credential goes to another server. Uses `net`.

use std::borrow::Cow;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use subtle::ConstantTimeEq;

use super::refusal::lags;
use crate::net::{Client, Json, JsonError, NetErrorKind, Request, Response, Route};
use crate::poison::EvenPoisoned;
use crate::provider::ProviderError;
use crate::secret::SecretBytes;

/// One server, or what stands before several.
pub(super) struct Api {
    client: Client,
    namespace: Option<String>,
    /// How far it had come at its last answer: none of its nodes may answer from before that.
    index: Mutex<Option<String>>,
}

/// A question, which may be asked more than once if nothing else is said.
pub(super) struct Ask {
    how: How,
    route: Route,
    version: Option<u64>,
    pub(super) members: Vec<(Cow<'static, str>, Member)>,
    /// By which two of them are the same, if what is sent is another each time.
    pub(super) stands_for: Option<SecretBytes>,
    pub(super) is_mute: bool,
    is_of_root: bool,
    pub(super) is_once: bool,
    /// The server has said our token back to us.
    pub(super) is_echoed: AtomicBool,
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
            is_once: false,
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

    /// Each time something else is made of it: where nobody knows whether it was, it is not asked for again.
    pub(super) fn once(self) -> Self {
        Self { is_once: true, ..self }
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
        let request = if self.is_once { request.once() } else { request };
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
            let request = self.dress(ask.request(route.clone())?, ask, token)?;
            let response = self.client.send(request).await.map_err(|error| ask.lost(error))?;
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
