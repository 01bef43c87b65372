//! Why something could not be written down. Uses std only.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Nothing was written down, so nothing may be given away.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot write the audit log {}: {error}", path.display())]
    Io { path: PathBuf, error: Arc<io::Error> },
    #[error("the audit log {} is {what}", path.display())]
    Unfit { path: PathBuf, what: &'static str },
    #[error("the audit log {} is busy", .0.display())]
    Busy(PathBuf),
    #[error("journald does not take the audit: {0}")]
    Journal(Arc<io::Error>),
    #[error("the audit log is sealed with a key of the store, which is not open")]
    NoKey,
    #[error("the audit log {} was sealed with a later key than this process has", .0.display())]
    Later(PathBuf),
    #[error("{0}; {1}")]
    Both(Box<Self>, Box<Self>),
}

impl AuditError {
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io { path: path.to_owned(), error: Arc::new(error) }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { path, error } => match error.kind() {
                io::ErrorKind::NotFound => {
                    path.parent().map(|folder| format!("mkdir -p -m 700 {}", folder.display()))
                }
                io::ErrorKind::StorageFull => {
                    Some("make room on that disk, or set audit.size and audit.keep".into())
                }
                _ => None,
            },
            Self::Unfit { path, .. } => {
                let shown = path.display();
                Some(format!("move it away, or: chown root {shown}; chmod 600 {shown}"))
            }
            Self::NoKey => Some("give the daemon the store's key".into()),
            Self::Both(one, _) => one.hint(),
            Self::Busy(_) | Self::Journal(_) | Self::Later(_) => None,
        }
    }
}
