//! What the config says on a provider, judged: its type, and what each type takes and needs.
//! Pure; uses `raw`.

mod all;
mod asker;
mod auth;
mod aws;
mod azure;
mod cloud;
mod gcp;
mod kubernetes;
mod network;
mod onepassword;
mod resource;
mod ruled;
mod source;
mod takes;
mod words;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::base::Base;
use super::raw;

pub use aws::{AwsIdentity, AwsKeyPair, AwsSecrets, AwsService};
pub use azure::{AzureIdentity, AzureVault};
pub use cloud::{Aws, Azure};
pub use gcp::{GcpIdentity, GcpSecrets};
pub use kubernetes::{Cluster, Kubernetes};
pub use network::{Etcd, Login, Vault};
pub use onepassword::OnePassword;
pub use resource::AzureResource;
pub(super) use source::NO_PLACE_FOR_A_VALUE;
pub use source::{SecretSource, TextSource};
pub use words::Strategy;
pub(super) use words::{Method, ProviderType};
pub(super) use write::{Datum, WritePath};

/// A provider as the config describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderConfig {
    Store,
    /// The environment, of which it has the variables that begin so.
    Env {
        prefix: String,
    },
    /// Others, asked as one.
    Several(Several),
    Remote(Box<Remote>),
}

/// One that has to be asked, within limits, and whose answers are kept for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    pub source: RemoteSource,
    pub limits: Limits,
    pub keeping: Keeping,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteSource {
    Exec(Program),
    File(Document),
    Vault(Box<Vault>),
    Etcd(Box<Etcd>),
    Aws(Box<AwsSecrets>),
    Azure(Box<AzureVault>),
    Gcp(Box<GcpSecrets>),
    OnePassword(Box<OnePassword>),
    Kubernetes(Box<Kubernetes>),
}

/// A program that prints a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program and its first arguments: never empty.
    pub command: Vec<String>,
    /// Its environment, beside the few variables that every program has.
    pub env: BTreeMap<String, String>,
    /// It prints an object of fields, not a value.
    pub prints_json: bool,
    /// It is a provider of summon's.
    pub is_of_summon: bool,
    /// The status by which it says that there is no such secret, if it has one.
    pub not_found_status: Option<u8>,
}

/// A file with secrets, or a folder of files that are secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub path: PathBuf,
    /// With what it is opened if sops has encrypted it for age.
    pub identity: Option<SecretSource>,
}

/// Providers that are asked as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Several {
    /// In the order in which they are asked: at least one.
    pub of: Vec<String>,
    pub strategy: Strategy,
}

/// How much is asked of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time for one answer, all tries together.
    pub timeout: Duration,
    /// Questions at once.
    pub concurrency: usize,
    /// Questions in a second.
    pub per_second: Option<usize>,
    /// Secrets in one question, if it is to hold fewer than the provider takes.
    pub batch: Option<usize>,
}

impl Limits {
    /// The most questions that there are at once.
    pub fn at_once(&self) -> usize {
        self.per_second.map_or(self.concurrency, |it| it.min(self.concurrency))
    }
}

/// What is kept of a provider's answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// How long an answer is good.
    pub ttl: Duration,
    /// How much longer it is served, and marked, if the provider does not answer.
    pub max_stale: Option<Duration>,
    /// Whether the store keeps a copy of each answer.
    pub mirror: bool,
    /// How long it is good that there is no such secret.
    pub negative_ttl: Duration,
    /// The bytes of all answers that are kept.
    pub size: usize,
    /// The paths that are asked for each time.
    pub no_cache: BTreeSet<String>,
}

/// The time within which a reader has an answer is five seconds: an own reason comes before that.
const TIMEOUT: Duration = Duration::from_secs(4);
const CONCURRENCY: usize = 16;
/// Of the store's copies, if nobody says how old an answer may be.
const OLDEST_COPY: Duration = Duration::from_secs(7 * 24 * 3600);
/// errSecItemNotFound, as the macOS keychain's program says it.
const NOT_FOUND: u8 = 44;

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: TIMEOUT, concurrency: CONCURRENCY, per_second: None, batch: None }
    }
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            max_stale: None,
            mirror: false,
            negative_ttl: Duration::from_secs(5),
            size: 16 << 20,
            no_cache: BTreeSet::new(),
        }
    }
}

impl ProviderConfig {
    pub const ENV: Self = Self::Env { prefix: String::new() };

