//! What the keys of a log are made from: a key of the store, or a file of its own beside the log
//! where there is no store. Uses std.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::geteuid;
use zeroize::Zeroizing;

use super::error::AuditError;
use crate::secret::SecretBytes;

/// Where the first key comes from. It is asked for when a log is opened, and kept by nobody: from
/// then on there is only the key of the day, from which those before cannot be found.
#[derive(Clone)]
pub enum Seed {
    /// Nothing is written down.
    None,
    From(Source),
    /// In a file beside the log: who can write to the one can read the other.
    Beside,
    /// The store is there, and its key is not.
    Locked,
}

/// Makes it anew each time. `None`: it cannot just now.
pub(super) type Source = Arc<dyn Fn() -> Option<SecretBytes> + Send + Sync>;

const LENGTH: usize = 32;

impl Seed {
    pub fn from(source: impl Fn() -> Option<SecretBytes> + Send + Sync + 'static) -> Self {
        Self::From(Arc::new(source))
    }

    pub(super) fn bytes(&self, log: &Path) -> Result<SecretBytes, AuditError> {
        match self {
            Self::From(source) => source().ok_or(AuditError::NoKey),
            Self::Beside => beside(log),
            Self::None | Self::Locked => Err(AuditError::NoKey),
        }
    }
}

/// The key that lies beside the log, if one does. For who only reads.
pub fn beside_now(log: &Path) -> Option<SecretBytes> {
    read(&path(log)).ok()
}

fn path(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".key");
    name.into()
}

fn beside(log: &Path) -> Result<SecretBytes, AuditError> {
    let path = path(log);
    match read(&path) {
        Err(AuditError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => make(&path),
        found => found,
    }
}

fn read(path: &Path) -> Result<SecretBytes, AuditError> {
    let failed = AuditError::io(path);
    let mut file =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).map_err(&failed)?;
    let meta = file.metadata().map_err(&failed)?;
    let is_ours = meta.uid() == geteuid().as_raw() || meta.uid() == 0;
    if !is_ours || meta.mode() & 0o077 != 0 || meta.len() != LENGTH as u64 {
        return Err(AuditError::Unfit { path: path.to_owned(), what: "no key file of ours" });
    }
    let mut bytes = Zeroizing::new([0; LENGTH]);
    file.read_exact(&mut *bytes).map_err(&failed)?;
    Ok(SecretBytes::copy_of(&*bytes))
}

/// Of two processes that make one, both take that of the first.
fn make(path: &Path) -> Result<SecretBytes, AuditError> {
    let failed = AuditError::io(path);
    let mut bytes = Zeroizing::new([0; LENGTH]);
    getrandom::fill(&mut *bytes).map_err(|error| failed(io::Error::other(error)))?;
    let fresh = path.with_extension(format!("new{}", std::process::id()));
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).and_then(|mut file| {
            file.write_all(&*bytes)?;
            file.sync_all()?;
            std::fs::hard_link(&fresh, path)
        });
    let _ = std::fs::remove_file(&fresh);
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        _ => read(path),
    }
}
