//! Who we are for a Vault in a cloud: the keys of AWS, and the managed identity of Azure, judged. Pure.

use super::source::{SecretSource, TextSource};
use crate::config::base::Base;
use crate::config::metadata::Metadata;
use crate::config::raw::Auth;
use crate::config::transport::Address;

/// By a request to AWS that we sign and the Vault sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aws {
    pub role: Option<String>,
    /// What the Vault calls itself, so that the request is good for no other one.
    pub server_id: Option<String>,
    pub region: Option<String>,
    /// Where the Vault is to send it, if that is not where AWS is asked in that region.
    pub sts: Option<Address>,
    pub keys: AwsKeys,
    /// Keys that are not given may be the machine's: where it is told them.
    pub metadata: Option<Address>,
}

/// The keys of a user or of a role that somebody has taken on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKeys {
    pub id: TextSource,
    pub secret: SecretSource,
    pub session: Option<SecretSource>,
}

/// By a token of the machine's managed identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Azure {
    pub role: String,
    pub resource: String,
    /// Which identity, if the machine has several.
    pub client_id: Option<String>,
    pub metadata: Address,
}

pub(super) const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
const RESOURCE: &str = "https://management.azure.com/";

impl AwsKeys {
    /// Where every program of AWS looks.
    fn usual() -> Self {
        let variable = |name: &str| SecretSource::Variable(name.to_owned());
        Self {
            id: TextSource::From(variable(ACCESS_KEY_ID)),
            secret: variable(SECRET_ACCESS_KEY),
            session: Some(variable(SESSION_TOKEN)),
        }
    }

    pub(super) fn secrets(&self) -> Vec<&SecretSource> {
        let id = match &self.id {
            TextSource::From(source) => Some(source),
            TextSource::Text(_) => None,
        };
        id.into_iter().chain([&self.secret]).chain(&self.session).collect()
    }
}

/// Takes out what the method takes. `Err` says what it needs.
pub(super) fn aws(auth: &mut Auth, role: Option<String>, base: &Base<'_>) -> Result<Aws, &'static str> {
    let (id, secret) = (auth.access_key_id.0.take(), auth.secret_access_key.0.take());
    let session = auth.session_token.0.take();
    let metadata = auth.metadata.0.take();
    let (keys, metadata) = match (id, secret) {
        (Some(id), Some(secret)) if metadata.is_none() => {
            let session = session.map(|it| it.under(base));
            (AwsKeys { id: id.under(base), secret: secret.under(base), session }, None)
        }
        (Some(_), Some(_)) => return Err("no `metadata` beside an `access_key_id`"),
        (None, None) if session.is_none() => {
            (AwsKeys::usual(), Some(metadata.unwrap_or_else(Metadata::usual).0))
        }
        _ => return Err("an `access_key_id` and a `secret_access_key`, or neither"),
    };
    let text = |it: Option<crate::config::reaction::Argument>| it.map(|it| it.0).filter(|it| !it.is_empty());
    Ok(Aws {
        role,
        server_id: text(auth.server_id.0.take()),
        region: auth.region.0.take().map(|region| region.0),
        sts: auth.sts_endpoint.0.take(),
        keys,
        metadata,
    })
}

pub(super) fn azure(auth: &mut Auth, role: Option<String>) -> Result<Azure, &'static str> {
    let Some(role) = role else { return Err("a `role`") };
    Ok(Azure {
        role,
        resource: auth.resource.0.take().map_or_else(|| RESOURCE.to_owned(), |it| it.0),
        client_id: auth.client_id.0.take().map(|it| it.0),
        metadata: auth.metadata.0.take().unwrap_or_else(Metadata::usual).0,
    })
}
