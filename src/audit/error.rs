//! Why something could not be written down. Uses std and `queue`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::queue::BUDGET;

/// Nothing was written down, so nothing may be given away.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot write the audit log {}: {error}", path.display())]
    Io { path: PathBuf, error: Arc<io::Error> },
    #[error("the audit log {} is {what}", path.display())]
    Unfit { path: PathBuf, what: &'static str },
    #[error("the audit log {} is busy", .0.display())]
    Busy(PathBuf),
    #[error("the audit log{} did not answer within {} ms", shown(.0), BUDGET.as_millis())]
    Late(Option<PathBuf>),
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

    pub(super) fn late(path: Option<&Path>) -> Self {
        Self::Late(path.map(Path::to_owned))
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
            Self::Late(_) => Some("look at its disk: it goes on by itself when that answers".into()),
            Self::Both(one, _) => one.hint(),
            Self::Busy(_) | Self::Journal(_) | Self::Later(_) => None,
        }
    }
}

fn shown(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default()
}
