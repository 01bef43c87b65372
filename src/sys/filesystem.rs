//! A filesystem that is mounted nowhere, so that nobody else sees it there (fsmount(2)). Uses nix.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::own;

/// linux/mount.h
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const CLOEXEC: libc::c_uint = 1;

/// Its root; for root only.
pub fn unseen(kind: &CStr, options: &[(&CStr, Option<&CStr>)]) -> io::Result<OwnedFd> {
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
    opened(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, attributes) })
}

/// Writes to a file of it that is there.
pub fn write(root: &OwnedFd, path: &Path, text: &[u8]) -> io::Result<()> {
    let file = openat(root, path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    File::from(file).write_all(text)
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