    /// Where the secrets come from with which it is asked.
    pub fn own_secrets(&self) -> Vec<&SecretSource> {
        let Self::Remote(remote) = self else { return Vec::new() };
        match &remote.source {
            RemoteSource::Exec(_) => Vec::new(),
            RemoteSource::File(document) => document.identity.iter().collect(),
            RemoteSource::Vault(vault) => vault.login.secrets(),
            RemoteSource::Etcd(etcd) => etcd.user.iter().map(|(_, password)| password).collect(),
            RemoteSource::Aws(aws) => aws.identity.secrets(),
            RemoteSource::Azure(azure) => azure.secrets(),
            RemoteSource::Gcp(gcp) => gcp.secrets(),
            RemoteSource::OnePassword(connect) => vec![&connect.token],
            RemoteSource::Kubernetes(cluster) => cluster.secrets(),
        }
    }

    /// Variables with secrets that it may be asked with, although the config does not name them.
    fn usual_variables(&self) -> &'static [&'static str] {
        let Self::Remote(remote) = self else { return &[] };
        match &remote.source {
            RemoteSource::Aws(aws) => aws.identity.variables(),
            RemoteSource::Vault(vault) => match &vault.login {
                Login::Aws(aws) => aws.identity.variables(),
                _ => &[],
            },
            _ => &[],
        }
    }

    /// Where it looks: a place, and what the names there begin with. Two with the same have the same secrets,
    /// as whomever they are asked.
    pub fn place(&self) -> Option<(String, String)> {
        let Self::Remote(remote) = self else {
            return match self {
                Self::Env { prefix } => Some(("env".to_owned(), prefix.clone())),
                Self::Store => Some(("store".to_owned(), String::new())),
                _ => None,
            };
        };
        let below = |path: &str| format!("{path}/");
        Some(match &remote.source {
            RemoteSource::Exec(program) => {
                (format!("exec {:?} {:?}", program.command, program.env), String::new())
            }
            RemoteSource::File(document) => ("file".to_owned(), below(&document.path.display().to_string())),
            RemoteSource::Vault(vault) => {
                let namespace = vault.namespace.as_deref().map(below).unwrap_or_default();
                (format!("vault {}", vault.transport.address), namespace)
            }
            RemoteSource::Etcd(etcd) => (format!("etcd {}", etcd.transport.address), etcd.prefix.clone()),
            RemoteSource::Aws(aws) => aws.place(),
            RemoteSource::Azure(azure) => (format!("azure {}", azure.transport.address), String::new()),
            RemoteSource::Gcp(gcp) => gcp.place(),
            RemoteSource::OnePassword(it) => (format!("1password {}", it.transport.address), String::new()),
            RemoteSource::Kubernetes(it) => it.place(),
        })
    }

    /// It is asked over a network by us. What programs do is not known.
    pub fn is_elsewhere(&self) -> bool {
        let Self::Remote(remote) = self else { return false };
        !matches!(remote.source, RemoteSource::Exec(_) | RemoteSource::File(_))
    }

    /// A name there can say another namespace than its own.
    fn names_lead_elsewhere(&self) -> bool {
        matches!(self, Self::Remote(remote) if matches!(remote.source, RemoteSource::Kubernetes(_)))
    }

    /// `Err` names the key that is wrong, and says why. Relative paths begin at `base`.
    pub(super) fn judge(mut given: raw::Provider, base: &Base<'_>) -> Result<Self, (&'static str, String)> {
        let kind = given.r#type.0;
        takes::refuse_others(kind, &given)?;
        if let Some(feature) = kind.lacks() {
            let problem = format!(
                "this secretfs was built without {}: build it with `--features {feature}`",
                kind.name()
            );
            return Err(("type", problem));
        }
        let source = match kind {
            ProviderType::Store => return Ok(Self::Store),
            ProviderType::Env => {
                return Ok(Self::Env { prefix: given.prefix.0.map_or_else(String::new, |it| it.0) });
            }
            ProviderType::Multi => return several(given).map(Self::Several),
            ProviderType::Exec => RemoteSource::Exec(program(&given, base)?),
            ProviderType::File => RemoteSource::File(document(&mut given, base)?),
            ProviderType::Vault => RemoteSource::Vault(Box::new(network::vault(&mut given, base)?)),
            ProviderType::Etcd => RemoteSource::Etcd(Box::new(network::etcd(&mut given, base)?)),
            ProviderType::AwsSm => aws_of(AwsService::SecretsManager, &mut given, base)?,
            ProviderType::AwsSsm => aws_of(AwsService::Parameters, &mut given, base)?,
            ProviderType::AzureKv => RemoteSource::Azure(Box::new(azure::judge(&mut given, base)?)),
            ProviderType::GcpSm => RemoteSource::Gcp(Box::new(gcp::judge(&mut given, base)?)),
            ProviderType::OnePassword => {
                RemoteSource::OnePassword(Box::new(onepassword::judge(&mut given, base)?))
            }
            ProviderType::Kubernetes => {
                RemoteSource::Kubernetes(Box::new(kubernetes::judge(&mut given, base)?))
            }
        };
        let usual = Keeping { ttl: kind.usual_ttl(), ..Keeping::default() };
        let limits = Limits::of(&given, kind.usual_per_second());
        let keeping = match given.cache {
            Some(cache) => Keeping::of(cache, usual),
            None => usual,
        };
        if let RemoteSource::Vault(vault) = &source
            && vault.give_back_after < keeping.ttl * 2
        {
            let problem = "it must be at least twice `cache.ttl`: who uses it asks no oftener than that";
            return Err(("give_back_after", problem.to_owned()));
        }
        if let RemoteSource::Aws(aws) = &source
            && keeping.mirror
            && !aws.has_known_region()
        {
            let problem = "`mirror` wants a `region`: copies of one are no copies of another";
            return Err(("cache", problem.to_owned()));
        }
        Ok(Self::Remote(Box::new(Remote { source, limits, keeping })))
    }
}

