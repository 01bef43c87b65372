//! What is asked for, as the config has it: a file of a mount with the secrets of its template, or a
//! secret by itself. May use every layer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::exit;
use crate::cli::named::Readings;
use crate::cli::report::Failure;
use crate::config::Config;
use crate::daemon::apart::Own;
use crate::daemon::plan;
use crate::fs::tree::{File, Layout, Tree};
use crate::nearest::nearest;
use crate::policy::FileRef;
use crate::secret::SecretKey;
use crate::template::Template;

/// All files of all mounts.
#[derive(Default)]
pub struct Served {
    pub files: Vec<ServedFile>,
}

#[derive(Clone)]
pub struct ServedFile {
    layout: Arc<Layout>,
    pub file: Arc<File>,
}

pub struct Wanted {
    pub file: Option<ServedFile>,
    /// As it was asked for.
    pub secret: Option<String>,
    pub keys: Vec<SecretKey>,
}

impl Served {
    pub fn of_config(config: &Config) -> Result<Self, Failure> {
        let mut files = Vec::new();
        for plan in plan::of_config(config, &Own::default())? {
            let (tree, layout) = (Tree::scan(&plan.layout, None)?, Arc::new(plan.layout));
            let mut found: Vec<_> = tree.files().filter(|file| !file.source.is_fixed()).cloned().collect();
            found.sort_by(|one, other| one.path.cmp(&other.path));
            files.extend(found.into_iter().map(|file| ServedFile { layout: layout.clone(), file }));
        }
        Ok(Self { files })
    }

    /// By its path, from the root or from here, or by that in the only mount that has such a file.
    pub fn find(&self, path: &Path) -> Result<&ServedFile, Failure> {
        let whole = std::path::absolute(path).map_err(|error| Failure::new(exit::USAGE, error))?;
        if let Some(found) = self.files.iter().find(|it| it.path() == whole) {
            return Ok(found);
        }
        let mut inside = self.files.iter().filter(|it| *it.file.path == *path);
        match (inside.next(), inside.next()) {
            (Some(found), None) => Ok(found),
            (Some(one), Some(other)) => {
                let problem = format!("several mounts have a file {}", path.display());
                let hint = format!("{} or {}", one.path().display(), other.path().display());
                Err(Failure::new(exit::USAGE, problem).hint(hint))
            }
            (None, _) => {
                let failure = Failure::new(
                    exit::NO_INPUT,
                    format!("no mount of the config has a file {}", path.display()),
                );
                let names = || self.files.iter().map(|it| it.path().display().to_string());
                let inside = self.files.iter().map(|it| it.file.path.display().to_string());
                let near = nearest(&path.to_string_lossy(), names().chain(inside));
                Err(match near {
                    Some(near) => failure.hint(format!("did you mean {near}?")),
                    None => failure,
                })
            }
        }
    }
}

impl ServedFile {
    /// From the root.
    pub fn path(&self) -> PathBuf {
        self.layout.at.join(&self.file.path)
    }

    pub fn asked(&self) -> FileRef<'_> {
        self.file.as_asked(&self.layout)
    }

    pub fn template(&self) -> Result<Arc<Template>, Failure> {
        let loaded = self.file.source.load();
        loaded.template.as_ref().cloned().map_err(|error| Failure::from(error.clone()))
    }
}

impl Wanted {
    pub fn of(served: &Served, file: Option<&Path>, secret: Option<&str>) -> Result<Self, Failure> {
        let file = file.map(|path| served.find(path)).transpose()?.cloned();
        let keys = match (&file, secret) {
            (_, Some(name)) => Readings::of(name)?.references.into_iter().map(|it| it.key).collect(),
            (Some(file), None) => file.template()?.keys().to_vec(),
            (None, None) => Vec::new(),
        };
        Ok(Self { file, secret: secret.map(str::to_owned), keys })
    }

    pub fn whole(file: &ServedFile) -> Result<Self, Failure> {
        let keys = file.template()?.keys().to_vec();
        Ok(Self { file: Some(file.clone()), secret: None, keys })
    }

    pub fn file(&self) -> Option<FileRef<'_>> {
        self.file.as_ref().map(ServedFile::asked)
    }

    /// For a person.
    pub fn name(&self) -> String {
        match (&self.secret, &self.file) {
            (Some(secret), Some(file)) => format!("the secret {secret} in {}", file.path().display()),
            (Some(secret), None) => format!("the secret {secret}"),
            (None, file) => file.as_ref().map_or_else(String::new, |file| file.path().display().to_string()),
        }
    }
}
