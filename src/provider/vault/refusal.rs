//! What it means that a Vault does not answer, in words in which nobody's credential is. Only what the server itself
//! says is taken for a refusal: what stands before it has words of its own. Uses `api`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::api::{Api, Ask, Member};
use crate::net::{NetError, NetErrorKind, Response};
use crate::provider::ProviderError;
use crate::secret::SecretBytes;
use crate::visible;

/// The most of a server's own words.
const LONGEST: usize = 240;
/// A KV that becomes one with versions says so, with status 400, and is back soon.
const UPGRADING: &str = "Upgrading from non-versioned to versioned";
/// The most that somebody else than the server keeps us from it.
const LONGEST_OF_OTHERS: Duration = Duration::from_secs(30);
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
/// So many bytes of a secret say that it is the secret.
const TELLING: usize = 16;
const UNKNOWN: &str = "whether it was made is not known, so it is not asked for again";

impl Api {
    /// Why it has answered with this status, where that is no answer. `what` was asked for.
    pub(super) fn refusal(&self, what: &str, ask: &Ask, response: &Response) -> ProviderError {
        let words = words(response);
        let says = |text: &str| words.as_deref().is_some_and(|words| words.contains(text));
        let (is_sealed, is_upgrading) = (says("sealed"), says(UPGRADING));
        let shown = words.filter(|words| ask.may_be_told(words)).map(|words| format!(": {words}"));
        let shown = shown.unwrap_or_default();
        let who = self.client().address().authority();
        let status = response.status();
        let unavailable = |why: &str| ProviderError::Unavailable(format!("{who} {why}"));
        match status {
            503 if is_sealed => unavailable("is sealed: it has to be unsealed"),
            501 => unavailable("is not initialized"),
            412 => unavailable("is a standby that lags behind (412)"),
            429 if lags(response) => unavailable("is a standby that lags behind (429)"),
            429 => ProviderError::Throttled {
                why: format!("{who} is asked too often ({status}){shown}"),
                after: pause(response),
            },
            472 | 473 => unavailable(&format!("is a replica that is not ready ({status})")),
            500.. if ask.is_once => {
                ProviderError::Timeout(format!("{who} has failed at {what} ({status}){shown}: {UNKNOWN}"))
            }
            500.. => unavailable(&format!("has failed at {what} ({status}){shown}")),
            401 | 403 | 404 if !is_own(response) => unavailable(&format!(
                "cannot be asked for {what}: something before it answers in its place ({status})"
            )),
            401 | 403 => ProviderError::Denied(format!("{who} refuses {what} ({status}){shown}")),
            400 if is_upgrading => unavailable("is about to keep versions, and answers again in a moment"),
            400 | 404 if is_own(response) => {
                ProviderError::Denied(format!("{who} does not accept {what} ({status}){shown}"))
            }
            _ => ProviderError::Invalid(format!("{who} answers {what} with status {status}{shown}")),
        }
    }
}

impl Ask {
    /// It was sent, and no answer came.
    pub(super) fn lost(&self, error: NetError) -> ProviderError {
        match error.kind {
            NetErrorKind::Reset if self.is_once => ProviderError::Timeout(format!("{error}: {UNKNOWN}")),
            _ => error.into(),
        }
    }

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

    /// Also what was signed with, line by line: who is asked in our place may say it back.
    pub(super) fn heed_echo(&self, token: Option<&SecretBytes>, response: &Response) {
        if response.is_success() {
            return;
        }
        let sent = self.members.iter().filter_map(|(_, member)| match member {
            Member::Secret(secret) => Some(secret.expose()),
            Member::Text(_) => None,
        });
        let stands_for = self.stands_for.iter().flat_map(|it| it.expose().split(|byte| *byte == b'\n'));
        let words = first_error(response).unwrap_or_default();
        let holds = |secret: &[u8]| {
            // The beginning tells it: what is shown is cut.
            let part = &secret[..secret.len().min(TELLING)];
            let has = |text: &[u8]| text.windows(part.len()).any(|it| it == part);
            !part.is_empty() && (has(response.body().expose()) || has(words.as_bytes()))
        };
        let has_one = sent.chain(stands_for).chain(token.map(SecretBytes::expose)).any(holds);
        self.is_echoed.fetch_or(has_one, Ordering::Relaxed);
    }
}

/// How long it wants to be left alone, if it says so: what stands before it may mean others, and any length.
fn pause(response: &Response) -> Option<Duration> {
    let after = response.retry_after(Timestamp::now());
    if is_own(response) { after } else { after.map(|it| it.min(LONGEST_OF_OTHERS)) }
}

/// In the server's own words, whatever they are, and not in those of a proxy.
pub(super) fn is_own(response: &Response) -> bool {
    response.json().is_ok_and(|answer| answer.at(&["errors"]).is_ok_and(|errors| errors.items().is_ok()))
}

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

/// That the token itself is none, in words that not every server has.
pub(super) fn is_of_token(response: &Response) -> bool {
    first_error(response).is_some_and(|text| text.contains("invalid token"))
}

fn first_error(response: &Response) -> Option<String> {
    response.json().ok()?.get("errors").ok()??.items().ok()?.first()?.text().ok()
}

/// What the server says itself, in a line.
pub(super) fn words(response: &Response) -> Option<String> {
    let text = first_error(response)?;
    let points: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("* ")).collect();
    let text = if points.is_empty() { text.trim().to_owned() } else { points.join("; ") };
    let text = short(&text);
    (!text.is_empty()).then_some(text)
}

/// What a server says, in a line that is not too long.
pub(super) fn short(text: &str) -> String {
    let begin: String = text.chars().take(LONGEST).collect();
    visible::in_line(&begin).chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Route;

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
}
