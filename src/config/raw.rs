//! The config file as serde sees it: one struct per map, unknown keys denied, every scalar judged
//! by `scalar`. No flatten, no untagged and no tagged enums: with them the parser loses its place.
//! The doc comments are what the schema says of a key.

mod provider;

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::credential::RawCredentials;
use super::error::ConfigError;
use super::reaction::{Argument, Signal, Unit, Watch};
use super::rules::{FileRule, PolicyRule, Who};
use super::scalar::{Bytes, Count, FilePath, KeySource, Label, Loopback, Mode, ReferenceText, Variable};
use super::word::{Given, Scalar, Table, Word, given};
use super::{Account, FileOptions, StoreBackend};
use crate::secret::SecretName;
use crate::template::{Dialect, Format, Syntax};
pub(super) use provider::{Auth, Cache, Provider};

#[derive(Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a map of settings: store, mounts, …")]
pub(super) struct Root {
    /// The store: its folder, or a map with its `path` and its `key`
    pub(super) store: Store,
    /// What `secretfs mount` serves: folders of templates, each as a folder of files
    pub(super) mounts: Vec<Mount>,
    /// What `secretfs exec --profile NAME` gives to a command, by name
    pub(super) profiles: Table<Label, Profile>,
    /// Secrets that live elsewhere than in the store: NAME: provider:path#field; `from: PROVIDER` for all others
    pub(super) secrets: Table<SecretName, Word<ReferenceText>>,
    /// The variables that a template may read as `env.NAME`
    pub(super) env: Vec<Word<Variable>>,
    /// Where secrets come from, by name; `store` is always there
    pub(super) providers: Table<Label, Provider>,
    /// Secrets without which the daemon does not say that it is ready: NAME or provider:path#field
    pub(super) ready: Vec<Word<ReferenceText>>,
    /// How the daemon is asked and told
    pub(super) control: Control,
    /// Names for sets of callers, for rules to use
    pub(super) roles: Table<Label, Who>,
    /// Which secrets may go where and to whom: the first rule that fits decides
    pub(super) policy: Vec<PolicyRule>,
    /// Where it is written down who read what
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Audit")]
    pub(super) audit: Option<Audit>,
    /// What systemd is given for units that ask with `LoadCredential=NAME:SOCKET`
    pub(super) credentials: RawCredentials,
}

impl Root {
    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        if is_blank(text) {
            return Ok(Self::default());
        }
        serde_yaml::from_str(text).map_err(|error| ConfigError::from_yaml(file, text, &error))
    }
}

