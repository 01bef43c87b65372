//! Who we are for a Vault in a cloud: the keys of AWS, and the managed identity of Azure, judged. Pure.

use super::aws::{AwsIdentity, AwsKeyPair};
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
    pub identity: AwsIdentity,
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

const RESOURCE: &str = "https://management.azure.com/";

/// Takes out what the method takes. `Err` says what it needs.
pub(super) fn aws(auth: &mut Auth, role: Option<String>, base: &Base<'_>) -> Result<Aws, &'static str> {
    let keys = AwsKeyPair::taken(auth, base)
        .map_err(|_| "an `access_key_id` and a `secret_access_key`, or neither")?;
    let metadata = auth.metadata.0.take().map(|it| it.0);
    if keys.is_some() && metadata.is_some() {
        return Err("no `metadata` beside an `access_key_id`");
    }
    let text = |it: Option<crate::config::reaction::Argument>| it.map(|it| it.0).filter(|it| !it.is_empty());
    Ok(Aws {
        role,
        server_id: text(auth.server_id.0.take()),
        region: auth.region.0.take().map(|region| region.0),
        sts: auth.sts_endpoint.0.take(),
        identity: AwsIdentity { keys, metadata, ..AwsIdentity::default() },
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
