//! A provider's settings in words, as they are in force. Uses the words of `config`.

use std::time::Duration;

use super::default;
use crate::cli::report::Failure;
use crate::cli::{Common, output};
use crate::config::{
    Address, AwsIdentity, AwsSecrets, AwsService, AzureIdentity, Cluster, Config, GcpIdentity, Keeping,
    Kubernetes, Limits, Login, ProviderConfig, Remote, RemoteSource, Tls, TlsVersion,
};

pub(super) fn kind(kind: &ProviderConfig) -> &'static str {
    match kind {
        ProviderConfig::Store => "store",
        ProviderConfig::Env { .. } => "env",
        ProviderConfig::Several(_) => "multi",
        ProviderConfig::Remote(remote) => match remote.source {
            RemoteSource::Exec(_) => "exec",
            RemoteSource::File(_) => "file",
            RemoteSource::Vault(_) => "vault",
            RemoteSource::Etcd(_) => "etcd",
            RemoteSource::Aws(ref aws) => match aws.service {
                AwsService::SecretsManager => "aws-sm",
                AwsService::Parameters => "aws-ssm",
            },
            RemoteSource::Azure(_) => "azure-kv",
            RemoteSource::Gcp(_) => "gcp-sm",
            RemoteSource::OnePassword(_) => "1password",
            RemoteSource::Kubernetes(_) => "kubernetes",
        },
    }
}

/// Where it is, in one word or a few.
pub(super) fn place(config: &Config, kind: &ProviderConfig) -> String {
    match kind {
        ProviderConfig::Store => {
            let path = config.store.path.as_deref();
            path.map_or_else(|| "./.secretfs".to_owned(), |path| path.display().to_string())
        }
        ProviderConfig::Env { prefix } if prefix.is_empty() => "the environment".to_owned(),
        ProviderConfig::Env { prefix } => format!("the environment, {prefix}*"),
        ProviderConfig::Several(several) => several.of.join(", "),
        ProviderConfig::Remote(remote) => match &remote.source {
            RemoteSource::Exec(program) => program.command.join(" "),
            RemoteSource::File(document) => document.path.display().to_string(),
            RemoteSource::Vault(vault) => url(&vault.transport.address),
            RemoteSource::Etcd(etcd) => url(&etcd.transport.address),
            RemoteSource::Aws(aws) => match (&aws.endpoint, &aws.region) {
                (Some(transport), _) => url(&transport.address),
                (None, Some(region)) => region.clone(),
                (None, None) => "the usual region".to_owned(),
            },
            RemoteSource::Azure(azure) => url(&azure.transport.address),
            RemoteSource::Gcp(gcp) => format!("project {} at {}", gcp.project, url(&gcp.transport.address)),
            RemoteSource::OnePassword(connect) => url(&connect.transport.address),
            RemoteSource::Kubernetes(kubernetes) => match &kubernetes.cluster {
                Cluster::Around => "the cluster that we are in".to_owned(),
                Cluster::Kubeconfig { path, .. } => path.display().to_string(),
                Cluster::At { transport, .. } => url(&transport.address),
            },
        },
    }
}

fn url(address: &Address) -> String {
    let scheme = if address.is_tls { "https" } else { "http" };
    format!("{scheme}://{}{}", address.authority(), address.prefix)
}

/// What is set, line by line: also what was left to us.
fn settings(config: &Config, provider: &ProviderConfig) -> Vec<(&'static str, String)> {
    let mut lines = vec![("type", kind(provider).to_owned()), ("place", place(config, provider))];
    match provider {
        ProviderConfig::Several(several) => lines.push(("strategy", several.strategy.name().to_owned())),
        ProviderConfig::Remote(remote) => {
            lines.extend(own(remote));
            lines.extend(limits(&remote.limits));
            lines.extend(keeping(&remote.keeping));
        }
        ProviderConfig::Store | ProviderConfig::Env { .. } => {}
    }
    lines
}

