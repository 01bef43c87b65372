//! Putting the filesystem at a place and taking it away: the checks, mount(2) for root, and
//! `fusermount3` for everybody else. Uses nix.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FUSE_SUPER_MAGIC, statfs};
use nix::unistd::{getegid, geteuid};

pub use super::mounts::canonical;
use super::mounts::{self, topmost};
use crate::metrics;
use crate::sys::{filesystem, link};

/// A type of our own, so that a mount of ours can be told from a foreign one.
pub const FS_TYPE: &str = "fuse.secretfs";
const DEVICE: &str = "/dev/fuse";
const DEVICE_NUMBER: libc::dev_t = libc::makedev(10, 229);
pub(super) const HELPER: &str = "fusermount3";

#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("the mount point {} does not exist", .0.display())]
    Missing(PathBuf),
    #[error("the mount point {} is not a folder", .0.display())]
    NotFolder(PathBuf),
    #[error("the mount point {} is a link", .0.display())]
    Link(PathBuf),
    #[error("the mount point {} is not empty: what is in it would be hidden", .0.display())]
    NotEmpty(PathBuf),
    #[error("something is mounted at {} already", .0.display())]
    Busy(PathBuf),
    #[error("this machine has no {DEVICE}")]
    NoDevice,
    #[error("{DEVICE} cannot be opened by this user")]
    DeviceForbidden,
    #[error("{0} is not installed")]
    NoHelper(&'static str),
    #[error("{helper} refuses: {said}")]
    Helper { helper: &'static str, said: String },
    #[error("cannot mount at {}: {error}", path.display())]
    System { path: PathBuf, error: io::Error },
}

/// How a mount was made, which is how it is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Direct,
    Helper,
}

/// Checks the place. A dead mount of our own is fit: it is replaced by the one that is made.
pub fn prepare(at: &Path) -> Result<(), MountError> {
    let meta = match fs::symlink_metadata(at) {
        Err(error) if is_dead(&error) && is_ours(at) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(MountError::Missing(at.to_owned()));
        }
        other => other.map_err(|error| system(at, error))?,
    };
    if meta.is_symlink() {
        return Err(MountError::Link(at.to_owned()));
    }
    if !meta.is_dir() {
        return Err(MountError::NotFolder(at.to_owned()));
    }
    let above = at.canonicalize().ok().and_then(|path| fs::metadata(path.parent()?).ok());
    if above.is_some_and(|above| above.dev() != meta.dev()) {
        return Err(MountError::Busy(at.to_owned()));
    }
    if fs::read_dir(at).map_err(|error| system(at, error))?.next().is_some() {
        return Err(MountError::NotEmpty(at.to_owned()));
    }
    Ok(())
}

/// Frees the place from dead mounts of our own, at the last moment: until then its readers get an
/// error, where an empty folder would look like a config of defaults.
fn bury_dead(at: &Path, way: Way) -> Result<(), MountError> {
    let is_dead = |at| fs::symlink_metadata(at).is_err_and(|error| is_dead(&error));
    let mut has_buried = false;
    while let Some(dead) = topmost(at).filter(|it| it.is_ours() && is_dead(at)) {
        unmount(at, way, &dead.device).map_err(|error| system(at, error))?;
        tracing::warn!(at = %at.display(), "stale_mount_cleaned: it was ours, and nobody served it");
        metrics::get().dead_mounts.inc();
        has_buried = true;
    }
    // What lay below it has not been looked at yet.
    if has_buried { prepare(at) } else { Ok(()) }
}

/// mount(2): needs CAP_SYS_ADMIN in the namespace that owns the mount.
pub fn mount_direct(at: &Path) -> Result<OwnedFd, MountError> {
    bury_dead(at, Way::Direct)?;
    let device = open_device()?;
    let options = format!(
        "fd={},rootmode=40555,user_id={},group_id={},allow_other",
        device.as_raw_fd(),
        geteuid(),
        getegid()
    );
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("secretfs"), at, Some(FS_TYPE), flags, Some(options.as_str()))
        .map_err(|errno| system(at, errno.into()))?;
    Ok(device)
}

/// Whether this user could mount, as far as the device goes.
pub fn check_device() -> Result<(), MountError> {
    open_device().map(drop)
}

fn open_device() -> Result<OwnedFd, MountError> {
    match File::options().read(true).write(true).open(DEVICE) {
        // A container may have put something else in its place, like /dev/null.
        Ok(device) if !device.metadata().is_ok_and(|meta| meta.rdev() == DEVICE_NUMBER) => {
            Err(MountError::NoDevice)
        }
        Ok(device) => Ok(device.into()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(MountError::DeviceForbidden),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)) => {
            Err(MountError::NoDevice)
        }
        Err(error) => Err(system(Path::new(DEVICE), error)),
    }
}

