//! What a file is, asked without waiting for whoever serves it: our readers may have mounted it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use libc::{AT_EMPTY_PATH, AT_STATX_DONT_SYNC, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub uid: u32,
    pub mode: u16,
    pub links: u32,
    pub size: u64,
    /// It changes with the content, and nobody can set it (inode(7)).
    pub changed: (i64, u32),
}

impl Stat {
    pub(super) fn of(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        Self::ask(descriptor.as_raw_fd(), c"", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)
    }

    /// What this link of `/proc` leads to, which is reached without a look-up.
    pub(super) fn of_link(thread: u32, name: &str) -> io::Result<Self> {
        let path = CString::new(format!("/proc/{thread}/{name}"))?;
        Self::ask(libc::AT_FDCWD, &path, 0)
    }

    fn ask(folder: RawFd, path: &CStr, flags: i32) -> io::Result<Self> {
        let flags = flags | AT_STATX_DONT_SYNC;
        // SAFETY: it consists of integers, for which zero is a value.
        let mut it: libc::statx = unsafe { std::mem::zeroed() };
        // SAFETY: the path is a C string, and the kernel writes into what is ours.
        let answer = unsafe { libc::statx(folder, path.as_ptr(), flags, STATX_BASIC_STATS, &raw mut it) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            dev: libc::makedev(it.stx_dev_major, it.stx_dev_minor),
            ino: it.stx_ino,
            uid: it.stx_uid,
            mode: it.stx_mode,
            links: it.stx_nlink,
            size: it.stx_size,
            changed: (it.stx_ctime.tv_sec, it.stx_ctime.tv_nsec),
        })
    }

    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}
