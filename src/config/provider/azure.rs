//! An Azure Key Vault, judged: where it is, and as whom it is asked. Pure.

use super::auth;
use super::network::{Refused, transport};
use super::source::SecretSource;
use super::words::Method;
use crate::config::base::Base;
use crate::config::metadata::Metadata;
use crate::config::raw;
use crate::config::transport::{Address, Transport};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureVault {
    pub transport: Transport,
    /// Who wants our token must be of the vault's domain.
    pub verifies_challenge: bool,
    /// A version by its own name is refused: a rule on the secret would not hold for it.
    pub has_one_name: bool,
    pub identity: AzureIdentity,
    pub authority: Option<Address>,
    /// Where the machine is told about itself.
    pub metadata: Address,
}

/// As whom it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureIdentity {
    /// The first that there is; the place of an application's secret, if that is who we are.
    Any {
        secret: SecretSource,
    },
    Managed {
        client_id: Option<String>,
    },
    Secret {
        tenant: String,
        client_id: String,
        secret: SecretSource,
    },
    Certificate {
        tenant: String,
        client_id: String,
        certificate: SecretSource,
    },
    /// What is not said is in the variables that the webhook of workload identity sets.
    Workload {
        tenant: Option<String>,
        client_id: Option<String>,
    },
    Cli,
}

const SECRET: &str = "AZURE_CLIENT_SECRET";

impl AzureVault {
    pub(super) fn asker(&self) -> Vec<String> {
        let words: Vec<&str> = match &self.identity {
            AzureIdentity::Any { .. } => vec!["any"],
            AzureIdentity::Managed { client_id } => vec!["managed", client_id.as_deref().unwrap_or_default()],
            AzureIdentity::Secret { tenant, client_id, .. } => vec!["secret", tenant, client_id],
            AzureIdentity::Certificate { tenant, client_id, .. } => vec!["certificate", tenant, client_id],
            AzureIdentity::Workload { tenant, client_id } => {
                let [tenant, client_id] = [tenant, client_id].map(|it| it.as_deref().unwrap_or_default());
                vec!["workload", tenant, client_id]
            }
            AzureIdentity::Cli => vec!["cli"],
        };
        words.into_iter().map(str::to_owned).collect()
    }

    pub(super) fn secrets(&self) -> Vec<&SecretSource> {
        match &self.identity {
            AzureIdentity::Any { secret: source }
            | AzureIdentity::Secret { secret: source, .. }
            | AzureIdentity::Certificate { certificate: source, .. } => vec![source],
            _ => Vec::new(),
        }
    }
}

