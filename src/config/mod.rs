//! The config: text in, judged settings out, every mistake with its file, line and column.
//! Pure: finding and reading the file is the command line's part. Uses the words of `secret`.

mod access;
mod audit;
mod base;
mod credential;
mod error;
mod metadata;
mod parts;
mod place;
mod places;
mod provider;
mod raw;
mod reaction;
mod rules;
mod scalar;
mod schema;
#[cfg(test)]
mod tests;
mod transport;
mod word;

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use access::{AccessRule, Matcher, Program as Exe, SecretRule, Wanted, Written};
pub use audit::AuditConfig;
use base::{Base, Fault};
pub use credential::{Credential, Credentials};
pub use error::ConfigError;
use parts::Parts;
pub use place::Place;
pub use provider::{
    Aws, AwsIdentity, AwsKeyPair, AwsSecrets, AwsService, Azure, AzureIdentity, AzureResource, AzureVault,
    Cluster, Document, Etcd, GcpIdentity, GcpSecrets, Keeping, Kubernetes, Limits, Login, OnePassword,
    Program, ProviderConfig, Remote, RemoteSource, SecretSource, Several, Strategy, TextSource, Vault,
};
pub use reaction::{Action, Reaction, Response, Signal, Unit, Watch};
pub use rules::scalar::{digest, unit};
pub use schema::schema;
pub use transport::{Address, Identity, Pin, Tls, TlsVersion, Transport};

use crate::secret::{Reference, SecretName};
use crate::template::{Dialect, Format, Syntax};

/// What a config file says. Paths in it are absolute, or relative to the working directory if the
/// folder that was given to [`Config::parse`] was.
#[derive(Debug, Default)]
pub struct Config {
    pub store: StoreConfig,
    pub mounts: Vec<Mount>,
    pub profiles: BTreeMap<String, Profile>,
    pub sources: Sources,
    /// The variables that a template may read as `env.NAME`.
    pub env_allowed: BTreeSet<String>,
    /// The providers by name: `store`, and those that the config names. What it does not name, a
    /// mount does not ask: the daemon's environment is not every template's.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// What has to be there before the daemon says that it is ready.
    pub ready: Vec<Reference>,
    pub control: ControlConfig,
    pub audit: AuditConfig,
    pub credentials: Credentials,
    /// Sets of callers, by the name that rules have for them.
    pub roles: BTreeMap<String, Vec<Matcher>>,
    pub policy: Vec<SecretRule>,
    parts: Arc<Parts>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct StoreConfig {
    pub path: Option<PathBuf>,
    /// Of a store that is to be made. One that is there knows its own.
    pub backend: Option<StoreBackend>,
    pub key_file: Option<PathBuf>,
}

/// How the rows of a store are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreBackend {
    Sqlite,
    File,
}

/// How the daemon is asked and told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlConfig {
    /// `None`: the usual place of whoever runs it.
    pub socket: Option<PathBuf>,
    /// A loopback address for metrics and health.
    pub listen: Option<SocketAddr>,
}

/// Where secrets come from that a reference names without a provider.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The provider of every name that is not in `map`; the store if there is none.
    pub from: Option<String>,
    pub map: BTreeMap<SecretName, Reference>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    pub at: PathBuf,
    /// The folder that is mirrored without the `.tpl` suffix.
    pub templates: PathBuf,
    pub defaults: FileOptions,
    pub files: BTreeMap<PathBuf, FileEntry>,
}

/// What the config says on one file of a mount.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FileEntry {
    /// A template that lies elsewhere; else it is the file's own, in the mount's folder.
    pub template: Option<PathBuf>,
    pub options: FileOptions,
    pub on_change: Option<Reaction>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileOptions {
    pub owner: Option<Account>,
    pub group: Option<Account>,
    pub mode: Option<u32>,
    pub format: Option<Format>,
    pub dialect: Option<Dialect>,
    pub syntax: Option<Syntax>,
    pub deadline: Option<Duration>,
    pub verify: Option<bool>,
    /// Files of one set are of one version.
    pub set: Option<String>,
    pub access: Option<Vec<AccessRule>>,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    Id(u32),
    Name(String),
}