/// Nothing but comments: valid, and says nothing.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// A map that takes a file's options beside its own keys. Written out by a macro, because serde's
/// `flatten` would lose the places.
macro_rules! with_options {
    ($name:ident: $expecting:literal { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(serde::Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, expecting = $expecting)]
        pub(super) struct $name {
            $($(#[$attribute])* pub(super) $field: $type,)*
            /// Whose the files are: a user's name or number (default: who mounts)
            #[serde(default)]
            owner: Given<Account>,
            /// The files' group: a name or a number (default: the owner's)
            #[serde(default)]
            group: Given<Account>,
            /// Who may read: permission bits in quotes (default: "0400")
            #[serde(default)]
            mode: Given<Mode>,
            /// What the file is, which decides how values are written into it (default: what its name tells, else text)
            #[serde(default)]
            format: Given<Format>,
            /// Who reads an env file (default: dotenv)
            #[serde(default)]
            dialect: Given<Dialect>,
            /// How a template marks what is filled in: angle is `<< >>`, jinja is `{{ }}` (default: angle)
            #[serde(default)]
            syntax: Given<Syntax>,
            /// How long a reader waits at most (default: 5s)
            #[serde(default)]
            deadline: Given<Duration>,
            /// Whether the result is parsed once more before it is served (default: true)
            #[serde(default)]
            verify: Given<bool>,
            /// The name of a set: its files are of one version, for who reads them within a second
            #[serde(default)]
            set: Given<Label>,
            /// Who may read them: the first rule that fits decides; without an allow, who fits none is judged by
            /// owner, group and mode
            #[serde(default, deserialize_with = "given")]
            #[schemars(with = "Vec<FileRule>")]
            pub(super) access: Option<Vec<FileRule>>,
        }

        impl $name {
            /// Takes the options out.
            pub(super) fn options(&mut self) -> FileOptions {
                FileOptions {
                    owner: self.owner.0.take(),
                    group: self.group.0.take(),
                    mode: self.mode.0.take().map(|mode| mode.0),
                    format: self.format.0.take(),
                    dialect: self.dialect.0.take(),
                    syntax: self.syntax.0.take(),
                    deadline: self.deadline.0.take(),
                    verify: self.verify.0.take(),
                    set: self.set.0.take().map(|name| name.0),
                    // Judged where its place is known.
                    access: None,
                }
            }
        }
    };
}

with_options!(Mount: "a map with `at` and `templates`" {
    /// The mount point: an empty folder
    at: Word<PathBuf>,
    /// The folder of templates; each `NAME.tpl` in it is served as `NAME`
    templates: Word<PathBuf>,
    /// Options for single files by their path in the mount, and files whose template lies elsewhere
    #[serde(default)]
    files: Table<FilePath, File>,
});

with_options!(File: "a map of options" {
    /// The template, if it is not in the mount's folder
    #[serde(default)]
    template: Given<PathBuf>,
    /// What the daemon does for the file's readers when a value in it changes: one action
    #[serde(default)]
    on_change: Option<OnChange>,
});

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with one of `signal`, `reload`, `restart` and `command`")]
pub(super) struct OnChange {
    /// Send this signal to the processes that read the file, like HUP
    #[serde(default)]
    pub(super) signal: Given<Signal>,
    /// Reload this systemd unit
    #[serde(default)]
    pub(super) reload: Given<Unit>,
    /// Restart this systemd unit
    #[serde(default)]
    pub(super) restart: Given<Unit>,
    /// Run this program with these arguments, without a shell
    #[serde(default)]
    pub(super) command: Option<Vec<Word<Argument>>>,
    /// How long it waits for more changes (default: 1s)
    #[serde(default)]
    pub(super) debounce: Given<Duration>,
    /// How long it may take (default: 30s)
    #[serde(default)]
    pub(super) timeout: Given<Duration>,
}

#[derive(Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a map with `socket` or `listen`")]
pub(super) struct Control {
    /// The daemon's socket (default: /run/secretfs/control.sock, or in the user's runtime folder)
    pub(super) socket: Given<PathBuf>,
    /// A loopback address and port that tells metrics and health, like 127.0.0.1:9464 (default: none)
    pub(super) listen: Given<Loopback>,
}

/// The way to a running daemon, in a config that may be wrong in all else.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct OnlySocket {
    control: OnlyPath,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct OnlyPath {
    socket: Option<PathBuf>,
}

impl OnlySocket {
    pub(super) fn parse(text: &str) -> Option<Option<PathBuf>> {
        let read: Option<Self> = serde_yaml::from_str(text).ok()?;
        Some(read.and_then(|it| it.control.socket))
    }
}

#[derive(Default, serde::Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a map with `env`, `env_files`, `files`, `mask` or `watch`"
)]
pub(super) struct Profile {
    /// Variables, each with the secret that it holds
    pub(super) env: Table<Variable, Word<ReferenceText>>,
    /// Templates of env files, whose variables are set
    pub(super) env_files: Vec<Word<PathBuf>>,
    /// Files that the command alone sees, each with its template
    pub(super) files: Table<PathBuf, Word<PathBuf>>,
    /// Whether values are masked in what the command prints (default: false)
    pub(super) mask: Given<bool>,
    /// What is done when a value changes: restart, reload (SIGHUP) or signal:NAME (default: off)
    pub(super) watch: Given<Watch>,
}

#[derive(Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a map of settings")]
pub(super) struct Audit {
    /// The file that it is written to, in a folder that is there (default: none)
    pub(super) file: Given<PathBuf>,
    /// Whether journald is told (default: false)
    pub(super) journald: Given<bool>,
    /// Whether nothing is given away that cannot be written down (default: true)
    pub(super) required: Given<bool>,
    /// How large the file may become before the next one is begun (default: 64MiB)
    pub(super) size: Given<Bytes>,
    /// How many full files are kept (default: 10)
    pub(super) keep: Given<Count>,
}

/// `store: DIR`, or `store: {path: DIR, …}`.
#[derive(Default)]
pub(super) struct Store {
    pub(super) path: Option<PathBuf>,
    pub(super) backend: Option<StoreBackend>,
    pub(super) key: Option<Key>,
}

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with the store's `path`")]
pub(super) struct StoreMap {
    /// The store's folder (default: ./.secretfs)
    #[serde(default)]
    path: Given<PathBuf>,
    /// How init keeps a new one (default: sqlite, or file where SQLite cannot work)
    #[serde(default)]
    backend: Given<StoreBackend>,
    /// Where the key comes from, if not from where it is looked for anyway
    #[serde(default)]
    key: Option<Key>,
}

#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with its `source` and `path`")]
pub(super) struct Key {
    /// The kind of place
    #[serde(rename = "source")]
    _source: Word<KeySource>,
    /// The key file
    pub(super) path: Word<PathBuf>,
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(StoreVisitor)
    }
}

struct StoreVisitor;

impl<'de> Visitor<'de> for StoreVisitor {
    type Value = Store;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the store's folder, or a map with its `path`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Store, E> {
        let path = PathBuf::judge(text).map_err(E::custom)?;
        Ok(Store { path: Some(path), ..Store::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Store, A::Error> {
        let StoreMap { path, backend, key } = StoreMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Store { path: path.0, backend: backend.0, key })
    }
}
