//! What a provider of the network makes of a request without an answer, and of an answer that is none.
//! Uses `net`.

use jiff::Timestamp;

use super::{ProviderError, Step};
use crate::net::{Client, JsonError, NetError, NetErrorKind, Probed, Response};

impl From<NetError> for ProviderError {
    fn from(error: NetError) -> Self {
        of_kind(&error.kind, error.to_string())
    }
}

/// Of a request that could not be made.
impl From<NetErrorKind> for ProviderError {
    fn from(kind: NetErrorKind) -> Self {
        of_kind(&kind, kind.to_string())
    }
}

/// Of an answer that was not what it should be.
impl From<JsonError> for ProviderError {
    fn from(error: JsonError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// The way to the server, step by step: to be followed by what it answers if all of them work.
#[cfg_attr(not(feature = "etcd"), allow(dead_code, reason = "not each provider uses it"))]
pub(super) async fn way(client: &Client) -> Vec<Step> {
    let steps = client.probe().await.into_iter();
    let step = |it: Probed| Step { name: it.name, took: it.took, outcome: it.outcome.map_err(Into::into) };
    steps.map(step).collect()
}

/// What is not told by the machine itself. Waiting once for it is enough.
#[cfg_attr(not(feature = "gcp"), allow(dead_code, reason = "not each provider uses it"))]
pub(super) fn of_machine(what: &str, error: &ProviderError) -> ProviderError {
    let why = format!("{what}: {error}");
    match error {
        ProviderError::Timeout(_) => ProviderError::Timeout(why),
        _ => ProviderError::Unavailable(why),
    }
}

fn of_kind(kind: &NetErrorKind, why: String) -> ProviderError {
    use ProviderError as Error;
    match kind {
        NetErrorKind::Dns(_)
        | NetErrorKind::Refused
        | NetErrorKind::Unreachable(_)
        | NetErrorKind::ShutIn
        | NetErrorKind::Proxy(_) => Error::Unreachable(why),
        NetErrorKind::Reset => Error::Unavailable(why),
        NetErrorKind::Tls(_) => Error::Untrusted(why),
        NetErrorKind::Timeout { .. } => Error::Timeout(why),
        NetErrorKind::TooLarge(_) => Error::TooLarge(why),
        NetErrorKind::Protocol(_) | NetErrorKind::Name(_) => Error::Invalid(why),
    }
}

/// What a status means that is neither success nor the provider's own word for *there is none*. `who`
/// stands before it: the server, as people know it.
pub fn refusal(who: &str, response: &Response) -> ProviderError {
    let status = response.status();
    let after = response.retry_after(Timestamp::now());
    let why = format!("{who} {} ({status})", in_words(status));
    match status {
        429 => ProviderError::Throttled { why, after },
        503 if after.is_some() => ProviderError::Throttled { why, after },
        401 | 403 => ProviderError::Denied(why),
        500..=599 => ProviderError::Unavailable(why),
        _ => ProviderError::Invalid(why),
    }
}

/// The same where a provider has words of its own, and none is there: only it can refuse us, what stands before it cannot.
#[cfg_attr(
    not(any(
        feature = "aws",
        feature = "azure",
        feature = "etcd",
        feature = "gcp",
        feature = "kubernetes",
        feature = "onepassword"
    )),
    allow(dead_code, reason = "not each provider uses it")
)]
pub(super) fn wordless(who: &str, response: &Response) -> ProviderError {
    match response.status() {
        status @ (401 | 403) => {
            let why = format!("{who} is not what answers: something before it says {status}");
            ProviderError::Unavailable(why)
        }
        _ => refusal(who, response),
    }
}

fn in_words(status: u16) -> &'static str {
    match status {
        300..=399 => "sends us elsewhere, which is not followed: check `address`",
        401 | 403 => "refuses our login or our right to this",
        404 | 405 => "does not know what it was asked: check `address`",
        429 => "is asked too often",
        503 => "is not ready",
        500..=599 => "has failed",
        _ => "answers with what is not expected",
    }
}
