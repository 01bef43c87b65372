//! The config: text in, judged settings out, every mistake with its file, line and column.
//! Pure: finding and reading the file is the command line's part. Uses the words of `secret`.

mod error;
mod place;
mod raw;
mod scalar;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::ConfigError;
pub use place::Place;
pub use schema::schema;

use crate::nearest::nearest;
use crate::secret::{Reference, SecretName};
use crate::template::{Dialect, Format, Syntax};

/// What a config file says. Paths in it are absolute, or relative to the working directory if the
/// folder that was given to [`Config::parse`] was.
#[derive(Debug)]
pub struct Config {
    pub store: StoreConfig,
    pub mounts: Vec<Mount>,
    pub profiles: BTreeMap<String, Profile>,
    pub sources: Sources,
    /// The variables that a template may read as `env.NAME`.
    pub env_allowed: BTreeSet<String>,
    /// The providers by name: `store`, and those that the config names. What it does not name, a
    /// mount does not ask: the daemon's environment is not every template's.
    pub providers: BTreeMap<String, ProviderKind>,
    file: PathBuf,
    text: String,
}

#[derive(Debug, Default)]
pub struct StoreConfig {
    pub path: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

/// Where secrets come from that a reference names without a provider.
#[derive(Debug, Default)]
pub struct Sources {
    /// The provider of every name that is not in `map`; the store if there is none.
    pub from: Option<String>,
    pub map: BTreeMap<SecretName, Reference>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    Store,
    Env,
}

#[derive(Debug)]
pub struct Mount {
    pub at: PathBuf,
    /// The folder that is mirrored without the `.tpl` suffix.
    pub templates: PathBuf,
    pub defaults: FileOptions,
    pub files: BTreeMap<PathBuf, FileEntry>,
}

/// What the config says on one file of a mount.
#[derive(Debug, Default)]
pub struct FileEntry {
    /// A template that lies elsewhere; else it is the file's own, in the mount's folder.
    pub template: Option<PathBuf>,
    pub options: FileOptions,
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
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    Id(u32),
    Name(String),
}

/// What `exec --profile` injects.
#[derive(Debug, Default)]
pub struct Profile {
    /// Variable to reference, as the command line writes references.
    pub env: BTreeMap<String, String>,
    pub env_files: Vec<PathBuf>,
    /// Covered path to template.
    pub files: BTreeMap<PathBuf, PathBuf>,
}

const OWN_PROVIDERS: [(&str, ProviderKind); 2] = [("store", ProviderKind::Store), ("env", ProviderKind::Env)];

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
        }
    }
}

impl Config {
    /// Judges the text of `file`. Relative paths in it are relative to the file's folder.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let root = if is_blank(text) {
            raw::Root::default()
        } else {
            serde_yaml::from_str(text).map_err(|error| ConfigError::from_yaml(file, text, &error))?
        };
        Config::from_raw(root, file, text)
    }

    /// An error about the value at `path` (keys, or numbers from 0), for whoever finds out later
    /// that it cannot be: a folder that is not there, a user that nobody knows.
    pub fn error_at(&self, path: &[&str], problem: impl std::fmt::Display) -> ConfigError {
        ConfigError::new(&self.file, &self.text, place::locate(&self.text, path), problem)
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    fn from_raw(root: raw::Root, file: &Path, text: &str) -> Result<Self, ConfigError> {
        let base = Base(file.parent().unwrap_or(Path::new("")));
        let mut config = Self {
            store: base.store(root.store),
            mounts: root.mounts.into_iter().map(|mount| base.mount(mount)).collect(),
            profiles: root.profiles.0.into_iter().map(|(name, it)| (name.0, base.profile(it))).collect(),
            env_allowed: root.env.into_iter().map(|name| name.0.0).collect(),
            providers: root.providers.0.into_iter().map(|(name, it)| (name.0, it.r#type.0)).collect(),
            sources: Sources::default(),
            file: file.to_owned(),
            text: text.to_owned(),
        };
        config.add_own_providers()?;
        config.sources = config.judge_sources(root.secrets.0)?;
        config.judge_mounts()?;
        Ok(config)
    }

    /// The two providers that need no settings keep their names.
    fn add_own_providers(&mut self) -> Result<(), ConfigError> {
        for (name, kind) in OWN_PROVIDERS {
            if self.providers.get(name).is_some_and(|given| *given != kind) {
                let problem = format!("the name `{name}` belongs to the provider of that type");
                return Err(self.error_at(&["providers", name], problem));
            }
        }
        self.providers.insert("store".to_owned(), ProviderKind::Store);
        Ok(())
    }

    fn judge_sources(
        &mut self,
        table: BTreeMap<SecretName, scalar::Word<scalar::ReferenceText>>,
    ) -> Result<Sources, ConfigError> {
        let mut sources = Sources::default();
        for (name, scalar::Word(reference)) in table {
            let place = ["secrets", name.as_str()];
            if name.as_str() == "from" {
                self.use_provider(&reference.text, &place)?;
                sources.from = Some(reference.text);
                continue;
            }
            if let Some(provider) = &reference.parsed.key.provider {
                self.use_provider(provider, &place)?;
            }
            sources.map.insert(name, reference.parsed);
        }
        Ok(sources)
    }

    fn use_provider(&mut self, name: &str, place: &[&str]) -> Result<(), ConfigError> {
        if self.providers.contains_key(name) {
            return Ok(());
        }
        if let Some((_, kind)) = OWN_PROVIDERS.iter().find(|(own, _)| *own == name) {
            self.providers.insert(name.to_owned(), *kind);
            return Ok(());
        }
        let own = OWN_PROVIDERS.iter().map(|(own, _)| *own);
        let known: BTreeSet<&str> = self.providers.keys().map(String::as_str).chain(own).collect();
        let hint = match nearest(name, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there is {}", Vec::from_iter(known).join(", ")),
        };
        Err(self.error_at(place, format!("no provider is named `{name}`")).hint(Some(hint)))
    }

    fn judge_mounts(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for (index, mount) in self.mounts.iter().enumerate() {
            let index = index.to_string();
            if !seen.insert(&mount.at) {
                let problem = format!("two mounts at {}", mount.at.display());
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

/// Nothing but comments: valid, and says nothing.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// The folder that relative paths begin at.
struct Base<'a>(&'a Path);

impl Base<'_> {
    fn path(&self, path: PathBuf) -> PathBuf {
        // `./x` is how people write it, and no way to tell it.
        self.0.join(path.strip_prefix("./").unwrap_or(&path))
    }

    fn store(&self, store: raw::Store) -> StoreConfig {
        StoreConfig {
            path: store.path.map(|path| self.path(path)),
            key_file: store.key.map(|key| self.path(key.path.0)),
        }
    }

    fn mount(&self, mut mount: raw::Mount) -> Mount {
        let defaults = mount.options();
        let files = mount.files.0.into_iter().map(|(path, file)| (path.0, self.file(file))).collect();
        Mount { at: self.path(mount.at.0), templates: self.path(mount.templates.0), defaults, files }
    }

    fn file(&self, mut file: raw::File) -> FileEntry {
        let options = file.options();
        FileEntry { template: file.template.0.map(|path| self.path(path)), options }
    }

    fn profile(&self, profile: raw::Profile) -> Profile {
        Profile {
            env: profile.env.0.into_iter().map(|(name, reference)| (name.0, reference.0.text)).collect(),
            env_files: profile.env_files.into_iter().map(|path| self.path(path.0)).collect(),
            files: profile.files.0.into_iter().map(|(at, it)| (self.path(at), self.path(it.0))).collect(),
        }
    }
}
