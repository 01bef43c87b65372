//! The types of secrets and the fields that each has. Pure; uses serde for the names.

use serde::{Deserialize, Serialize};

use super::FieldName;

/// What a secret is. The type says which fields there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretType {
    #[default]
    Plain,
    ApiKey,
    BasicAuth,
    Bearer,
    Oauth,
    ConnectionString,
    Webhook,
    Certificate,
    SshKey,
    /// Whatever fields its owner likes.
    Custom,
}

impl SecretType {
    /// Stores know them by their place in it: a new one comes last.
    pub const ALL: [Self; 10] = [
        Self::Plain,
        Self::ApiKey,
        Self::BasicAuth,
        Self::Bearer,
        Self::Oauth,
        Self::ConnectionString,
        Self::Webhook,
        Self::Certificate,
        Self::SshKey,
        Self::Custom,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::ApiKey => "api-key",
            Self::BasicAuth => "basic-auth",
            Self::Bearer => "bearer",
            Self::Oauth => "oauth",
            Self::ConnectionString => "connection-string",
            Self::Webhook => "webhook",
            Self::Certificate => "certificate",
            Self::SshKey => "ssh-key",
            Self::Custom => "custom",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Fields that a secret of this type must have.
    pub fn required(self) -> &'static [&'static str] {
        match self {
            Self::Plain | Self::ApiKey => &[FieldName::VALUE],
            Self::BasicAuth => &["username", "password"],
            Self::Bearer => &["token"],
            Self::Oauth => &["client_id", "client_secret"],
            Self::ConnectionString => &["url"],
            Self::Webhook => &["secret"],
            Self::Certificate => &["cert", "key"],
            Self::SshKey => &["private"],
            Self::Custom => &[],
        }
    }

    /// Fields that it may have besides.
    pub fn optional(self) -> &'static [&'static str] {
        match self {
            Self::Oauth => &["access_token", "refresh_token", "token_url", "expires_at"],
            Self::Certificate => &["chain"],
            Self::SshKey => &["public"],
            _ => &[],
        }
    }

    /// Whether everybody who may see the secret's name may see this field: it says whose the secret
    /// is, and lets nobody in.
    pub fn is_public(self, field: &str) -> bool {
        match self {
            Self::BasicAuth => field == "username",
            Self::Oauth => matches!(field, "client_id" | "token_url" | "expires_at"),
            Self::Certificate => matches!(field, "cert" | "chain"),
            Self::SshKey => field == "public",
            _ => false,
        }
    }

    /// Whether its fields are of use only together, in files of their own.
    pub fn is_pair(self) -> bool {
        matches!(self, Self::Certificate | Self::SshKey)
    }

    /// The field that a bare value goes to: the only required one.
    pub fn single_field(self) -> Option<&'static str> {
        match self.required() {
            [only] => Some(only),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_match_what_is_stored() {
        for kind in SecretType::ALL {
            assert_eq!(SecretType::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
    }

    #[test]
    fn fields_are_names() {
        for kind in SecretType::ALL {
            for field in kind.required().iter().chain(kind.optional()) {
                assert!(FieldName::parse(field).is_ok(), "{field}");
            }
        }
    }
}
