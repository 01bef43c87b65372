//! All that an edge can see of a failure: a class that decides errno and exit status, and a text
//! that holds no value. Uses the error types of rules and services.

use crate::audit::AuditError;
use crate::policy::Denial;
use crate::provider::ProviderError;
use crate::resolver::ResolveError;
use crate::secret::Reference;
use crate::template::{Kind, TemplateError};

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("denied by {}", .0.reason)]
    Denied(Denial),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("{template}:{line}:{column}: env.{name} is not allowed here; list it under `env:` in the config")]
    Environment { template: String, line: u32, column: u32, name: String },
    /// The template's file cannot be used as it is.
    #[error("{0}")]
    Source(String),
    /// The template's file could not be read, for now.
    #[error("{0}")]
    Disk(String),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// It cannot be written down, and so is not given away.
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
    /// A fault of ours.
    #[error("{0}")]
    Internal(&'static str),
}

/// What kind of failure it is: one row each in the errno table and in the exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Denied,
    /// A secret is missing, or nothing can be read without a key.
    NoKey,
    Expired,
    Revoked,
    Tampered,
    Timeout,
    TooLarge,
    Failed,
}

impl Class {
    /// As figures and logs call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NoKey => "no_key",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Tampered => "tampered",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Failed => "failed",
        }
    }
}

impl Error {
    pub fn class(&self) -> Class {
        match self {
            Self::Denied(_) | Self::Source(_) => Class::Denied,
            Self::Template(error) => match error.kind {
                Kind::Missing(_) => Class::NoKey,
                Kind::Expired(_) => Class::Expired,
                Kind::Revoked(_) => Class::Revoked,
                Kind::TooLarge => Class::TooLarge,
                _ => Class::Failed,
            },
            Self::Resolve(ResolveError::Provider { error, .. }) => match error {
                ProviderError::Sealed(_) => Class::NoKey,
                ProviderError::Corrupt(_) => Class::Tampered,
                ProviderError::Timeout(_) => Class::Timeout,
                ProviderError::Unavailable(_)
                | ProviderError::Unreachable(_)
                | ProviderError::Paused(_)
                | ProviderError::Invalid(_)
                | ProviderError::TooLarge(_)
                | ProviderError::Untrusted(_)
                | ProviderError::Denied(_)
                | ProviderError::Throttled { .. } => Class::Failed,
            },
            Self::Timeout(_) => Class::Timeout,
            Self::Environment { .. }
            | Self::Disk(_)
            | Self::Resolve(_)
            | Self::Audit(_)
            | Self::Internal(_) => Class::Failed,
        }
    }

    /// The reference that a template could not do without.
    pub fn missing(&self) -> Option<&Reference> {
        match self {
            Self::Template(TemplateError { kind: Kind::Missing(reference), .. }) => Some(reference),
            _ => None,
        }
    }
}