/// What `exec --profile` injects, and how it runs the command, unless the command line says it.
#[derive(Debug, Default)]
pub struct Profile {
    /// Variable to reference, as the command line writes references.
    pub env: BTreeMap<String, String>,
    pub env_files: Vec<PathBuf>,
    /// Covered path to template.
    pub files: BTreeMap<PathBuf, PathBuf>,
    pub mask: Option<bool>,
    pub watch: Option<Watch>,
}

/// Names that live elsewhere, as they are written.
type Secrets = BTreeMap<SecretName, word::Word<scalar::ReferenceText>>;

impl FileOptions {
    /// These options, and the defaults where these say nothing.
    pub fn merged_over(&self, defaults: &Self) -> Self {
        Self {
            owner: self.owner.clone().or_else(|| defaults.owner.clone()),
            group: self.group.clone().or_else(|| defaults.group.clone()),
            mode: self.mode.or(defaults.mode),
            format: self.format.or(defaults.format),
            dialect: self.dialect.or(defaults.dialect),
            syntax: self.syntax.or(defaults.syntax),
            deadline: self.deadline.or(defaults.deadline),
            verify: self.verify.or(defaults.verify),
            set: self.set.clone().or_else(|| defaults.set.clone()),
            access: self.access.clone().or_else(|| defaults.access.clone()),
        }
    }
}

