//! A file without a name that lies on no disk and never gets into swap: on a tmpfs of its own
//! that does not swap, else on a ramfs, else a memfd whose pages have to be locked. Uses nix.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};

use super::filesystem;

/// What keeps it out of swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its filesystem does.
    Filesystem,
    /// Each process that maps it has to lock the pages.
    Locked,
}

/// linux/magic.h
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// An empty one that can grow to this size.
pub(super) fn file(most: usize) -> io::Result<(OwnedFd, Kind)> {
    let size = format!("{most}\0");
    let size = CStr::from_bytes_with_nul(size.as_bytes()).expect("it ends in a zero");
    let options = [(c"noswap", None), (c"size", Some(size)), (c"mode", Some(c"0700"))];
    // Only root may mount, and old kernels do not know `noswap`.
    let on_own = on_new(c"tmpfs", &options).or_else(|_| on_new(c"ramfs", &[]));
    match on_own {
        Ok(file) => Ok((file, Kind::Filesystem)),
        Err(_) => Ok((memfd_create(c"secretfs", MFdFlags::MFD_CLOEXEC)?, Kind::Locked)),
    }
}

/// Of which kind a file of another process is. Only the three above are accepted.
pub(super) fn kind_of(file: &OwnedFd) -> io::Result<Kind> {
    const MEMFD: &str = "/memfd:secretfs (deleted)";
    let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    match fstatfs(file)?.filesystem_type() {
        _ if name.as_os_str() == MEMFD => Ok(Kind::Locked),
        TMPFS_MAGIC | RAMFS_MAGIC => Ok(Kind::Filesystem),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "is no shared region")),
    }
}

/// A file without a name on a filesystem of its own, which is mounted nowhere and ends with it.
fn on_new(kind: &CStr, options: &[(&CStr, Option<&CStr>)]) -> io::Result<OwnedFd> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    Ok(openat(filesystem::unseen(kind, options)?, c".", flags, Mode::S_IRUSR | Mode::S_IWUSR)?)
}