fn own(remote: &Remote) -> Vec<(&'static str, String)> {
    match &remote.source {
        RemoteSource::Exec(program) => vec![
            ("prints", if program.prints_json { "an object of fields" } else { "a value" }.to_owned()),
            (
                "not_found_status",
                match program.not_found_status {
                    Some(status) => status.to_string(),
                    None => "none".to_owned(),
                },
            ),
            ("protocol", if program.is_of_summon { "summon" } else { "own" }.to_owned()),
        ],
        RemoteSource::File(document) => {
            document.identity.iter().map(|from| ("age", format!("identity from {from}"))).collect()
        }
        RemoteSource::Vault(vault) => {
            let mut lines = tls(&vault.transport.tls, vault.transport.address.is_tls);
            lines.extend(vault.namespace.iter().map(|it| ("namespace", it.clone())));
            lines.push(("login", login(&vault.login)));
            lines.push(("mount", format!("auth/{}", vault.mount)));
            lines.extend(vault.writes.keys().map(|path| ("writes", path.clone())));
            if vault.revokes {
                lines.push(("revoke", "certificates, at the end".to_owned()));
            }
            lines.push(("give_back_after", time(vault.give_back_after)));
            lines
        }
        RemoteSource::Etcd(etcd) => {
            let mut lines = tls(&etcd.transport.tls, etcd.transport.address.is_tls);
            if !etcd.prefix.is_empty() {
                lines.push(("prefix", etcd.prefix.clone()));
            }
            lines.extend(
                etcd.user.iter().map(|(name, from)| ("login", format!("{name}, password from {from}"))),
            );
            lines
        }
        RemoteSource::Azure(azure) => {
            let mut lines = tls(&azure.transport.tls, azure.transport.address.is_tls);
            lines.push(("login", azure_login(&azure.identity)));
            lines.extend(azure.authority.iter().map(|it| ("authority", url(it))));
            lines.extend(azure.resource.iter().map(|it| ("resource", it.to_string())));
            lines
        }
        RemoteSource::OnePassword(connect) => {
            let mut lines = tls(&connect.transport.tls, connect.transport.address.is_tls);
            lines.push(("login", format!("token from {}", connect.token)));
            lines.extend(connect.vault.iter().map(|it| ("vault", it.clone())));
            lines
        }
        RemoteSource::Gcp(gcp) => {
            let mut lines = tls(&gcp.transport.tls, gcp.transport.address.is_tls);
            lines.extend(gcp.location.iter().map(|it| ("location", it.clone())));
            lines.push(("login", gcp_login(&gcp.identity)));
            lines
        }
        RemoteSource::Aws(aws) => of_aws(aws),
        RemoteSource::Kubernetes(kubernetes) => cluster(kubernetes),
    }
}

fn of_aws(aws: &AwsSecrets) -> Vec<(&'static str, String)> {
    let mut lines = match &aws.endpoint {
        Some(endpoint) => tls(&endpoint.tls, endpoint.address.is_tls),
        None => Vec::new(),
    };
    let AwsIdentity { keys, profile, role, .. } = &aws.identity;
    let region = aws.region.clone().unwrap_or_else(|| "of AWS_REGION, the profile or the machine".to_owned());
    lines.push(("region", region));
    lines.extend(aws.account.clone().map(|account| ("account", account)));
    lines.extend((!aws.prefix.is_empty()).then(|| ("prefix", aws.prefix.clone())));
    let login = match (keys, profile) {
        (Some(keys), _) => format!("key from {}", keys.secret),
        (None, Some(profile)) => format!("profile {profile}"),
        (None, None) => "where all programs of AWS look".to_owned(),
    };
    lines.push(("login", format!("{login}{}", as_role(role))));
    lines
}

fn gcp_login(identity: &GcpIdentity) -> String {
    match identity {
        GcpIdentity::Key(from) => format!("credentials from {from}"),
        GcpIdentity::Default { .. } => "what gcloud has left, or else the machine's".to_owned(),
        GcpIdentity::Machine { .. } => "the machine's service account".to_owned(),
    }
}

fn cluster(kubernetes: &Kubernetes) -> Vec<(&'static str, String)> {
    let (mut lines, usual) = match &kubernetes.cluster {
        Cluster::Around => (vec![("login", "the service account of the pod".to_owned())], "that of the pod"),
        Cluster::Kubeconfig { context, .. } => {
            let context = context.clone().unwrap_or_else(|| "the current one".to_owned());
            (vec![("context", context)], "that of the context")
        }
        Cluster::At { transport, token } => {
            let mut lines = tls(&transport.tls, transport.address.is_tls);
            lines.extend(token.iter().map(|from| ("login", format!("token from {from}"))));
            (lines, "default")
        }
    };
    lines.push(("namespace", kubernetes.namespace.clone().unwrap_or_else(|| usual.to_owned())));
    lines
}