impl Config {
    /// Judges the text of `file`. Relative paths in it are relative to the file's folder.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::parse_all([(file, text)])
    }

    /// Judges several files as one config, the main one first: lists go on, maps are laid together,
    /// and nothing may be said twice.
    pub fn parse_all<'a>(files: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut secrets = BTreeMap::new();
        for (file, text) in files {
            let root = raw::Root::parse(file, text)?;
            let firsts = [
                ("mounts", config.mounts.len()),
                ("ready", config.ready.len()),
                ("policy", config.policy.len()),
            ];
            Arc::make_mut(&mut config.parts).add(file, text, firsts);
            config.add(root, &Base(file.parent().unwrap_or(Path::new(""))), &mut secrets)?;
        }
        config.add_own_providers()?;
        config.judge_several()?;
        config.sources = config.judge_sources(secrets)?;
        config.judge_places()?;
        config.judge_names();
        config.judge_mounts()?;
        config.judge_roles()?;
        config.audit.judge(&config.parts)?;
        Ok(config)
    }

    /// The control socket that these files name, whatever else is wrong with them; `None` if that
    /// cannot be told.
    pub fn socket_of<'a>(files: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Option<Option<PathBuf>> {
        let mut named = None;
        for (file, text) in files {
            let socket = raw::OnlySocket::parse(text)?;
            let base = Base(file.parent().unwrap_or(Path::new("")));
            named = socket.map(|path| base.path(path)).or(named);
        }
        Some(named)
    }

    /// An error about the value at `path` (keys, or numbers from 0), for whoever finds out later
    /// that it cannot be: a folder that is not there, a user that nobody knows.
    pub fn error_at(&self, path: &[&str], problem: impl std::fmt::Display) -> ConfigError {
        self.parts.error_at(path, problem)
    }

    /// Whether values come from the same places, by the same names.
    pub fn has_same_values(&self, other: &Self) -> bool {
        self.store == other.store
            && self.sources == other.sources
            && self.providers == other.providers
            && self.env_allowed == other.env_allowed
            && self.audit == other.audit
    }

    /// Whether secrets may go to the same callers. A rule that was moved is another one.
    pub fn has_same_policy(&self, other: &Self) -> bool {
        let is_in_place = self.policy.is_empty() || self.parts == other.parts;
        is_in_place && self.roles == other.roles && self.policy == other.policy
    }

    /// Whether a daemon has all else the same to do.
    pub fn has_same_settings(&self, other: &Self) -> bool {
        self.mounts == other.mounts
            && self.ready == other.ready
            && self.control == other.control
            && self.credentials == other.credentials
    }

    /// The files that it was read from, the main one first.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.parts.files()
    }

    /// Lays what one more file says to what is there.
    fn add(&mut self, root: raw::Root, base: &Base<'_>, secrets: &mut Secrets) -> Result<(), ConfigError> {
        self.add_store(root.store, base)?;
        self.add_control(root.control, base)?;
        self.audit.add(root.audit, &self.parts, base)?;
        self.credentials.add(root.credentials, &self.parts, base)?;
        for mount in root.mounts {
            let index = self.mounts.len().to_string();
            let mount = base.mount(mount).map_err(|Fault { place, problem }| {
                let inside: Vec<_> = place.iter().map(String::as_str).collect();
                self.error_at(&[&["mounts", &index], &*inside].concat(), problem)
            })?;
            self.mounts.push(mount);
        }
        self.env_allowed.extend(root.env.into_iter().map(|name| name.0.0));
        let roles = root.roles.0.into_iter().map(|(name, who)| (name.0, rules::matchers(who)));
        self.parts.merge("roles", &mut self.roles, roles)?;
        for rule in root.policy {
            let index = self.policy.len().to_string();
            let rule = rule.judge().map_err(|problem| self.error_at(&["policy", &index], problem))?;
            self.policy.push(rule);
        }
        self.ready.extend(root.ready.into_iter().map(|reference| reference.0.parsed));
        let profiles = root.profiles.0.into_iter().map(|(name, it)| (name.0, base.profile(it)));
        self.parts.merge("profiles", &mut self.profiles, profiles)?;
        let judged = |(name, it): (scalar::Label, _)| {
            let judged = ProviderConfig::judge(it, base);
            let judged =
                judged.map_err(|(key, problem)| self.error_at(&["providers", &name.0, key], problem));
            Ok((name.0, judged?))
        };
        let providers = root.providers.0.into_iter().map(judged).collect::<Result<Vec<_>, ConfigError>>()?;
        self.parts.merge("providers", &mut self.providers, providers)?;
        self.parts.merge("secrets", secrets, root.secrets.0)
    }

    fn add_store(&mut self, store: raw::Store, base: &Base<'_>) -> Result<(), ConfigError> {
        let is_said = |store: &StoreConfig| *store != StoreConfig::default();
        let store = base.store(store);
        match is_said(&store) {
            true if is_said(&self.store) => return Err(self.parts.twice(&["store"])),
            true => self.store = store,
            false => {}
        }
        Ok(())
    }

    fn add_control(&mut self, control: raw::Control, base: &Base<'_>) -> Result<(), ConfigError> {
        let socket = control.socket.0.map(|path| base.path(path));
        self.parts.set("control", "socket", &mut self.control.socket, socket)?;
        let listen = control.listen.0.map(|address| address.0);
        self.parts.set("control", "listen", &mut self.control.listen, listen)
    }

    fn judge_mounts(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for (index, mount) in self.mounts.iter().enumerate() {
            let index = index.to_string();
            if !seen.insert(&mount.at) {
                let other =
                    self.mounts.iter().position(|other| other.at == mount.at).unwrap_or(0).to_string();
                let also = self.parts.also(&["mounts", &other, "at"]);
                let problem = format!("two mounts at {}{also}", mount.at.display());
                return Err(self.error_at(&["mounts", &index, "at"], problem));
            }
            self.judge_dialect(&mount.defaults, &["mounts", &index, "dialect"])?;
            for (path, file) in &mount.files {
                let name = path.to_string_lossy();
                self.judge_dialect(&file.options, &["mounts", &index, "files", &name, "dialect"])?;
            }
        }
        Ok(())
    }

    /// A dialect beside a format that has none was meant to do something.
    fn judge_dialect(&self, options: &FileOptions, place: &[&str]) -> Result<(), ConfigError> {
        match (options.format, options.dialect) {
            (Some(format), Some(_)) if !matches!(format, Format::Env(_)) => {
                let problem = format!("the format {} has no dialects", format.name());
                Err(self.error_at(place, problem).hint(Some("format: env".to_owned())))
            }
            _ => Ok(()),
        }
    }
}
