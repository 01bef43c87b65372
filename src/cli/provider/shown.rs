//! A provider's settings in words, as they are in force. Uses the words of `config`.

use std::time::Duration;

use super::default;
use super::logins::{self, Lines};
use crate::cli::report::Failure;
use crate::cli::{Common, output};
use crate::config::{
    AwsSecrets, Cluster, Config, Keeping, Kubernetes, Limits, Program, ProviderConfig, Remote, RemoteSource,
    TlsVersion, Transport, Vault,
};

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
            RemoteSource::Vault(vault) => vault.transport.address.to_string(),
            RemoteSource::Etcd(etcd) => etcd.transport.address.to_string(),
            RemoteSource::Aws(aws) => match (&aws.endpoint, &aws.region) {
                (Some(transport), _) => transport.address.to_string(),
                (None, Some(region)) => region.clone(),
                (None, None) => "the usual region".to_owned(),
            },
            RemoteSource::Azure(azure) => azure.transport.address.to_string(),
            RemoteSource::Gcp(gcp) => format!("project {} at {}", gcp.project, gcp.transport.address),
            RemoteSource::OnePassword(connect) => connect.transport.address.to_string(),
            RemoteSource::Kubernetes(kubernetes) => match &kubernetes.cluster {
                Cluster::Around => "the cluster that we are in".to_owned(),
                Cluster::Kubeconfig { path, .. } => path.display().to_string(),
                Cluster::At { transport, .. } => transport.address.to_string(),
            },
        },
    }
}

/// What is set, line by line: also what was left to us.
fn settings(config: &Config, provider: &ProviderConfig) -> Lines {
    let mut lines = vec![("type", provider.type_name().to_owned()), ("place", place(config, provider))];
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

fn own(remote: &Remote) -> Lines {
    match &remote.source {
        RemoteSource::Exec(exec) => program(exec),
        RemoteSource::File(document) => {
            document.identity.iter().map(|from| ("age", format!("identity from {from}"))).collect()
        }
        RemoteSource::Vault(it) => [tls(&it.transport), vault(it)].concat(),
        RemoteSource::Etcd(etcd) => {
            let prefix = word("prefix", &etcd.prefix);
            [tls(&etcd.transport), prefix, logins::etcd(etcd)].concat()
        }
        RemoteSource::Azure(azure) => {
            let mut lines = [tls(&azure.transport), logins::azure(azure)].concat();
            lines.extend(azure.resource.iter().map(|it| ("resource", it.to_string())));
            lines
        }
        RemoteSource::OnePassword(connect) => {
            let vault = word("vault", connect.vault.as_deref().unwrap_or_default());
            [tls(&connect.transport), logins::onepassword(connect), vault].concat()
        }
        RemoteSource::Gcp(gcp) => {
            let location = word("location", gcp.location.as_deref().unwrap_or_default());
            [tls(&gcp.transport), location, logins::gcp(gcp)].concat()
        }
        RemoteSource::Aws(it) => aws(it),
        RemoteSource::Kubernetes(it) => kubernetes(it),
    }
}

/// A setting that is left out where it is empty.
fn word(name: &'static str, value: &str) -> Lines {
    if value.is_empty() { Vec::new() } else { vec![(name, value.to_owned())] }
}

fn program(program: &Program) -> Lines {
    let status = program.not_found_status.map_or_else(|| "none".to_owned(), |status| status.to_string());
    vec![
        ("prints", if program.prints_json { "an object of fields" } else { "a value" }.to_owned()),
        ("not_found_status", status),
        ("protocol", if program.is_of_summon { "summon" } else { "own" }.to_owned()),
    ]
}

fn vault(vault: &Vault) -> Lines {
    let mut lines = word("namespace", vault.namespace.as_deref().unwrap_or_default());
    lines.extend(logins::vault(&vault.login));
    lines.push(("mount", format!("auth/{}", vault.mount)));
    lines.extend(vault.writes.keys().map(|path| ("writes", path.clone())));
    if vault.revokes {
        lines.push(("revoke", "certificates, at the end".to_owned()));
    }
    lines.push(("give_back_after", time(vault.give_back_after)));
    lines
}

fn aws(aws: &AwsSecrets) -> Lines {
    let region = aws.region.as_deref().unwrap_or("of AWS_REGION, the profile or the machine");
    let account = word("account", aws.account.as_deref().unwrap_or_default());
    let place = [word("region", region), account, word("prefix", &aws.prefix)].concat();
    [aws.endpoint.as_ref().map(tls).unwrap_or_default(), place, logins::aws(&aws.identity)].concat()
}

fn kubernetes(kubernetes: &Kubernetes) -> Lines {
    let (transport, usual) = match &kubernetes.cluster {
        Cluster::Around => (None, "that of the pod"),
        Cluster::Kubeconfig { .. } => (None, "that of the context"),
        Cluster::At { transport, .. } => (Some(&**transport), "default"),
    };
    let namespace = word("namespace", kubernetes.namespace.as_deref().unwrap_or(usual));
    [transport.map(tls).unwrap_or_default(), logins::kubernetes(&kubernetes.cluster), namespace].concat()
}

fn tls(Transport { address, tls, .. }: &Transport) -> Lines {
    if !address.is_tls {
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
    lines.extend(tls.server_name.iter().map(|name| ("tls.server_name", name.clone())));
    lines
}

fn limits(limits: &Limits) -> Lines {
    let mut lines = vec![("timeout", time(limits.timeout)), ("concurrency", limits.concurrency.to_string())];
    lines.extend(limits.per_second.map(|count| ("requests_per_second", count.to_string())));
    lines.extend(limits.batch.map(|count| ("batch_size", count.to_string())));
    lines
}

fn keeping(keeping: &Keeping) -> Lines {
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
