//! Which settings each type of provider takes: one that is given to another was meant to do something.
//! Pure; uses `raw`.

use super::ProviderType;
use crate::config::raw;
use crate::config::word::Given;

/// Those of all that have to be asked.
const REMOTE: &[&str] = &["timeout", "concurrency", "requests_per_second", "cache"];
/// Those of all that are elsewhere.
const NETWORK: &[&str] = &["address", "tls", "auth", "batch_size"];

fn own(kind: ProviderType) -> &'static [&'static str] {
    match kind {
        ProviderType::Store | ProviderType::AzureKv => &[],
        ProviderType::Env => &["prefix"],
        ProviderType::File => &["path", "age"],
        ProviderType::Exec => &["command", "env", "fields", "protocol", "not_found_status"],
        ProviderType::Vault => &["namespace", "writes", "revoke", "give_back_after"],
        ProviderType::Etcd => &["prefix"],
        ProviderType::AwsSm | ProviderType::AwsSsm => &["prefix", "region", "account"],
        ProviderType::GcpSm => &["project", "location"],
        ProviderType::OnePassword => &["vault"],
        ProviderType::Kubernetes => &["namespace", "kubeconfig", "context"],
        ProviderType::Multi => &["of", "strategy"],
    }
}

fn is_remote(kind: ProviderType) -> bool {
    matches!(kind, ProviderType::File | ProviderType::Exec) || is_network(kind)
}

fn is_network(kind: ProviderType) -> bool {
    use ProviderType::{AwsSm, AwsSsm, AzureKv, Etcd, GcpSm, Kubernetes, OnePassword, Vault};
    matches!(kind, Vault | Etcd | AwsSm | AwsSsm | AzureKv | GcpSm | OnePassword | Kubernetes)
}

/// `Err` names the first setting that this type does not take.
pub(super) fn refuse_others(kind: ProviderType, given: &raw::Provider) -> Result<(), (&'static str, String)> {
    let takes = |key: &&str| {
        own(kind).contains(key)
            || (is_remote(kind) && REMOTE.contains(key))
            || (is_network(kind) && NETWORK.contains(key))
    };
    match given_keys(given).into_iter().find(|key| !takes(key)) {
        Some(key) => Err((key, format!("a provider of this type takes no `{key}`"))),
        None => Ok(()),
    }
}

fn given_keys(given: &raw::Provider) -> Vec<&'static str> {
    fn is<T>(given: &Given<T>) -> bool {
        given.0.is_some()
    }
    let all = [
        ("command", given.command.is_some()),
        ("env", given.env.is_some()),
        ("fields", is(&given.fields)),
        ("protocol", is(&given.protocol)),
        ("not_found_status", is(&given.not_found_status)),
        ("prefix", is(&given.prefix)),
        ("path", is(&given.path)),
        ("age", given.age.is_some()),
        ("of", given.of.is_some()),
        ("strategy", is(&given.strategy)),
        ("address", is(&given.address)),
        ("tls", given.tls.is_some()),
        ("namespace", is(&given.namespace)),
        ("region", is(&given.region)),
        ("account", is(&given.account)),
        ("project", is(&given.project)),
        ("location", is(&given.location)),
        ("vault", is(&given.vault)),
        ("kubeconfig", is(&given.kubeconfig)),
        ("context", is(&given.context)),
        ("auth", given.auth.is_some()),
        ("writes", given.writes.is_some()),
        ("revoke", is(&given.revoke)),
        ("give_back_after", is(&given.give_back_after)),
        ("batch_size", is(&given.batch_size)),
        ("timeout", is(&given.timeout)),
        ("concurrency", is(&given.concurrency)),
        ("requests_per_second", is(&given.requests_per_second)),
        ("cache", given.cache.is_some()),
    ];
    all.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key).collect()
}