/// The set-uid helper of libfuse: mounts for us and hands the descriptor over (fusermount3(1)).
pub fn mount_by_helper(at: &Path) -> Result<OwnedFd, MountError> {
    bury_dead(at, Way::Helper)?;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|errno| system(at, errno.into()))?;
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| system(at, errno.into()))?;
    let child = Command::new(HELPER)
        .args(["-o", "ro,nosuid,nodev,noexec,fsname=secretfs,subtype=secretfs", "--"])
        .arg(at)
        .env("_FUSE_COMMFD", theirs.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|_| MountError::NoHelper(HELPER))?;
    drop(theirs);
    let device = link::receive(&ours, 1).ok().and_then(|(_, device)| device);
    let output = child.wait_with_output().map_err(|error| system(at, error))?;
    device.ok_or_else(|| MountError::Helper {
        helper: HELPER,
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

pub fn helper_is_there() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(HELPER).is_file())
}

/// Takes our mount away, and only ours: `device` is what [`device_at`] said after it was made.
/// While somebody has a file open it goes out of sight at once, and ends with the last handle.
pub fn unmount(at: &Path, way: Way, device: &str) -> io::Result<()> {
    match topmost(at) {
        None => return Ok(()),
        Some(mount) if mount.device == device => {}
        Some(_) => return Err(io::Error::other("something else is mounted over it")),
    }
    match way {
        Way::Direct => match umount2(at, MntFlags::UMOUNT_NOFOLLOW) {
            Err(Errno::EBUSY) => Ok(umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?),
            // Somebody was quicker.
            Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
            other => Ok(other?),
        },
        Way::Helper => {
            let status = Command::new(HELPER).args(["-u", "-q", "-z", "--"]).arg(at).status()?;
            if status.success() { Ok(()) } else { Err(io::Error::other(format!("{HELPER} -u failed"))) }
        }
    }
}

/// Takes a mount of ours away wherever it is seen, by its device number.
pub fn take_away(device: &str) -> io::Result<()> {
    let way = if geteuid().is_root() { Way::Direct } else { Way::Helper };
    places_of(device).iter().try_for_each(|at| unmount(at, way, device))
}

/// Whether the mount that this is the device of is there and answers to somebody. If not, its number
/// may be another mount's by now, even another daemon's.
pub fn is_connected(device: BorrowedFd<'_>) -> bool {
    let mut device = [PollFd::new(device, PollFlags::empty())];
    poll(&mut device, PollTimeout::ZERO) == Ok(0)
}

/// Ends the connection of a mount: who waits for an answer gets an error. The mount stays, dead.
pub fn abort(device: &str) {
    let number = device.split_once(':').map_or(device, |(_, minor)| minor);
    let control = Path::new(number).join("abort");
    if fs::write(Path::new("/sys/fs/fuse/connections").join(&control), "1").is_ok() {
        return;
    }
    // Where that filesystem is not mounted.
    if filesystem::unseen(c"fusectl", &[]).and_then(|own| filesystem::write(&own, &control, b"1")).is_ok() {
        return;
    }
    for at in places_of(device).into_iter().filter(|at| is_ours_with(at, device)) {
        // What is in use is not taken away, but its connection ends all the same.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        if let Ok(_in_use) = nix::fcntl::open(&at, flags, Mode::empty()) {
            let _ = umount2(&at, MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW);
        }
    }
}

/// Whether nothing that was mounted later is over this mount, or over a folder above it.
pub fn is_uncovered(at: &Path, device: &str) -> bool {
    let over = mounts::of("self").into_iter().rfind(|mount| at.starts_with(&mount.at));
    over.is_some_and(|mount| mount.device == device)
}

/// A place where a mount of ours is seen.
pub fn place_of(device: &str) -> Option<PathBuf> {
    places_of(device).into_iter().next()
}

/// The device number of the mount of ours at this place, whoever serves it. Asks no filesystem.
pub fn ours_at(at: &Path) -> Option<String> {
    topmost(at).filter(|entry| entry.kind == FS_TYPE).map(|entry| entry.device)
}

/// Whether this place has a mount of ours with this device number on top.
pub fn is_ours_with(at: &Path, device: &str) -> bool {
    topmost(at).is_some_and(|mount| mount.is_ours() && mount.device == device)
}

/// Whether this place has a mount of ours with this device number, on top or below others.
pub fn has_ours_with(at: &Path, device: &str) -> bool {
    mounts::all_at(at).iter().any(|mount| mount.is_ours() && mount.device == device)
}

/// The device number of what is mounted at this place on top. Asks no filesystem.
pub fn device_at(at: &Path) -> String {
    topmost(at).map(|mount| mount.device).unwrap_or_default()
}

/// Whether a mount of ours has this file in its tree; one that was bound to its own place is none.
pub fn is_served(file: &Path) -> bool {
    let is_fuse = statfs(file).is_ok_and(|it| it.filesystem_type() == FUSE_SUPER_MAGIC);
    is_fuse && topmost(file).is_none() && file.ancestors().find_map(topmost).is_some_and(|it| it.is_ours())
}

/// Where a mount of ours is seen in this namespace.
pub fn places_of(device: &str) -> Vec<PathBuf> {
    let ours = mounts::of("self").into_iter().filter(|mount| mount.is_ours() && mount.device == device);
    ours.map(|mount| mount.at).collect()
}

/// Nobody serves it; or its server has ended while we asked.
fn is_dead(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED))
}

fn is_ours(at: &Path) -> bool {
    topmost(at).is_some_and(|mount| mount.is_ours())
}

fn system(path: &Path, error: io::Error) -> MountError {
    MountError::System { path: path.to_owned(), error }
}
