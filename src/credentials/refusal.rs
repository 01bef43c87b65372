//! Why a credential is not given, and what to do about it: for the log, since its asker can only be
//! told that there is none. Uses the broker's errors.

use super::asked::{Asked, Stranger};
use crate::broker::{Error, Lack};
use crate::nearest::nearest;

/// What the log says.
#[derive(Debug)]
pub enum Refused {
    Stranger(Stranger),
    Ending,
    Asked { unit: String, name: String, problem: String, hint: Option<String> },
}

impl Refused {
    pub(super) fn unknown<'a>(asked: &Asked, known: impl Iterator<Item = &'a String> + Clone) -> Self {
        let hint = match nearest(&asked.name, known.map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("name its secret: `credentials: {{names: {{{}: SECRET}}}}`", asked.name),
        };
        Self::of(asked, "the config names no such credential".to_owned(), Some(hint))
    }

    pub(super) fn lacking(asked: &Asked, lack: Lack) -> Self {
        Self::of(asked, lack.problem, lack.hint)
    }

    pub(super) fn failed(asked: &Asked, error: Error) -> Self {
        let hint = match &error {
            Error::Denied(_) => {
                Some("`access:` of the credential, and `policy:`, say who may have it".to_owned())
            }
            _ => None,
        };
        Self::of(asked, error.to_string(), hint)
    }

    fn of(asked: &Asked, problem: String, hint: Option<String>) -> Self {
        Self::Asked { unit: asked.unit.clone(), name: asked.name.clone(), problem, hint }
    }

    /// The unit fails to start, and this says why.
    pub(super) fn log(&self) {
        match self {
            Self::Stranger(stranger) => tracing::warn!("credential_refused: {stranger}"),
            Self::Ending => tracing::warn!("credential_refused: the daemon ends; start the unit again"),
            Self::Asked { unit, name, problem, hint } => {
                let hint = hint.as_ref().map(|hint| format!(" (try: {hint})")).unwrap_or_default();
                tracing::warn!(unit, credential = name, "credential_refused: {problem}{hint}");
            }
        }
    }
}

impl From<Stranger> for Refused {
    fn from(stranger: Stranger) -> Self {
        Self::Stranger(stranger)
    }
}
