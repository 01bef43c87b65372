//! What it means that a key vault does not give what it is asked for, by the codes of its errors; its own words may say
//! more than they should. Uses `net`.

use crate::net::{Json, Response};
use crate::provider::remote::wordless;
use crate::provider::{ProviderError, refusal};

/// Why there is no answer.
pub(super) enum Refusal {
    Error(ProviderError),
    /// There is no such secret, or no such version of it.
    Missing,
    Disabled,
    /// Who we are is known, and has not the right.
    NoRight,
}

impl<E: Into<ProviderError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Refusal {
    pub(super) fn of(who: &str, response: &Response) -> Self {
        let status = response.status();
        let Some((code, inner)) = codes(response) else {
            // Only the vault itself can refuse us; what stands before it cannot.
            return Self::Error(wordless(who, response));
        };
        match (status, &*code, inner.as_deref()) {
            (404, "SecretNotFound" | "SecretVersionNotFound", _) => Self::Missing,
            (403, _, Some("SecretDisabled")) => Self::Disabled,
            (403, _, Some("ForbiddenByFirewall" | "ForbiddenByConnection")) => {
                Self::Error(ProviderError::Denied(format!(
                    "{who} does not let this machine in: its firewall or network rules forbid it (403)"
                )))
            }
            (403, ..) => Self::NoRight,
            (400, ..) => Self::Error(ProviderError::Invalid(format!(
                "{who} does not understand the question (400, {})",
                word(&code)
            ))),
            _ => Self::Error(refusal(who, response)),
        }
    }

    /// For who expects an answer and nothing else.
    pub(super) fn error(self, who: &str) -> ProviderError {
        match self {
            Self::Error(error) => error,
            Self::Missing => {
                ProviderError::Invalid(format!("{who} knows nothing of what it was asked (404)"))
            }
            Self::Disabled => ProviderError::Denied(format!("{who} has that disabled")),
            Self::NoRight => ProviderError::Denied(format!(
                "{who} gives us no right to this: the role `Key Vault Secrets User`, or an access policy with get and \
                 list, does"
            )),
        }
    }
}

/// The code of the error, and that of the one within.
fn codes(response: &Response) -> Option<(String, Option<String>)> {
    let error = response.json().ok()?.at(&["error"]).ok()?;
    let code = error.at(&["code"]).and_then(Json::text).ok()?;
    let inner = error.get("innererror").ok()?.and_then(|inner| inner.at(&["code"]).and_then(Json::text).ok());
    Some((code, inner))
}

/// What is no code is not told.
fn word(code: &str) -> &str {
    let is_word = code.len() <= 40 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    if is_word { code } else { "an error" }
}