pub(super) fn judge(given: &mut raw::Provider, base: &Base<'_>) -> Result<AzureVault, Refused> {
    let mut auth = given.auth.take().unwrap_or_default();
    let transport = transport(given, base)?;
    let method = auth.method.0.take();
    let plain = |it: Option<crate::config::reaction::Argument>| it.map(|it| it.0);
    let (tenant, client_id) = (plain(auth.tenant_id.0.take()), plain(auth.client_id.0.take()));
    let needs = |what: &str| {
        let name = method.map_or("", Method::name);
        Err(("auth", format!("the method {name} needs {what}")))
    };
    let identity = match method {
        None if tenant.is_none() && client_id.is_none() => {
            AzureIdentity::Any { secret: SecretSource::Variable(SECRET.to_owned()) }
        }
        None => return Err(("auth", "it needs its `method`".to_owned())),
        Some(Method::ManagedIdentity) => AzureIdentity::Managed { client_id },
        Some(Method::ClientSecret) => match (tenant, client_id, auth.client_secret.0.take()) {
            (Some(tenant), Some(client_id), Some(secret)) => {
                AzureIdentity::Secret { tenant, client_id, secret: secret.under(base) }
            }
            _ => return needs("a `tenant_id`, a `client_id` and a `client_secret`"),
        },
        Some(Method::ClientCertificate) => match (tenant, client_id, auth.certificate.0.take()) {
            (Some(tenant), Some(client_id), Some(it)) => {
                AzureIdentity::Certificate { tenant, client_id, certificate: it.under(base) }
            }
            _ => return needs("a `tenant_id`, a `client_id` and a `certificate`"),
        },
        Some(Method::WorkloadIdentity) => AzureIdentity::Workload { tenant, client_id },
        Some(Method::Cli) => AzureIdentity::Cli,
        Some(other) => return Err(("auth", format!("azure-kv knows no method {}", other.name()))),
    };
    let authority = auth.authority.0.take();
    let metadata = auth.metadata.0.take().unwrap_or_else(Metadata::usual).0;
    auth::refuse_rest(&auth, "a provider of this type")?;
    let verifies_challenge = given.verify_challenge.0.take().unwrap_or(true);
    Ok(AzureVault { transport, verifies_challenge, has_one_name: false, identity, authority, metadata })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, ConfigError, ProviderConfig, RemoteSource};

    fn parse(settings: &str, rest: &str) -> Result<AzureVault, ConfigError> {
        let text = format!("providers:\n  p: {{type: azure-kv, {settings}}}\n{rest}");
        let config = Config::parse(Path::new("/etc/secretfs/config.yaml"), &text)?;
        let ProviderConfig::Remote(remote) = &config.providers["p"] else { panic!() };
        let RemoteSource::Azure(azure) = &remote.source else { panic!() };
        Ok((**azure).clone())
    }

    const AT: &str = "address: 'https://app.vault.azure.net'";
    const APP: &str = "tenant_id: t, client_id: c";

    #[test]
    fn who_asks_is_said_or_found() {
        let auth = |auth: &str| parse(&format!("{AT}, auth: {{{auth}}}"), "").unwrap().identity;
        let azure = parse(AT, "").unwrap();
        assert_eq!(azure.secrets(), [&SecretSource::Variable(SECRET.to_owned())], "no child of ours gets it");
        assert!(azure.verifies_challenge && !azure.has_one_name && azure.metadata.is_metadata());
        assert_eq!(auth("method: managed-identity"), AzureIdentity::Managed { client_id: None });
        assert_eq!(auth("method: cli"), AzureIdentity::Cli);
        let secret = auth(&format!("method: client-secret, {APP}, client_secret: '${{S}}'"));
        let (tenant, client_id) = ("t".to_owned(), "c".to_owned());
        let source = SecretSource::Variable("S".to_owned());
        assert_eq!(secret, AzureIdentity::Secret { tenant, client_id, secret: source });
        let certificate = auth(&format!("method: client-certificate, {APP}, certificate: 'file:app.pem'"));
        let AzureIdentity::Certificate { certificate, .. } = certificate else { panic!() };
        assert_eq!(certificate, SecretSource::File("/etc/secretfs/app.pem".into()));
        let rule = "policy: [{secrets: [a], deny: anyone}]\n";
        assert!(parse(AT, rule).unwrap().has_one_name);
    }

    #[test]
    fn what_does_not_fit_is_located() {
        for (settings, says) in [
            ("timeout: 1s", "https://host:8200"),
            ("address: 'http://app.vault.azure.net'", "in the clear"),
            ("address: 'https://v', auth: {tenant_id: t}", "needs its `method`"),
            (
                "address: 'https://v', auth: {method: client-secret, tenant_id: t}",
                "needs a `tenant_id`, a `client_id`",
            ),
            ("address: 'https://v', auth: {method: approle}", "knows no method approle"),
            ("address: 'https://v', auth: {method: cli, role: r}", "takes no `role`"),
            ("address: 'https://v', auth: {method: cli, authority: 'http://login.example'}", "in the clear"),
            ("address: 'https://v', vault: x", "takes no `vault`"),
        ] {
            let said = parse(settings, "").unwrap_err().to_string();
            assert!(said.contains(says), "{settings}: {said}");
        }
    }
}
