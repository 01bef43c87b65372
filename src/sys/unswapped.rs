//! A file without a name that lies on no disk and never gets into swap: on a tmpfs of its own
//! that does not swap, else on a ramfs, else a memfd whose pages have to be locked. Uses nix.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};

use super::own;

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
/// linux/mount.h
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const CLOEXEC: libc::c_uint = 1;

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
    // SAFETY: the name is a C string that outlives the call, which answers with a descriptor or -1.
    let context = opened(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOEXEC) })?;
    for (key, value) in options {
        configure(
            &context,
            if value.is_some() { FSCONFIG_SET_STRING } else { FSCONFIG_SET_FLAG },
            Some(key),
            *value,
        )?;
    }
    configure(&context, FSCONFIG_CMD_CREATE, None, None)?;
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    // SAFETY: takes a descriptor and two integers, and answers with a descriptor or -1.
    let mount =
        opened(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, attributes) })?;
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    Ok(openat(mount, c".", flags, Mode::S_IRUSR | Mode::S_IWUSR)?)
}

fn configure(
    context: &OwnedFd,
    command: libc::c_uint,
    key: Option<&CStr>,
    value: Option<&CStr>,
) -> io::Result<()> {
    let text = |it: Option<&CStr>| it.map_or(std::ptr::null(), CStr::as_ptr);
    let (key, value) = (text(key), text(value));
    // SAFETY: the descriptor is open, and the strings outlive the call.
    match unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0) } {
        0 => Ok(()),
        _ => Err(Errno::last().into()),
    }
}

fn opened(answer: libc::c_long) -> io::Result<OwnedFd> {
    if answer < 0 { Err(Errno::last().into()) } else { Ok(own(answer as i32)) }
}
