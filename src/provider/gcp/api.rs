//! One question to Google's Secret Manager, as who we are: asked once more with a new token if that one is void. What
//! it refuses is known by its own words (`error.status`), never by the number alone, which others before it use, too.
//! Uses `net` and `identity`.

use std::time::Duration;

use jiff::Timestamp;

use super::identity::{Identity, Token};
use crate::net::{Client, Json, LONGEST_PAUSE, Request, Response, Route};
use crate::provider::ProviderError;
use crate::provider::remote::wordless;

pub(super) struct Api {
    client: Client,
    identity: Identity,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Refusal {
    Error(ProviderError),
    Missing,
    /// The version is disabled or destroyed.
    Inactive,
    /// We have no right to it; Google's word for why, if it has one.
    NoRight(Option<String>),
    /// The token is void.
    Token,
}

/// What an error of Google's has beside its status.
struct Told {
    status: String,
    message: String,
    reason: Option<String>,
    after: Option<Duration>,
}

/// The most letters of a reason that is shown.
const LONGEST: usize = 63;

impl From<ProviderError> for Refusal {
    fn from(error: ProviderError) -> Self {
        Self::Error(error)
    }
}

impl Api {
    pub(super) fn new(client: Client, identity: Identity) -> Self {
        Self { client, identity }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) async fn get(&self, route: &Route, query: &[(&str, &str)]) -> Result<Response, Refusal> {
        let mut is_second = false;
        loop {
            let token = self.identity.token(self.client.timeout()).await?;
            let ask = asked(route, query, &token)?;
            let response = self.client.send(ask).await.map_err(ProviderError::from)?;
            match self.judge(response) {
                Err(Refusal::Token) => {
                    self.identity.refuse(&token, || self.error(Refusal::Token, "", ""));
                    if is_second {
                        return Err(Refusal::Token);
                    }
                    is_second = true;
                }
                judged => return judged,
            }
        }
    }

    fn judge(&self, response: Response) -> Result<Response, Refusal> {
        if response.is_success() {
            return Ok(response);
        }
        Err(match told(&response) {
            Some(told) => self.refusal_of(told),
            None => wordless(&self.who(), &response).into(),
        })
    }

    fn refusal_of(&self, told: Told) -> Refusal {
        let status = told.status.as_str();
        let says = |what: &str| self.says(&format!("{what} ({status})"));
        Refusal::Error(match status {
            "NOT_FOUND" => return Refusal::Missing,
            "FAILED_PRECONDITION" if is_inactive(&told.message) => return Refusal::Inactive,
            "PERMISSION_DENIED" => return Refusal::NoRight(told.reason),
            "UNAUTHENTICATED" => return Refusal::Token,
            "FAILED_PRECONDITION" => ProviderError::Denied(says(
                "does not give it as things stand: look at its state and at its key of encryption",
            )),
            "RESOURCE_EXHAUSTED" => ProviderError::Throttled {
                why: says("is asked too often: its quota is used up"),
                after: told.after,
            },
            "DEADLINE_EXCEEDED" => ProviderError::Timeout(says("has not answered in its own time")),
            "UNAVAILABLE" | "INTERNAL" | "UNKNOWN" | "ABORTED" | "CANCELLED" | "DATA_LOSS" => {
                ProviderError::Unavailable(says("has failed"))
            }
            _ => ProviderError::Invalid(says("refuses the question")),
        })
    }

    /// For who expects an answer and nothing else. `what` was asked for, and `role` gives the right to it.
    pub(super) fn error(&self, refusal: Refusal, what: &str, role: &str) -> ProviderError {
        ProviderError::Denied(self.says(&match refusal {
            Refusal::Error(error) => return error,
            Refusal::NoRight(reason) => {
                let reason = reason.map_or_else(String::new, |it| format!(", {it}"));
                format!(
                    "gives us no right to {what} (PERMISSION_DENIED{reason}): {role} is the role that does"
                )
            }
            Refusal::Token => "does not take the token that we were just given (UNAUTHENTICATED)".to_owned(),
            Refusal::Missing => format!("has not {what} (NOT_FOUND): check `project` and `location`"),
            Refusal::Inactive => format!("has {what} disabled or destroyed"),
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

fn asked(route: &Route, query: &[(&str, &str)], token: &Token) -> Result<Request, ProviderError> {
    let mut ask = Request::get(route.clone()).secret("authorization", "Bearer ", &token.value)?;
    if let Some(project) = &token.quota_project {
        ask = ask.header("x-goog-user-project", project)?;
    }
    Ok(query.iter().fold(ask, |ask, (name, value)| ask.query(name, value)))
}

/// It says so in its own words only.
fn is_inactive(message: &str) -> bool {
    message.contains("DISABLED state") || message.contains("DESTROYED state")
}

/// `None` if it is no error of Google's.
fn told(response: &Response) -> Option<Told> {
    let error = response.json().ok()?.at(&["error"]).ok()?;
    let text = |name: &str| error.at(&[name]).and_then(Json::text).ok();
    let status = text("status").filter(|it| is_word(it))?;
    let details = error.get("details").ok().flatten().and_then(|it| it.items().ok()).unwrap_or_default();
    let detail = |name: &str| details.iter().find_map(|it| it.at(&[name]).ok()?.text().ok());
    let after =
        detail("retryDelay").and_then(|it| seconds(&it)).or_else(|| response.retry_after(Timestamp::now()));
    let reason = detail("reason").filter(|it| is_word(it));
    Some(Told { status, message: text("message").unwrap_or_default(), reason, after })
}

/// One of their constants, and nothing that was sent.
fn is_word(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !text.is_empty() && text.len() <= LONGEST && text.bytes().all(is_fit)
}

/// `13s`, `0.5s`: as JSON has a duration of theirs.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Some(Duration::try_from_secs_f64(seconds).ok()?.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_and_bounded() {
        for (text, millis) in [("13s", Some(13_000)), ("0.5s", Some(500)), ("99999s", Some(3_600_000))] {
            assert_eq!(seconds(text), millis.map(Duration::from_millis), "{text}");
        }
        for text in ["", "s", "13", "-1s", "xs", "infs", "nans"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn only_constants_are_shown() {
        assert!(is_word("SERVICE_DISABLED") && is_word("CRC32"));
        for text in ["", "hunter2", "A B", &"A".repeat(64)] {
            assert!(!is_word(text), "{text}");
        }
    }
}