fn login(login: &Login) -> String {
    match login {
        Login::Token(from) => format!("token from {from}"),
        Login::AppRole { secret_id, is_wrapped, .. } => {
            let wrapped = if *is_wrapped { "wrapped " } else { "" };
            format!("approle, {wrapped}secret id from {secret_id}")
        }
        Login::Jwt { role, jwt } => format!("role {role}, token from {jwt}"),
        Login::UserPass { username, password } => format!("user {username}, password from {password}"),
        Login::Cert { role } => format!("certificate of the connection{}", as_role(role)),
        Login::Aws(aws) => {
            let machine = aws.metadata.as_ref().map_or("", |_| ", or the machine's");
            format!("aws, key from {}{machine}{}", aws.keys.secret, as_role(&aws.role))
        }
        Login::Azure(azure) => {
            format!("azure, the machine's token from {}, role {}", azure.metadata, azure.role)
        }
    }
}

fn azure_login(identity: &AzureIdentity) -> String {
    match identity {
        AzureIdentity::Any { .. } => "the first that the environment says, or else the machine's".to_owned(),
        AzureIdentity::Managed { client_id, .. } => {
            format!("managed identity {}", client_id.as_deref().unwrap_or("of the machine"))
        }
        AzureIdentity::Secret { client_id, secret, .. } => {
            format!("application {client_id}, secret from {secret}")
        }
        AzureIdentity::Certificate { client_id, certificate, .. } => {
            format!("application {client_id}, certificate from {certificate}")
        }
        AzureIdentity::Workload { .. } => "workload identity, by the token of the cluster".to_owned(),
        AzureIdentity::Cli => "whoever has logged in with az".to_owned(),
    }
}

fn as_role(role: &Option<String>) -> String {
    role.as_ref().map_or_else(String::new, |role| format!(", role {role}"))
}

fn tls(tls: &Tls, is_tls: bool) -> Vec<(&'static str, String)> {
    if !is_tls {
        return vec![("tls", "none: it is on this machine".to_owned())];
    }
    let min = match tls.min {
        TlsVersion::Tls12 => "1.2 and up",
        TlsVersion::Tls13 => "1.3 and up",
    };
    let mut lines = vec![("tls", min.to_owned())];
    lines.extend(tls.ca.iter().map(|path| ("tls.ca", path.display().to_string())));
    if !tls.pins.is_empty() {
        lines.push(("tls.pins", tls.pins.len().to_string()));
    }
    lines.extend(tls.identity.iter().map(|it| ("tls.cert", it.cert.display().to_string())));
    lines
}

fn limits(limits: &Limits) -> Vec<(&'static str, String)> {
    let mut lines = vec![("timeout", time(limits.timeout)), ("concurrency", limits.concurrency.to_string())];
    lines.extend(limits.per_second.map(|count| ("requests_per_second", count.to_string())));
    lines.extend(limits.batch.map(|count| ("batch_size", count.to_string())));
    lines
}

fn keeping(keeping: &Keeping) -> Vec<(&'static str, String)> {
    let stale = keeping.max_stale.map_or_else(|| "off".to_owned(), time);
    let mut lines = vec![
        ("cache.ttl", time(keeping.ttl)),
        ("cache.negative_ttl", time(keeping.negative_ttl)),
        ("cache.max_stale", stale),
        ("cache.mirror", mirror(keeping)),
        ("cache.size", format!("{} KiB", keeping.size >> 10)),
    ];
    if !keeping.no_cache.is_empty() {
        lines
            .push(("cache.no_cache", Vec::from_iter(keeping.no_cache.iter().map(String::as_str)).join(", ")));
    }
    lines
}

fn mirror(keeping: &Keeping) -> String {
    match keeping.mirror {
        false => "off".to_owned(),
        true => format!("copies in the store, served up to {} old", time(keeping.oldest_copy())),
    }
}

fn time(time: Duration) -> String {
    format!("{time:?}")
}

pub(super) fn show(
    config: &Config,
    (name, provider): (&str, &ProviderConfig),
    common: &Common,
) -> Result<(), Failure> {
    let mut lines = vec![("name", name.to_owned())];
    lines.extend(settings(config, provider));
    if name == default(config) {
        lines.push(("default", "for all names that are mapped nowhere".to_owned()));
    }
    lines.extend(super::mapped(config, name).into_iter().map(|name| ("secret", name.to_owned())));
    if common.json {
        let object: serde_json::Map<_, _> =
            lines.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        return output::print_json(&object);
    }
    let width = lines.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let line = |(key, value): (&str, String)| format!("{key:width$}  {}\n", output::in_line(&value));
    output::print(lines.into_iter().map(line).collect::<String>())
}
