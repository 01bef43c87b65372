//! Reads a config from its files: the one that is named, and those in `conf.d` beside it. Uses
//! `config`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::config::{Config, ConfigError};

/// A config's files as they were at one moment, the main one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts(Vec<(PathBuf, String)>);

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read the config {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} belongs to another user, or everybody may write to it", .0.display())]
    Stranger(PathBuf),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Of a folder that is named as the config.
const NAME: &str = "config.yaml";
const MORE: &str = "conf.d";

/// Reads and judges a config.
pub fn read(path: &Path) -> Result<Config, LoadError> {
    Ok(Texts::read(path)?.parse()?)
}

/// The config's own file, and the folder that may hold more of it.
pub fn places(path: &Path) -> (PathBuf, PathBuf) {
    let file = if path.is_dir() { path.join(NAME) } else { path.to_owned() };
    let more = file.parent().unwrap_or(Path::new("")).join(MORE);
    (file, more)
}

impl Texts {
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let (file, more) = places(path);
        let mut texts = vec![(file.clone(), text_of(&file)?)];
        for file in files_in(&more)? {
            refuse_strangers(&file)?;
            let text = text_of(&file)?;
            texts.push((file, text));
        }
        Ok(Self(texts))
    }

    /// What another process can read them from: memory, not the disk.
    pub fn keep(&self) -> io::Result<OwnedFd> {
        let kept = memfd_create("secretfs-config", MFdFlags::MFD_CLOEXEC)?;
        File::from(kept.try_clone()?).write_all(&serde_json::to_vec(&self.0)?)?;
        Ok(kept)
    }

    /// The texts that another process has kept.
    pub fn kept(kept: OwnedFd) -> io::Result<Self> {
        let mut file = File::from(kept);
        file.rewind()?;
        Ok(Self(serde_json::from_reader(file)?))
    }

    pub fn parse(&self) -> Result<Config, ConfigError> {
        Config::parse_all(self.0.iter().map(|(file, text)| (&**file, &**text)))
    }
}

impl LoadError {
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                Some("check the path given with --config".to_owned())
            }
            Self::Unreadable { error, .. } if error.kind() == io::ErrorKind::InvalidData => {
                Some("save it as UTF-8 text".to_owned())
            }
            Self::Unreadable { .. } => None,
            Self::Stranger(path) => Some(format!("chown root and chmod go-w {}", path.display())),
            Self::Config(error) => error.hint.clone(),
        }
    }
}

fn text_of(path: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, error))
}

/// By name. What an editor leaves there while it writes begins with a dot or ends otherwise.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let listed = match folder.read_dir() {
        Ok(listed) => listed,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(folder, error)),
    };
    refuse_strangers(folder)?;
    let mut files = Vec::new();
    for entry in listed {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
        if path.extension().and_then(OsStr::to_str) == Some("yaml") && !is_hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Nobody has named these files, and they say which store is opened and who may read what.
fn refuse_strangers(path: &Path) -> Result<(), LoadError> {
    let meta = path.metadata().map_err(|error| unreadable(path, error))?;
    let us = nix::unistd::geteuid().as_raw();
    match [0, us].contains(&meta.uid()) && meta.mode() & 0o002 == 0 {
        true => Ok(()),
        false => Err(LoadError::Stranger(path.to_owned())),
    }
}

fn unreadable(path: &Path, error: io::Error) -> LoadError {
    LoadError::Unreadable { path: path.to_owned(), error }
}
