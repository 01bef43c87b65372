//! What can go wrong with the store, and what its user can do about it. Never holds a value.

use std::io;
use std::path::{Path, PathBuf};

use super::key_source::KeyError;
use crate::fields::FieldError;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is no store at {}", .0.display())]
    NoStore(PathBuf),
    #[error("there is already a store at {}", .0.display())]
    Exists(PathBuf),
    #[error("{} is not empty and has no FORMAT file: it is no store, or one that was not finished", .0.display())]
    NotAStore(PathBuf),
    #[error("the store at {} was never finished", .0.display())]
    Unfinished(PathBuf),
    #[error("another process is making a store at {}", .0.display())]
    Claimed(PathBuf),
    #[error("a signal came; nothing was made")]
    Interrupted,
    #[error("{}: {problem}", .path.display())]
    Unsafe { path: PathBuf, problem: String, mend: String },
    #[error("the store at {} has {what}, which this version of secretfs does not know", .path.display())]
    Newer { path: PathBuf, what: String },
    #[error("the store is sealed: {0}")]
    Sealed(#[from] KeyError),
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    #[error("the store is busy: another process has been writing for {0} s")]
    Busy(u64),
    #[error("the store is read-only here")]
    ReadOnly,
    #[error("no space is left on the disk; what the store held before is intact")]
    DiskFull,
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the store's database failed: {0}")]
    Database(String),
    #[error("SQLite cannot work at {}: {why}", .path.display())]
    NoSqlite { path: PathBuf, why: String },
    #[error("the machine gave no random bytes: {0}")]
    Random(getrandom::Error),
    #[error("there is already a secret `{0}`")]
    SecretExists(String),
    #[error("there is no secret `{0}`")]
    SecretMissing(String),
    #[error("secret `{0}`: {1}")]
    Field(String, FieldError),
    #[error("there is no namespace `{0}`")]
    NamespaceMissing(String),
    #[error("there is already a namespace `{0}`")]
    NamespaceExists(String),
    /// Inside the store only: it is opened anew with the key that it has now.
    #[error("the master key was changed meanwhile")]
    Rekeyed,
    #[error("there is no version {version} of `{name}`")]
    VersionMissing { name: String, version: u64 },
    #[error("there is already a file {}", .0.display())]
    FileExists(PathBuf),
    #[error("the backup {} cannot be used: {problem}", .path.display())]
    Backup { path: PathBuf, problem: &'static str },
    #[error("{} holds the store as it was before an earlier move", .0.display())]
    Aside(PathBuf),
    /// Nothing was changed, since nobody would know who did it.
    #[error("{problem}; nothing was changed")]
    Unwitnessed { problem: String, mend: Option<String> },
    #[error("{0}")]
    Refused(String),
}

impl StoreError {
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }

    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Self::DiskFull,
            Some(libc::EROFS) => Self::ReadOnly,
            _ => Self::Io { doing, path: path.to_owned(), source },
        }
    }

    /// Says which secret was damaged.
    pub(super) fn about(self, name: &str) -> Self {
        match self {
            Self::Corrupt(what) => Self::Corrupt(format!("secret `{name}`: {what}")),
            other => other,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoStore(_) => "secretfs init, or name one with --store DIR or SECRETFS_STORE".into(),
            Self::Exists(_) => "use it as it is; to begin anew, move it away first".into(),
            Self::NotAStore(path) => {
                format!("name another folder, or look into {} and clear it", path.display())
            }
            Self::Unfinished(path) => {
                format!("run again what was to make it, or remove it: rm -r {}", path.display())
            }
            Self::Claimed(_) => "wait for it, or name another folder".into(),
            Self::Interrupted => "run the command again".into(),
            Self::Unsafe { mend, .. } => mend.clone(),
            Self::Unwitnessed { mend, .. } => return mend.clone(),
            Self::Newer { .. } => "update secretfs; this one has changed nothing".into(),
            Self::Sealed(error) => error.hint(),
            Self::Corrupt(_) => {
                "secretfs store verify says what is damaged and what can be saved; nothing was changed".into()
            }
            Self::Busy(_) => "try again; `fuser -v STORE/sequence` shows who holds it".into(),
            Self::ReadOnly => "write where the filesystem is mounted read-write".into(),
            Self::DiskFull => "free some space, then run the command again".into(),
            Self::SecretExists(name) => {
                format!("secretfs rotate {name} adds a version; without --new, so does set")
            }
            Self::Field(_, error) => error.hint().into(),
            Self::VersionMissing { name, .. } => format!("secretfs versions {name} shows what there is"),
            Self::FileExists(_) => "name another file, or move this one away first".into(),
            Self::Backup { .. } => "take another copy of it; nothing was made of this one".into(),
            Self::NamespaceExists(_) => "use it as it is".into(),
            Self::NamespaceMissing(_) => "secretfs namespace list shows what there is".into(),
            Self::Rekeyed => "run the command again".into(),
            Self::SecretMissing(_) => "secretfs list shows what there is".into(),
            Self::NoSqlite { .. } => {
                "secretfs init --backend file, or name a folder on another filesystem".into()
            }
            Self::Aside(path) => format!("when all is well: rm -r {}", path.display()),
            Self::Io { doing: "lock", path, .. } => {
                format!(
                    "keep the store on a disk of this machine: {} is on one without locks",
                    path.display()
                )
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run secretfs as the user whose store it is".into()
            }
            Self::Io { .. } | Self::Database(_) => {
                "look at what the kernel says of the disk (dmesg), then secretfs store verify".into()
            }
            Self::Random(_) | Self::Refused(_) => return None,
        })
    }
}
