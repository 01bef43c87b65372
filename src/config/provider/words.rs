//! The words that a provider's settings are chosen from. Pure; uses `word`.

use std::time::Duration;

use super::{AwsService, ProviderConfig, RemoteSource};
use crate::config::scalar::choice;
use crate::config::word::Scalar;

/// The types of providers, as the config names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum ProviderType {
    Store,
    Env,
    File,
    Exec,
    Vault,
    Etcd,
    AwsSm,
    AwsSsm,
    AzureKv,
    GcpSm,
    OnePassword,
    Kubernetes,
    Multi,
}

/// How a provider is logged in to: which of them it knows is said where it is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::config) enum Method {
    #[default]
    Token,
    AppRole,
    Kubernetes,
    Jwt,
    UserPass,
    Cert,
    Aws,
    Azure,
    ManagedIdentity,
    ClientSecret,
    ClientCertificate,
    WorkloadIdentity,
    Cli,
    Key,
    Adc,
    Metadata,
}

/// Which of several providers' answers is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Of the first that does not fail.
    #[default]
    Failover,
    /// Of the first that has the secret; one that fails ends it.
    Priority,
    /// Of whichever has the secret.
    Merge,
}

impl ProviderType {
    pub(in crate::config) const ALL: [(&str, Self); 13] = [
        ("store", Self::Store),
        ("env", Self::Env),
        ("file", Self::File),
        ("exec", Self::Exec),
        ("vault", Self::Vault),
        ("etcd", Self::Etcd),
        ("aws-sm", Self::AwsSm),
        ("aws-ssm", Self::AwsSsm),
        ("azure-kv", Self::AzureKv),
        ("gcp-sm", Self::GcpSm),
        ("1password", Self::OnePassword),
        ("kubernetes", Self::Kubernetes),
        ("multi", Self::Multi),
    ];

    pub(in crate::config) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, it)| *it == self).map_or("", |(name, _)| name)
    }

    /// The feature of the program without which it is not there.
    pub(super) fn lacks(self) -> Option<&'static str> {
        let (feature, is_built) = match self {
            Self::Store | Self::Env | Self::File | Self::Exec | Self::Multi => return None,
            Self::Vault => ("vault", cfg!(feature = "vault")),
            Self::Etcd => ("etcd", cfg!(feature = "etcd")),
            Self::AwsSm | Self::AwsSsm => ("aws", cfg!(feature = "aws")),
            Self::AzureKv => ("azure", cfg!(feature = "azure")),
            Self::GcpSm => ("gcp", cfg!(feature = "gcp")),
            Self::OnePassword => ("onepassword", cfg!(feature = "onepassword")),
            Self::Kubernetes => ("kubernetes", cfg!(feature = "kubernetes")),
        };
        (!is_built).then_some(feature)
    }

    /// How many questions a second it is asked if the config does not say: parameters of AWS have 40 for all hosts of
    /// an account together.
    pub(super) fn usual_per_second(self) -> Option<usize> {
        (self == Self::AwsSsm).then_some(30)
    }

    /// How long an answer is good if the config does not say: what is on this machine costs little
    /// to be asked again.
    pub(super) fn usual_ttl(self) -> Duration {
        Duration::from_secs(if self == Self::File { 1 } else { 60 })
    }
}

impl ProviderConfig {
    /// As the config names it.
    pub fn type_name(&self) -> &'static str {
        let kind = match self {
            Self::Store => ProviderType::Store,
            Self::Env { .. } => ProviderType::Env,
            Self::Several(_) => ProviderType::Multi,
            Self::Remote(remote) => match &remote.source {
                RemoteSource::Exec(_) => ProviderType::Exec,
                RemoteSource::File(_) => ProviderType::File,
                RemoteSource::Vault(_) => ProviderType::Vault,
                RemoteSource::Etcd(_) => ProviderType::Etcd,
                RemoteSource::Aws(aws) => match aws.service {
                    AwsService::SecretsManager => ProviderType::AwsSm,
                    AwsService::Parameters => ProviderType::AwsSsm,
                },
                RemoteSource::Azure(_) => ProviderType::AzureKv,
                RemoteSource::Gcp(_) => ProviderType::GcpSm,
                RemoteSource::OnePassword(_) => ProviderType::OnePassword,
                RemoteSource::Kubernetes(_) => ProviderType::Kubernetes,
            },
        };
        kind.name()
    }
}

impl Strategy {
    pub(in crate::config) const ALL: [(&str, Self); 3] =
        [("failover", Self::Failover), ("priority", Self::Priority), ("merge", Self::Merge)];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, it)| *it == self).map_or("", |(name, _)| name)
    }
}

impl Scalar for ProviderType {
    const EXPECTED: &'static str = "the type of a provider";

    fn judge(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
        found.ok_or_else(|| choice(text, "provider type", &Self::ALL.map(|(name, _)| name), &[]))
    }
}

impl Method {
    pub(in crate::config) const ALL: [(&str, Self); 16] = [
        ("token", Self::Token),
        ("approle", Self::AppRole),
        ("kubernetes", Self::Kubernetes),
        ("jwt", Self::Jwt),
        ("userpass", Self::UserPass),
        ("cert", Self::Cert),
        ("aws", Self::Aws),
        ("azure", Self::Azure),
        ("managed-identity", Self::ManagedIdentity),
        ("client-secret", Self::ClientSecret),
        ("client-certificate", Self::ClientCertificate),
        ("workload-identity", Self::WorkloadIdentity),
        ("cli", Self::Cli),
        ("key", Self::Key),
        ("adc", Self::Adc),
        ("metadata", Self::Metadata),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, it)| *it == self).map_or("", |(name, _)| name)
    }
}

impl Scalar for Method {
    const EXPECTED: &'static str = "the name of a method";

    fn judge(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, it)| *it);
        found.ok_or_else(|| choice(text, "method", &Self::ALL.map(|(name, _)| name), &["gcp", "ldap"]))
    }
}

impl Scalar for Strategy {
    const EXPECTED: &'static str = "the name of a strategy";

    fn judge(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, it)| *it);
        found.ok_or_else(|| choice(text, "strategy", &Self::ALL.map(|(name, _)| name), &[]))
    }
}
