//! Logins of machines in a cloud: for AWS a question to AWS that we sign and the Vault asks, for Azure a token of the
//! machine and where it stands. Uses `aws`, `azure` and `api`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::api::{Ask, Member};
use crate::config::{self, Address};
use crate::net::Route;
use crate::provider::aws::{KeySource, Keys, Scope, ToSign};
use crate::provider::azure::Machine;
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

pub(super) struct Azure {
    settings: config::Azure,
    machine: Machine,
}

/// What the Vault is to ask AWS: who has signed this.
const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const KIND: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// Where AWS is asked if no region is named.
const REGION: &str = "us-east-1";
const GLOBAL: &str = "sts.amazonaws.com";

impl Aws {
    /// `store` is where our own secrets may be.
    pub(super) fn new(settings: config::Aws, store: Option<Arc<dyn Provider>>) -> Self {
        let config::Aws { role, server_id, region, sts, keys, metadata } = settings;
        let host = sts.as_ref().map_or_else(|| host_of(region.as_deref()), Address::authority);
        let url = sts.map_or_else(|| format!("https://{host}/"), |sts| format!("{sts}/"));
        let keys = KeySource::new(keys, metadata, store);
        Self { role, server_id, region: region.unwrap_or_else(|| REGION.to_owned()), url, host, keys }
    }

    pub(super) async fn ask(&self, route: Route) -> Result<Ask, ProviderError> {
        let keys = self.keys.keys().await?;
        let headers = leftover::wiped(|| self.headers(&keys, Timestamp::now()));
        let ask = Ask::put(route)
            .with("iam_http_request_method", Member::Text("POST".to_owned()))
            .with("iam_request_url", Member::Text(STANDARD.encode(&self.url)))
            .with("iam_request_body", Member::Text(STANDARD.encode(BODY)))
            .with("iam_request_headers", Member::Secret(headers))
            .standing_for(keys.whole());
        Ok(with_role(ask, self.role.as_deref()))
    }

    /// The signed headers as a document, in base64: a session's token may be among them.
    fn headers(&self, keys: &Keys, at: Timestamp) -> SecretBytes {
        let scope = Scope { at, region: &self.region, service: "sts" };
        let moment = scope.moment();
        let mut headers: Vec<(&'static str, &[u8])> =
            vec![("content-type", KIND.as_bytes()), ("host", self.host.as_bytes())];
        headers.push(("x-amz-date", moment.as_bytes()));
        headers.extend(keys.session.as_ref().map(|token| ("x-amz-security-token", token.expose())));
        headers.extend(self.server_id.as_ref().map(|id| ("x-vault-aws-iam-server-id", id.as_bytes())));
        let authorization = ToSign { headers: &headers, body: BODY.as_bytes() }.authorization(keys, &scope);
        headers.push(("authorization", authorization.as_bytes()));
        let size: usize = headers.iter().map(|(name, value)| name.len() + 6 * value.len() + 10).sum();
        let mut document = Zeroizing::new(Vec::with_capacity(size));
        for (index, (name, value)) in headers.iter().enumerate() {
            document.extend_from_slice(if index == 0 { b"{\"" } else { b",\"" });
            document.extend_from_slice(name.as_bytes());
            document.extend_from_slice(b"\":[");
            let text = String::from_utf8_lossy(value);
            serde_json::to_writer(&mut *document, &*text).expect("a text can be written into memory");
            document.push(b']');
        }
        document.push(b'}');
        let mut encoded = vec![0; base64::encoded_len(document.len(), true).expect("it is short")];
        STANDARD.encode_slice(&*document, &mut encoded).expect("as long as it says");
        SecretBytes::new(encoded)
    }
}

/// STS of a region, which has a name of its own.
fn host_of(region: Option<&str>) -> String {
    match region {
        None => GLOBAL.to_owned(),
        Some(region) if region.starts_with("cn-") => format!("sts.{region}.amazonaws.com.cn"),
        Some(region) => format!("sts.{region}.amazonaws.com"),
    }
}

impl Azure {
    pub(super) fn new(settings: config::Azure) -> Self {
        Self { machine: Machine::new(settings.metadata.clone()), settings }
    }

    pub(super) async fn ask(&self, route: Route) -> Result<Ask, ProviderError> {
        let config::Azure { role, resource, client_id, .. } = &self.settings;
        let jwt = self.machine.token(resource, client_id.as_deref()).await?.secret;
        let instance = self.machine.instance().await?;
        // A machine may be told another token each time. In one line: none of it is a secret.
        let as_whom =
            format!("a machine as {role} {} for {resource}", client_id.as_deref().unwrap_or_default());
        let ask = Ask::put(route)
            .standing_for(SecretBytes::copy_of(as_whom.as_bytes()))
            .with("jwt", Member::Secret(jwt))
            .with("subscription_id", Member::Text(instance.subscription))
            .with("resource_group_name", Member::Text(instance.group))
            .with("vm_name", Member::Text(instance.name));
        let scale_set = instance.scale_set.into_iter();
        let ask = scale_set.fold(ask, |ask, name| ask.with("vmss_name", Member::Text(name)));
        Ok(with_role(ask, Some(role)))
    }
}

fn with_role(ask: Ask, role: Option<&str>) -> Ask {
    role.into_iter().fold(ask, |ask, role| ask.with("role", Member::Text(role.to_owned())))
}
