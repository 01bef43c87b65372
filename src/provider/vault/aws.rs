//! Login by AWS: a question to it that we sign and the Vault asks. Uses `aws` and `api`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::api::{Ask, Member};
use super::cloud::with_role;
use crate::config::{self, Address, Tls};
use crate::net::Route;
use crate::provider::aws::{KeySource, Scope, ToSign, host_of};
use crate::provider::{Provider, ProviderError};
use crate::secret::SecretBytes;
use crate::sys::leftover;

pub(super) struct Aws {
    role: Option<String>,
    server_id: Option<String>,
    region: String,
    url: String,
    host: String,
    keys: KeySource,
}

/// What the Vault is to ask AWS: who has signed this.
const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const KIND: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// Where AWS is asked if no region is named.
const REGION: &str = "us-east-1";
const GLOBAL: &str = "sts.amazonaws.com";
const SERVER_ID: &str = "x-vault-aws-iam-server-id";
/// For each question on the way to the keys.
const PATIENCE: Duration = Duration::from_secs(4);

impl Aws {
    /// `store` is where our own secrets may be.
    pub(super) fn new(settings: config::Aws, store: Option<Arc<dyn Provider>>) -> Self {
        let config::Aws { role, server_id, region, sts, identity } = settings;
        let host = sts.as_ref().map_or_else(|| sts_of(region.as_deref()), Address::authority);
        let url = sts.map_or_else(|| format!("https://{host}/"), |sts| format!("{sts}/"));
        let region = region.unwrap_or_else(|| REGION.to_owned());
        let keys = KeySource::new(identity, Some(region.clone()), Tls::default(), PATIENCE, store);
        Self { role, server_id, region, url, host, keys }
    }

    pub(super) async fn ask(&self, route: Route) -> Result<Ask, ProviderError> {
        let keys = self.keys.keys().await?;
        let headers = leftover::wiped(|| self.headers(&keys, SystemTime::now()))?;
        let ask = Ask::put(route)
            .with("iam_http_request_method", Member::Text("POST".to_owned()))
            .with("iam_request_url", Member::Text(STANDARD.encode(&self.url)))
            .with("iam_request_body", Member::Text(STANDARD.encode(BODY)))
            .with("iam_request_headers", Member::Secret(headers))
            .standing_for(whole(&keys));
        Ok(with_role(ask, self.role.as_deref()))
    }

    /// The signed headers as a document, in base64: a session's token may be among them.
    fn headers(&self, keys: &Credentials, at: SystemTime) -> Result<SecretBytes, ProviderError> {
        let mut headers = vec![("content-type", KIND)];
        headers.extend(self.server_id.as_ref().map(|id| (SERVER_ID, &**id)));
        let scope = Scope { at, region: &self.region, service: "sts" };
        let to_sign = ToSign { url: &self.url, headers: &headers, body: BODY.as_bytes() };
        let signed = to_sign.signed(keys, &scope)?;
        headers.push(("host", &self.host));
        let signed = signed.iter().map(|(name, value)| (*name, String::from_utf8_lossy(value.expose())));
        let all = headers.iter().map(|(name, value)| (*name, (*value).into())).chain(signed);
        let document: serde_json::Map<_, _> =
            all.map(|(name, value)| (name.to_owned(), vec![value.into_owned()].into())).collect();
        let document = Zeroizing::new(serde_json::to_vec(&document).expect("texts can be written"));
        Ok(SecretBytes::new(STANDARD.encode(&*document).into_bytes()))
    }
}

/// All of them, to be compared.
fn whole(keys: &Credentials) -> SecretBytes {
    let session = keys.session_token().unwrap_or_default();
    SecretBytes::new([keys.access_key_id(), keys.secret_access_key(), session].join("\n").into_bytes())
}

/// STS of a region, which has a name of its own.
fn sts_of(region: Option<&str>) -> String {
    region.map_or_else(|| GLOBAL.to_owned(), |region| host_of("sts", region))
}
