//! Reads a config from its file. Uses `config`.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read the config {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Reads and judges one config file.
pub fn read(path: &Path) -> Result<Config, LoadError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
    Ok(Config::parse(path, &text)?)
}
