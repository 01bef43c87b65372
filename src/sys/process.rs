//! A process that cannot be mistaken for one that gets its number later (pidfd_open(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// Its descriptor can be read once the process has ended (poll(2)).
pub struct Process(OwnedFd);

impl Process {
    pub fn of(pid: Pid) -> io::Result<Self> {
        // SAFETY: the call takes two integers; it answers with a new descriptor, or -1.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(super::own(descriptor as RawFd)))
    }

    /// One whose descriptor somebody has kept.
    pub fn kept(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Its number (proc_pid_fdinfo(5)).
    pub fn pid(&self) -> io::Result<Pid> {
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.0.as_raw_fd()))?;
        let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
        let pid = pid.filter(|pid: &i32| *pid > 0);
        pid.map(Pid::from_raw).ok_or_else(|| io::Error::other("the process has ended, or is not of ours"))
    }

    /// Whether it ends within this time.
    pub fn is_gone_within(&self, time: Duration) -> bool {
        let mut this = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut this, PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)) == Ok(1)
    }

    /// Sends a signal, unless it has ended.
    pub fn kill(&self, signal: Signal) -> io::Result<()> {
        let (descriptor, number) = (self.0.as_raw_fd(), signal as libc::c_int);
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open; without a siginfo_t the kernel makes its own.
        match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, descriptor, number, no_info, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl AsRawFd for Process {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
