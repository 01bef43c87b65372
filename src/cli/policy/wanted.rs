//! What is asked for, as the config has it: a file of a mount with the secrets of its template, a
//! credential, or a secret by itself. May use every layer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::exit;
use crate::cli::named::Readings;
use crate::cli::report::Failure;
use crate::config::Config;
use crate::credentials::Credentials;
use crate::daemon::apart::Own;
use crate::daemon::{plan, rules};
use crate::fs::tree::{File, Layout, Tree};
use crate::nearest::nearest;
use crate::policy::{Door, FileRef, Policy};
use crate::secret::{Reference, SecretKey};
use crate::template::Template;

/// All that has a name: the files of all mounts, and the credentials.
#[derive(Default)]
pub struct Served {
    pub all: Vec<Target>,
}

/// What is read as a whole.
#[derive(Clone)]
pub enum Target {
    File { layout: Arc<Layout>, file: Arc<File> },
    Credential { all: Arc<Credentials>, name: String },
}

pub struct Wanted {
    pub target: Option<Target>,
    /// As it was asked for.
    pub secret: Option<String>,
    pub keys: Vec<SecretKey>,
    /// What one text may mean, if that is more than one thing.
    pub readings: Vec<Reference>,
}

impl Served {
    pub fn of_config(config: &Config) -> Result<Self, Failure> {
        let mut all = Vec::new();
        for plan in plan::of_config(config, &Own::default())? {
            let (tree, layout) = (Tree::scan(&plan.layout, None)?, Arc::new(plan.layout));
            let mut found: Vec<_> = tree.files().filter(|file| !file.source.is_fixed()).cloned().collect();
            found.sort_by(|one, other| one.path.cmp(&other.path));
            all.extend(found.into_iter().map(|file| Target::File { layout: layout.clone(), file }));
        }
        let credentials = Arc::new(rules::credentials(config)?);
        let named = credentials.names.keys().cloned();
        all.extend(named.map(|name| Target::Credential { all: credentials.clone(), name }));
        Ok(Self { all })
    }

    /// What comes out of this door.
    pub fn through(self, door: Option<Door>) -> Self {
        let is_wanted = |it: &Target| match door {
            Some(Door::Systemd) => it.door() == Door::Systemd,
            Some(_) => it.door() != Door::Systemd,
            None => true,
        };
        Self { all: self.all.into_iter().filter(is_wanted).collect() }
    }

    /// By its path, from the root or from here, or by that in the only mount that has such a file; a
    /// credential by its name.
    pub fn find(&self, path: &Path) -> Result<&Target, Failure> {
        let whole = std::path::absolute(path).map_err(|error| Failure::new(exit::USAGE, error))?;
        if let Some(found) = self.all.iter().find(|it| it.path() == whole) {
            return Ok(found);
        }
        let mut inside = self.all.iter().filter(|it| it.inside() == path);
        match (inside.next(), inside.next()) {
            (Some(found), None) => Ok(found),
            (Some(one), Some(other)) => {
                let problem = format!("several have the name {}", path.display());
                let hint = format!("{} or {}", one.path().display(), other.path().display());
                Err(Failure::new(exit::USAGE, problem).hint(hint))
            }
            (None, _) => Err(self.missing(path)),
        }
    }

    fn missing(&self, path: &Path) -> Failure {
        let problem = format!("the config has no file and no credential {}", path.display());
        let names = self.all.iter().map(|it| it.path().display().to_string());
        let inside = self.all.iter().map(|it| it.inside().display().to_string());
        let hint =
            nearest(&path.to_string_lossy(), names.chain(inside)).map(|near| format!("did you mean {near}?"));
        Failure { hint, ..Failure::new(exit::NO_INPUT, problem) }
    }
}

impl Target {
    /// From the root.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::File { layout, file } => layout.at.join(&file.path),
            Self::Credential { all, name } => all.socket.join(name),
        }
    }

    /// In its mount, or among the credentials.
    fn inside(&self) -> &Path {
        match self {
            Self::File { file, .. } => &file.path,
            Self::Credential { name, .. } => Path::new(name),
        }
    }

    /// The usual way to it.
    pub fn door(&self) -> Door {
        match self {
            Self::File { .. } => Door::Mount,
            Self::Credential { .. } => Door::Systemd,
        }
    }

    /// `None`: it went while we looked.
    pub fn asked(&self) -> Option<FileRef<'_>> {
        match self {
            Self::File { layout, file } => Some(file.as_asked(layout)),
            Self::Credential { all, name } => Some(all.names.get(name)?.file(&all.socket, name)),
        }
    }

    /// What its reader has to be allowed, and what may be meant if that is not certain.
    fn keys(&self) -> Result<(Vec<SecretKey>, Vec<Reference>), Failure> {
        match self {
            Self::File { file, .. } => {
                let loaded = file.source.load();
                let template: Arc<Template> =
                    loaded.template.as_ref().cloned().map_err(|it| Failure::from(it.clone()))?;
                Ok((template.keys().to_vec(), Vec::new()))
            }
            Self::Credential { all, name } => {
                let readings = all.names.get(name).map_or_else(Vec::new, |it| it.readings.clone());
                Ok((readings.iter().map(|it| it.key.clone()).collect(), readings))
            }
        }
    }
}

impl Wanted {
    pub fn of(
        served: &Served,
        policy: &Policy,
        file: Option<&Path>,
        secret: Option<&str>,
    ) -> Result<Self, Failure> {
        let whole = file.map(|path| Self::whole(served.find(path)?)).transpose()?;
        let Some(name) = secret else {
            return whole.ok_or_else(|| Failure::new(exit::USAGE, "nothing is asked for"));
        };
        let readings = Readings::of(name)?.references;
        let keys_of = |all: &[Reference]| all.iter().map(|it| it.key.clone()).collect::<Vec<_>>();
        let secret = Some(name.to_owned());
        let Some(whole) = whole else {
            return Ok(Self { target: None, secret, keys: keys_of(&readings), readings });
        };
        let is_in_it = |it: &Reference| whole.keys.iter().any(|key| policy.is_same(key, &it.key));
        let readings: Vec<_> = readings.into_iter().filter(is_in_it).collect();
        match readings.is_empty() {
            true => Err(whole.lacks(name)),
            false => Ok(Self { secret, keys: keys_of(&readings), readings, ..whole }),
        }
    }

    pub fn whole(target: &Target) -> Result<Self, Failure> {
        let (keys, readings) = target.keys()?;
        Ok(Self { target: Some(target.clone()), secret: None, keys, readings })
    }

    pub fn file(&self) -> Option<FileRef<'_>> {
        self.target.as_ref().and_then(Target::asked)
    }

    fn lacks(&self, name: &str) -> Failure {
        let in_it: Vec<_> = self.keys.iter().map(ToString::to_string).collect();
        let hint = match nearest(name, &in_it) {
            Some(near) => format!("did you mean {near}?"),
            None if in_it.is_empty() => "it has no secrets".to_owned(),
            None => format!("it has {}", in_it.join(", ")),
        };
        Failure::new(exit::NO_INPUT, format!("the secret {name} is not in {}", self.name())).hint(hint)
    }

    /// For a person.
    pub fn name(&self) -> String {
        let target = self.target.as_ref().map(|target| match target {
            Target::File { .. } => target.path().display().to_string(),
            Target::Credential { name, .. } => format!("the credential {name}"),
        });
        match (&self.secret, target) {
            (Some(secret), Some(target)) => format!("the secret {secret} in {target}"),
            (Some(secret), None) => format!("the secret {secret}"),
            (None, target) => target.unwrap_or_default(),
        }
    }
}
