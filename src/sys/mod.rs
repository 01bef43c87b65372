//! The operating system: who a caller is, what this process hardens, what systemd is told.
//! The only folder with `unsafe`, each block with its `SAFETY:`. Uses the words only.

pub mod allocator;
mod capability;
pub mod child;
pub mod environ;
pub mod filesystem;
pub mod group;
pub mod hardening;
pub mod identity;
pub mod keyring;
pub mod lease;
pub mod leftover;
pub mod limits;
pub mod link;
pub mod namespace;
pub mod peer;
pub mod probe;
pub mod process;
pub mod program;
pub mod ready;
pub mod region;
pub mod running;
pub mod signal;
pub mod spare;
pub mod terminal;
mod unswapped;
pub mod uptime;
pub mod user;
pub mod vault;
pub mod weakness;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Takes a descriptor over that was just received or made and belongs to nobody else.
pub fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the caller got the number from the kernel a moment ago, so it is open and unshared.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Lets a descriptor that stays in use mean what another one means (dup3(2)).
pub fn redirect(descriptor: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both are open. Whoever uses the first goes on with what the second names.
    match unsafe { libc::dup3(to.as_raw_fd(), descriptor.as_raw_fd(), libc::O_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
