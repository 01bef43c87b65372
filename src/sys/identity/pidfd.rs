//! The thread that asks, held by a descriptor (pidfd_open(2)), and what the kernel tells of it in
//! one call.

use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use libc::{PIDFD_GET_INFO, PIDFD_INFO_CGROUPID, PIDFD_INFO_CREDS, PIDFD_INFO_PID, PIDFD_THREAD, pidfd_info};

pub(super) struct Pidfd(OwnedFd);

const WANTED: u64 = (PIDFD_INFO_PID | PIDFD_INFO_CREDS) as u64;

impl Pidfd {
    /// Of this very thread, be it the first of its process or not (6.9).
    pub(super) fn of(thread: u32) -> Option<Self> {
        // SAFETY: the call takes two integers; it answers with a new descriptor, or -1.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, thread, PIDFD_THREAD) };
        (descriptor >= 0).then(|| Self(super::super::own(descriptor as RawFd)))
    }

    /// Its process and its credentials, all of one moment (6.13).
    pub(super) fn info(&self) -> Option<pidfd_info> {
        // SAFETY: it consists of integers, for which zero is a value.
        let mut info: pidfd_info = unsafe { mem::zeroed() };
        info.mask = WANTED | u64::from(PIDFD_INFO_CGROUPID);
        // SAFETY: the number of the request holds the size of what the kernel may write, and that
        // is ours; the descriptor is open.
        let answer = unsafe { libc::ioctl(self.0.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        (answer == 0 && info.mask & WANTED == WANTED).then_some(info)
    }

    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }
}
