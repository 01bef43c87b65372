//! The operating system: who a caller is, what this process hardens, what systemd is told.
//! The only folder with `unsafe`, each block with its `SAFETY:`. Uses the words only.

pub mod allocator;
pub mod child;
pub mod environ;
pub mod hardening;
pub mod lease;
pub mod link;
pub mod namespace;
pub mod peer;
pub mod probe;
pub mod process;
pub mod ready;
pub mod signal;
pub mod spare;

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Takes a descriptor over that was just received or made and belongs to nobody else.
pub fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the caller got the number from the kernel a moment ago, so it is open and unshared.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
