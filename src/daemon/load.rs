//! Reads a config from its files: the one that is named, and those in `conf.d` beside it. Uses
//! `config`.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{getegid, geteuid};

use crate::config::{Config, ConfigError};

/// A config's files as they were at one moment, the main one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts(Vec<(PathBuf, String)>);

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read the config {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} belongs to another user, or others may write to it", .0.display())]
    Stranger(PathBuf),
    #[error("the config {} is {what}", path.display())]
    Unfit { path: PathBuf, what: &'static str },
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Of a folder that is named as the config.
const NAME: &str = "config.yaml";
const MORE: &str = "conf.d";

/// More than that nobody has written.
const LARGEST: u64 = 1 << 20;
/// As many as the kernel follows.
const MOST_LINKS: u32 = 40;

/// Who answers for the file that is named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Who has named it, just now.
    Caller,
    /// Nobody: a daemon does what the file says for as long as it runs, whoever has written it.
    Nobody,
}

/// Reads and judges a config that somebody has named for one command.
pub fn read(path: &Path) -> Result<Config, LoadError> {
    Ok(Texts::read_trusting(path, Trust::Caller)?.parse()?)
}

/// The control socket that a config names which cannot be read as a whole; `None` if that cannot be
/// told.
pub fn socket(path: &Path) -> Option<Option<PathBuf>> {
    let texts = Texts::read_trusting(path, Trust::Caller).ok()?;
    Config::socket_of(texts.0.iter().map(|(file, text)| (&**file, &**text)))
}

/// The config's own file, and the folder that may hold more of it.
pub fn places(path: &Path) -> (PathBuf, PathBuf) {
    let file = if path.is_dir() { path.join(NAME) } else { path.to_owned() };
    let more = file.parent().unwrap_or(Path::new("")).join(MORE);
    (file, more)
}

impl Texts {
    /// For a daemon: only what nobody but root and its own user can have written. Never waits for
    /// a writer.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        Self::read_trusting(path, Trust::Nobody)
    }

    fn read_trusting(path: &Path, trust: Trust) -> Result<Self, LoadError> {
        let (file, more) = places(path);
        let text = match trust {
            Trust::Caller => std::fs::read_to_string(&file).map_err(|error| unreadable(&file, error))?,
            Trust::Nobody => text_of(&file)?,
        };
        let mut texts = vec![(file, text)];
        for file in files_in(&more)? {
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
            Self::Unfit { .. } => None,
            Self::Config(error) => error.hint.clone(),
        }
    }

    /// For a log, which others may read than the config: nothing of its text is shown.
    pub fn in_brief(&self) -> String {
        match self {
            Self::Config(error) => error.in_brief(),
            error => error.to_string(),
        }
    }
}

/// Of the file that is there when it is opened: what is judged is what is read.
fn text_of(path: &Path) -> Result<String, LoadError> {
    let failed = |error| unreadable(path, error);
    let path = &behind_links(path)?;
    // Not blocking: a FIFO must not hold us up before it can be refused.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let unfit = |what| LoadError::Unfit { path: path.to_owned(), what };
    if !meta.is_file() {
        return Err(unfit("no regular file"));
    }
    refuse_strangers(path, &meta)?;
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(failed)?;
    match text.len() as u64 > LARGEST {
        true => Err(unfit("larger than 1 MiB")),
        false => Ok(text),
    }
}

/// The file itself. Whoever may write to a folder on the way decides what is read in the end.
fn behind_links(path: &Path) -> Result<PathBuf, LoadError> {
    let failed = |error| unreadable(path, error);
    let mut reached = path.to_owned();
    for _ in 0..MOST_LINKS {
        let folder = reached.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        refuse_strangers(folder, &folder.metadata().map_err(failed)?)?;
        let meta = reached.symlink_metadata().map_err(failed)?;
        if !meta.is_symlink() {
            return Ok(reached);
        }
        if !is_ours(&meta) {
            return Err(LoadError::Stranger(reached));
        }
        reached = folder.join(reached.read_link().map_err(failed)?);
    }
    Err(failed(io::Error::from_raw_os_error(libc::ELOOP)))
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

/// The config says which store is opened, who may read what, and which programs are run. In a
/// sticky folder nobody can replace what belongs to another (inode(7)).
fn refuse_strangers(path: &Path, meta: &Metadata) -> Result<(), LoadError> {
    let own_group = [0, getegid().as_raw()].contains(&meta.gid());
    let others = if own_group { 0o002 } else { 0o022 };
    let is_sticky = meta.is_dir() && meta.mode() & libc::S_ISVTX != 0;
    match is_ours(meta) && (meta.mode() & others == 0 || is_sticky) {
        true => Ok(()),
        false => Err(LoadError::Stranger(path.to_owned())),
    }
}

fn is_ours(meta: &Metadata) -> bool {
    [0, geteuid().as_raw()].contains(&meta.uid())
}

fn unreadable(path: &Path, error: io::Error) -> LoadError {
    LoadError::Unreadable { path: path.to_owned(), error }
}
