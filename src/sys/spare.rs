//! A mount that is nowhere yet: it can be put at a place whenever that is free (open_tree(2),
//! move_mount(2)).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::own;

pub struct Spare(OwnedFd);

impl Spare {
    /// Of what is at this path.
    pub fn of(path: &Path) -> io::Result<Self> {
        open(libc::AT_FDCWD, path, 0)
    }

    /// One whose descriptor somebody has kept.
    pub fn kept(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// One more of the same; only while this one is in its place.
    pub fn another(&self) -> io::Result<Self> {
        open(self.0.as_raw_fd(), Path::new(""), libc::AT_EMPTY_PATH as libc::c_uint)
    }

    pub fn put(&self, at: &Path) -> io::Result<()> {
        let at = CString::new(at.as_os_str().as_bytes())?;
        let from = self.0.as_raw_fd();
        let flags = libc::MOVE_MOUNT_F_EMPTY_PATH;
        // SAFETY: both paths are C strings that outlive the call; the descriptor is open.
        let moved = unsafe {
            libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), libc::AT_FDCWD, at.as_ptr(), flags)
        };
        if moved == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsFd for Spare {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open(folder: RawFd, path: &Path, flags: libc::c_uint) -> io::Result<Spare> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let flags = libc::OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint | flags;
    // SAFETY: the path is a C string that outlives the call, which answers with a descriptor or -1.
    let descriptor = unsafe { libc::syscall(libc::SYS_open_tree, folder, path.as_ptr(), flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Spare(own(descriptor as RawFd)))
}
