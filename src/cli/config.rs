//! Finds and reads the config: `--config` (a file, or a folder with its `config.yaml`), else
//! `secretfs.yaml` upwards from the working directory, else `/etc/secretfs/config.yaml`. May use
//! every layer.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::report::Failure;
use super::{Common, exit};
use crate::config::{Config, ConfigError};
use crate::daemon::load::{self, LoadError};

const NAME: &str = "secretfs.yaml";
const SYSTEM: &str = "/etc/secretfs/config.yaml";

/// The config that is in force here; one that says nothing if there is none.
pub fn load(common: &Common) -> Result<Config, Failure> {
    match find(common)? {
        Some(path) => read(&path),
        None => Ok(Config::parse(Path::new(NAME), "")?),
    }
}

/// The control socket that it names though it cannot be read as a whole; `None` if that cannot be told.
pub fn socket(common: &Common) -> Option<Option<PathBuf>> {
    load::socket(&find(common).ok()??)
}

/// Reads and judges one config file.
pub fn read(path: &Path) -> Result<Config, Failure> {
    Ok(load::read(path)?)
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Config(error) => error.into(),
            error => Self { hint: error.hint(), ..Self::new(exit::CONFIG, &error) },
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { problem: error.to_string(), hint: error.hint, status: exit::CONFIG }
    }
}

/// Where it is, if there is one.
pub fn find(common: &Common) -> Result<Option<PathBuf>, Failure> {
    if let Some(path) = &common.config {
        return Ok(Some(path.clone()));
    }
    let Ok(cwd) = std::env::current_dir() else { return Ok(None) };
    for folder in cwd.ancestors() {
        let path = folder.join(NAME);
        if exists(&path)? {
            refuse_strangers(&path)?;
            return Ok(Some(path));
        }
    }
    let system = PathBuf::from(SYSTEM);
    Ok(exists(&system)?.then_some(system))
}

/// A folder that we may not look into has no config for us.
fn exists(path: &Path) -> Result<bool, Failure> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(false),
        Err(error) => Err(unreadable(path, error)),
    }
}

/// A config that was merely found says which store is opened and which files are rendered: in a
/// folder like /tmp it may be anybody's.
fn refuse_strangers(path: &Path) -> Result<(), Failure> {
    let metadata = path.metadata().map_err(|error| unreadable(path, error))?;
    let us = nix::unistd::geteuid().as_raw();
    let is_ours = [0, us].contains(&metadata.uid()) && metadata.mode() & 0o002 == 0;
    if is_ours {
        return Ok(());
    }
    let problem = format!("{} belongs to another user, or everybody may write to it", path.display());
    Err(Failure::new(exit::CONFIG, problem).hint(format!("--config {} if you trust it", path.display())))
}

fn unreadable(path: &Path, error: std::io::Error) -> Failure {
    LoadError::Unreadable { path: path.to_owned(), error }.into()
}
