//! What AWS says when it refuses, by its own codes: a status alone means little (a missing secret has 400, and so has
//! an expired key). Its messages are not passed on: they may quote what they were asked. Pure; uses `net`.

use jiff::Timestamp;

use crate::net::Response;
use crate::provider::ProviderError;
use crate::provider::remote::wordless;

/// Why there is no answer.
pub(super) enum Refusal {
    Error(ProviderError),
    /// There is no such secret, or no such version of it.
    Missing,
    /// It waits for its deletion.
    Deleted,
    /// We may not do this.
    NoRight(String),
    /// The keys are void, too old, or were never some.
    Keys(String),
}

/// The longest code that is passed on.
const LONGEST: usize = 64;

impl From<ProviderError> for Refusal {
    fn from(error: ProviderError) -> Self {
        Self::Error(error)
    }
}

/// The code of a refusal: of the services that speak JSON, and of those that speak XML.
pub(super) fn code_of(response: &Response) -> Option<String> {
    let header = response.header("x-amzn-errortype").map(str::to_owned);
    plain(&header.or_else(|| of_json(response)).or_else(|| of_xml(response))?)
}

fn of_json(response: &Response) -> Option<String> {
    let json = response.json().ok()?;
    let code = json.get("__type").ok()?.or(json.get("code").ok()?)?;
    code.text().ok()
}

fn of_xml(response: &Response) -> Option<String> {
    let text = std::str::from_utf8(response.body().expose()).ok()?;
    let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    Some(code.to_owned())
}

/// Without what it is called by inside: `com.amazonaws.ssm#ParameterNotFound:http://…`.
fn plain(code: &str) -> Option<String> {
    let code = code.split(':').next()?.rsplit('#').next()?.trim();
    let is_word = !code.is_empty()
        && code.len() <= LONGEST
        && code.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'.');
    is_word.then(|| code.to_owned())
}

/// What an answer is that is no success. `who` stands before it.
pub(super) fn judge(who: &str, response: &Response) -> Refusal {
    match code_of(response) {
        Some(code) => {
            let message = message_of(response).unwrap_or_default();
            match of_code(who, &code, &message) {
                Refusal::Error(ProviderError::Throttled { why, .. }) => {
                    let after = response.retry_after(Timestamp::now());
                    ProviderError::Throttled { why, after }.into()
                }
                Refusal::Error(ProviderError::Invalid(why)) if response.status() >= 500 => {
                    ProviderError::Unavailable(why).into()
                }
                refusal => refusal,
            }
        }
        None => wordless(who, response).into(),
    }
}

fn message_of(response: &Response) -> Option<String> {
    let json = response.json().ok()?;
    json.get("message").ok()?.or(json.get("Message").ok()?)?.text().ok()
}

/// The message only tells two meanings of one code apart.
pub(super) fn of_code(who: &str, code: &str, message: &str) -> Refusal {
    let code = plain(code).unwrap_or_else(|| "without a code".to_owned());
    let says = |what: &str| format!("{who} {what} ({code})");
    Refusal::Error(match &*code {
        "ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound" => {
            return Refusal::Missing;
        }
        "InvalidRequestException" if message.contains("marked for deletion") => return Refusal::Deleted,
        "InvalidRequestException" if message.contains("marked deleted") => return Refusal::Deleted,
        code if is_throttling(code) => {
            ProviderError::Throttled { why: says("is asked too often"), after: None }
        }
        code if is_denial(code) && !message.contains("KMS") => return Refusal::NoRight(code.to_owned()),
        code if is_of_clock(code, message) => ProviderError::Unavailable(says(
            "does not take the time for right: check the clock of this machine",
        )),
        code if is_of_keys(code) => return Refusal::Keys(code.to_owned()),
        "DecryptionFailure" | "InvalidKeyId" | "AccessDeniedException" => {
            ProviderError::Denied(says("cannot decrypt it for us: may we use its key (kms:Decrypt)?"))
        }
        "InternalServiceError"
        | "InternalServerError"
        | "InternalFailure"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "InternalServiceErrorException" => ProviderError::Unavailable(says("has failed")),
        _ => ProviderError::Invalid(says("refuses the question")),
    })
}

/// As AWS' own clients know them.
pub(super) fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "ThrottlingException"
            | "Throttling"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "LimitExceededException"
            | "BandwidthLimitExceeded"
            | "PriorRequestNotComplete"
            | "SlowDown"
    )
}

pub(super) fn is_denial(code: &str) -> bool {
    matches!(
        code,
        "AccessDeniedException"
            | "AccessDenied"
            | "UnauthorizedOperation"
            | "NotAuthorized"
            | "OptInRequired"
    )
}

/// It says nothing of our keys that our clock is wrong: as it is where a machine has just begun.
fn is_of_clock(code: &str, message: &str) -> bool {
    let is_of_time =
        || ["Signature expired", "Signature not yet current"].iter().any(|it| message.starts_with(it));
    match code {
        "RequestExpired" | "RequestTimeTooSkewed" => true,
        "InvalidSignatureException" | "SignatureDoesNotMatch" => is_of_time(),
        _ => false,
    }
}

/// They may be good again if they are asked for anew.
pub(super) fn is_of_keys(code: &str) -> bool {
    matches!(
        code,
        "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "ExpiredTokenException"
            | "ExpiredToken"
            | "TokenRefreshRequired"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The control is a signature that is none.
    #[test]
    fn a_wrong_clock_is_no_refusal() {
        let judged = |code: &str, message: &str| of_code("aws", code, message);
        for (code, message) in [
            ("RequestExpired", ""),
            (
                "InvalidSignatureException",
                "Signature expired: 20261123T000000Z is now earlier than 20261123T001000Z",
            ),
            ("com.amazon#InvalidSignatureException", "Signature not yet current: 20261123T001000Z"),
        ] {
            assert!(matches!(judged(code, message), Refusal::Error(ProviderError::Unavailable(_))), "{code}");
        }
        let control = judged("InvalidSignatureException", "The request signature does not match");
        assert!(matches!(control, Refusal::Keys(_)));
    }
}
