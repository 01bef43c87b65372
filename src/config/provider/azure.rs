//! An Azure Key Vault, judged: where it is, and as whom it is asked. Pure.

use super::auth;
use super::network::{Refused, transport};
use super::resource::AzureResource;
use super::source::SecretSource;
use super::words::Method;
use crate::config::base::Base;
use crate::config::metadata::Metadata;
use crate::config::raw::{self, Auth};
use crate::config::reaction::Argument;
use crate::config::transport::{Address, Transport};
use crate::config::word::Given;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureVault {
    pub transport: Transport,
    /// A version by its own name is refused: a rule on the secret would not hold for it.
    pub has_one_name: bool,
    pub identity: AzureIdentity,
    /// Whom a token is for; else the vault says it, and its host must be of that domain.
    pub resource: Option<AzureResource>,
    /// Who gives tokens to applications, if it is not the usual one.
    pub authority: Option<Address>,
    /// Where the machine is told about itself.
    pub metadata: Address,
}

/// As whom it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureIdentity {
    /// The first that there is; and the places of an application's secret and of the platform's, if that is who we are.
    Any {
        secret: SecretSource,
        header: SecretSource,
    },
    Managed {
        client_id: Option<String>,
        /// Of what the platform wants to see, if it is one that does.
        header: SecretSource,
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
const HEADER: &str = "IDENTITY_HEADER";

impl AzureVault {
    pub(super) fn asker(&self) -> Vec<String> {
        let words: Vec<&str> = match &self.identity {
            AzureIdentity::Any { .. } => vec!["any"],
            AzureIdentity::Managed { client_id, .. } => {
                vec!["managed", client_id.as_deref().unwrap_or_default()]
            }
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
            AzureIdentity::Any { secret, header } => vec![secret, header],
            AzureIdentity::Managed { header: source, .. }
            | AzureIdentity::Secret { secret: source, .. }
            | AzureIdentity::Certificate { certificate: source, .. } => vec![source],
            AzureIdentity::Workload { .. } | AzureIdentity::Cli => Vec::new(),
        }
    }
}

pub(super) fn judge(given: &mut raw::Provider, base: &Base<'_>) -> Result<AzureVault, Refused> {
    let mut auth = given.auth.take().unwrap_or_default();
    let transport = transport(given, base)?;
    let method = auth.method.0.take();
    let identity = identity(method, &mut auth, base)?;
    let resource = auth.resource.0.take().map(|it| resource(&it.0)).transpose()?;
    let has_authority = !matches!(identity, AzureIdentity::Managed { .. } | AzureIdentity::Cli);
    let authority = auth.authority.0.take_if(|_| has_authority);
    let has_machine = matches!(identity, AzureIdentity::Any { .. } | AzureIdentity::Managed { .. });
    let metadata = auth.metadata.0.take_if(|_| has_machine).unwrap_or_else(Metadata::usual).0;
    let who = match method {
        Some(method) => format!("the method {}", method.name()),
        None => "a login without a `method`".to_owned(),
    };
    auth::refuse_rest(&auth, &who)?;
    Ok(AzureVault { transport, has_one_name: false, identity, resource, authority, metadata })
}

/// Takes out what the method takes.
fn identity(method: Option<Method>, auth: &mut Auth, base: &Base<'_>) -> Result<AzureIdentity, Refused> {
    let variable = |name: &str| SecretSource::Variable(name.to_owned());
    let text = |given: &mut Given<Argument>| given.0.take().map(|it| it.0);
    Ok(match method {
        None => AzureIdentity::Any { secret: variable(SECRET), header: variable(HEADER) },
        Some(Method::ManagedIdentity) => {
            AzureIdentity::Managed { client_id: text(&mut auth.client_id), header: variable(HEADER) }
        }
        Some(Method::ClientSecret) => AzureIdentity::Secret {
            tenant: needed(&mut auth.tenant_id, "tenant_id")?.0,
            client_id: needed(&mut auth.client_id, "client_id")?.0,
            secret: needed(&mut auth.client_secret, "client_secret")?.under(base),
        },
        Some(Method::ClientCertificate) => AzureIdentity::Certificate {
            tenant: needed(&mut auth.tenant_id, "tenant_id")?.0,
            client_id: needed(&mut auth.client_id, "client_id")?.0,
            certificate: needed(&mut auth.certificate, "certificate")?.under(base),
        },
        Some(Method::WorkloadIdentity) => AzureIdentity::Workload {
            tenant: text(&mut auth.tenant_id),
            client_id: text(&mut auth.client_id),
        },
        Some(Method::Cli) => AzureIdentity::Cli,
        Some(other) => return Err(("auth", format!("azure-kv knows no method {}", other.name()))),
    })
}

fn needed<T>(given: &mut Given<T>, name: &str) -> Result<T, Refused> {
    given.0.take().ok_or_else(|| ("auth", format!("this method needs a `{name}`")))
}

fn resource(text: &str) -> Result<AzureResource, Refused> {
    let wrong = || ("auth", format!("`resource` is an address like https://vault.azure.net, not `{text}`"));
    AzureResource::read(text).ok_or_else(wrong)
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
        assert!(azure.resource.is_none() && !azure.has_one_name && azure.metadata.is_metadata());
        let header = SecretSource::Variable(HEADER.to_owned());
        assert_eq!(auth("method: managed-identity"), AzureIdentity::Managed { client_id: None, header });
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

    /// What gets a token for whoever has it.
    #[test]
    fn what_it_asks_with_is_for_no_child_of_ours() {
        let own = |auth: &str| {
            let azure = parse(&format!("{AT}, auth: {{{auth}}}"), "").unwrap();
            azure.secrets().into_iter().map(SecretSource::to_string).collect::<Vec<_>>()
        };
        assert_eq!(own(""), ["${AZURE_CLIENT_SECRET}", "${IDENTITY_HEADER}"]);
        assert_eq!(own("method: managed-identity"), ["${IDENTITY_HEADER}"]);
        assert!(own("method: cli").is_empty() && own("method: workload-identity").is_empty());
        assert_eq!(own(&format!("method: client-secret, {APP}, client_secret: '${{S}}'")), ["${S}"]);
    }

    #[test]
    fn what_does_not_fit_is_located() {
        for (settings, says) in [
            ("timeout: 1s", "https://host:8200"),
            ("address: 'http://app.vault.azure.net'", "in the clear"),
            ("address: 'https://v', auth: {tenant_id: t}", "without a `method` takes no `tenant_id`"),
            ("address: 'https://v', auth: {method: client-secret, tenant_id: t}", "needs a `client_id`"),
            ("address: 'https://v', auth: {method: client-certificate, client_id: c}", "needs a `tenant_id`"),
            ("address: 'https://v', auth: {method: approle}", "knows no method approle"),
            ("address: 'https://v', auth: {method: cli, role: r}", "takes no `role`"),
            ("address: 'https://v', auth: {method: cli, tenant_id: t}", "method cli takes no `tenant_id`"),
            ("address: 'https://v', auth: {method: managed-identity, tenant_id: t}", "takes no `tenant_id`"),
            (
                "address: 'https://v', auth: {method: managed-identity, authority: 'https://l'}",
                "no `authority`",
            ),
            (
                "address: 'https://v', auth: {method: workload-identity, metadata: 'http://127.0.0.1'}",
                "takes no `metadata`",
            ),
            ("address: 'https://v', auth: {resource: vault.azure.net}", "an address like https://"),
            ("address: 'https://v', auth: {method: cli, authority: 'http://login.example'}", "in the clear"),
            ("address: 'https://v', vault: x", "takes no `vault`"),
        ] {
            let said = parse(settings, "").unwrap_err().to_string();
            assert!(said.contains(says), "{settings}: {said}");
        }
    }
}
