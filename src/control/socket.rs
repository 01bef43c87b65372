//! The place of a socket of the daemon: made for its user alone, where nobody else can put another in
//! its place. What is not ours is refused and never removed. Uses nix.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::geteuid;

const FOLDER: &str = "secretfs";
pub const CONTROL: &str = "control.sock";
/// What service managers ask.
pub const CREDENTIALS: &str = "credentials.sock";
/// Beside the socket, and never taken away: who holds it makes or replaces the socket.
const LOCK: &str = "lock";
/// A daemon that starts holds the lock for a moment.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("a daemon answers on {} already", .0.display())]
    Taken(PathBuf),
    #[error("{} is {what}", path.display())]
    NotASocket { path: PathBuf, what: &'static str },
    #[error("the socket {} belongs to uid {uid}", path.display())]
    Foreign { path: PathBuf, uid: u32 },
    #[error("others may write to the folder of the socket, {}", .0.display())]
    Folder(PathBuf),
    #[error("somebody holds the lock {}", .0.display())]
    Locked(PathBuf),
    #[error("the socket {} cannot be made: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl BindError {
    pub fn hint(&self) -> String {
        match self {
            Self::Taken(_) => {
                "stop it first, or give this one another socket: `control: {socket: PATH}`".to_owned()
            }
            Self::NotASocket { path, .. } | Self::Foreign { path, .. } => {
                format!("see what it is; if nobody needs it: rm {}", path.display())
            }
            Self::Folder(folder) => format!("chmod go-w {}", folder.display()),
            Self::Locked(lock) => format!("fuser -v {} says who; end it", lock.display()),
            Self::Io { .. } => "`control: {socket: PATH}` puts it elsewhere".to_owned(),
        }
    }
}

/// Where the daemon of this user listens by this name if its config does not say. `None`: a user without a
/// folder for such things.
pub fn default_path(name: &str) -> Option<PathBuf> {
    let folder = match geteuid().is_root() {
        true => PathBuf::from("/run"),
        false => PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty())?),
    };
    Some(folder.join(FOLDER).join(name))
}

/// Makes the socket and listens. One that a dead daemon of ours has left is replaced.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |error| BindError::Io { path: path.to_owned(), error };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(folder).map_err(failed)?;
    // Two daemons that start at once must not take each other's for a dead one's.
    check_folder(folder)?;
    let _lock = lock(&path.with_added_extension(LOCK))?;
    clear(path)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Takes away the socket of a daemon that ends, when its listener is closed.
pub fn remove(path: &Path) -> Result<(), BindError> {
    clear(path)
}

/// Of a file that its user alone can open: a lock on what others can open, others can hold.
fn lock(path: &Path) -> Result<File, BindError> {
    let failed = |error| BindError::Io { path: path.to_owned(), error };
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path).map_err(failed)?;
    let uid = file.metadata().map_err(failed)?.uid();
    if uid != geteuid().as_raw() {
        return Err(BindError::Foreign { path: path.to_owned(), uid });
    }
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    let end = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => {
                return Err(BindError::Locked(path.to_owned()));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// In a sticky folder nobody can replace what belongs to another (inode(7)).
fn check_folder(folder: &Path) -> Result<(), BindError> {
    let meta = folder.metadata().map_err(|error| BindError::Io { path: folder.to_owned(), error })?;
    let is_ours = [0, geteuid().as_raw()].contains(&meta.uid());
    let is_closed = meta.mode() & 0o022 == 0 || meta.mode() & libc::S_ISVTX != 0;
    if is_ours && is_closed { Ok(()) } else { Err(BindError::Folder(folder.to_owned())) }
}

/// Leaves nothing at the path, or says why it must stay.
fn clear(path: &Path) -> Result<(), BindError> {
    let failed = |error| BindError::Io { path: path.to_owned(), error };
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let kind = meta.file_type();
    if !kind.is_socket() {
        let what = if kind.is_symlink() { "a link" } else { "no socket" };
        return Err(BindError::NotASocket { path: path.to_owned(), what });
    }
    if meta.uid() != geteuid().as_raw() {
        return Err(BindError::Foreign { path: path.to_owned(), uid: meta.uid() });
    }
    match answers(path) {
        Ok(true) => Err(BindError::Taken(path.to_owned())),
        Ok(false) => fs::remove_file(path).map_err(failed),
        Err(errno) => Err(failed(errno.into())),
    }
}

/// Whether anybody listens. Never waits: a queue that is full has a listener, too.
fn answers(path: &Path) -> nix::Result<bool> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN) => Ok(true),
        Err(Errno::ECONNREFUSED) => Ok(false),
        Err(errno) => Err(errno),
    }
}