fn aws_of(
    service: AwsService,
    given: &mut raw::Provider,
    base: &Base<'_>,
) -> Result<RemoteSource, (&'static str, String)> {
    Ok(RemoteSource::Aws(Box::new(aws::judge(service, given, base)?)))
}

fn needs<T>(kind: &str, what: &str) -> Result<T, (&'static str, String)> {
    Err(("type", format!("the type {kind} needs {what}")))
}

fn program(given: &raw::Provider, base: &Base<'_>) -> Result<Program, (&'static str, String)> {
    let words = given.command.iter().flatten().map(|word| word.0.0.clone());
    let mut command: Vec<String> = words.collect();
    let Some(program) = command.first_mut() else {
        return needs("exec", "a `command`: a list of the program and its arguments");
    };
    *program = base.program(std::mem::take(program));
    let is_of_summon = given.protocol.0.is_some();
    let is_path_alone = match &command[1..] {
        [] => true,
        [path] => path.contains("{path}"),
        _ => false,
    };
    if is_of_summon && !is_path_alone {
        let problem = "a provider of summon's gets the path as its only argument: name the program alone";
        return Err(("command", problem.to_owned()));
    }
    let usual = (!is_of_summon).then_some(NOT_FOUND);
    let env = given.env.iter().flat_map(|env| &env.0).map(|(name, it)| (name.0.clone(), it.0.0.clone()));
    Ok(Program {
        command,
        env: env.collect(),
        prints_json: given.fields.0.is_some(),
        is_of_summon,
        not_found_status: given.not_found_status.0.as_ref().map(|status| status.0).or(usual),
    })
}

fn document(given: &mut raw::Provider, base: &Base<'_>) -> Result<Document, (&'static str, String)> {
    let Some(path) = given.path.0.take() else { return needs("file", "a `path`: a folder or a document") };
    let identity = given.age.take().map(|age| age.identity.0.under(base));
    Ok(Document { path: base.path(path), identity })
}

fn several(given: raw::Provider) -> Result<Several, (&'static str, String)> {
    let of: Vec<String> = given.of.into_iter().flatten().map(|name| name.0.0).collect();
    match of.is_empty() {
        true => needs("multi", "`of`: a list of other providers' names"),
        false => Ok(Several { of, strategy: given.strategy.0.unwrap_or_default() }),
    }
}

impl Limits {
    fn of(given: &raw::Provider, per_second: Option<usize>) -> Self {
        let usual = Self::default();
        Self {
            timeout: given.timeout.0.unwrap_or(usual.timeout),
            concurrency: given.concurrency.0.as_ref().map_or(usual.concurrency, |count| count.0),
            per_second: given.requests_per_second.0.as_ref().map(|count| count.0).or(per_second),
            batch: given.batch_size.0.as_ref().map(|count| count.0),
        }
    }
}

impl Keeping {
    /// How old a copy of the store's may be that is served.
    pub fn oldest_copy(&self) -> Duration {
        self.max_stale.unwrap_or(OLDEST_COPY)
    }

    fn of(given: raw::Cache, usual: Self) -> Self {
        Self {
            ttl: given.ttl.0.unwrap_or(usual.ttl),
            max_stale: given.max_stale.0.or(usual.max_stale),
            mirror: given.mirror.0.unwrap_or(usual.mirror),
            negative_ttl: given.negative_ttl.0.unwrap_or(usual.negative_ttl),
            size: given.size.0.map_or(usual.size, |size| size.0),
            no_cache: given.no_cache.into_iter().map(|word| word.0.0).collect(),
        }
    }
}
