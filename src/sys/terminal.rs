//! Terminals: a new pair of them, the window's size, and who has one as its own (pty(7),
//! ioctl_tty(2)). Uses nix.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, unlockpt};
use nix::sys::termios::{OutputFlags, SetArg, Termios, tcgetattr, tcgetsid, tcsetattr};
use nix::unistd::{getpgrp, getsid, setsid, tcgetpgrp};

/// Both ends of a new terminal: ours, which nobody waits at, and the program's.
pub struct Pair {
    pub ours: OwnedFd,
    pub theirs: OwnedFd,
}

impl Pair {
    /// Of the same size as another one.
    pub fn like(other: BorrowedFd<'_>) -> io::Result<Self> {
        let ours = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: the call takes an open descriptor and an integer; it answers with a new descriptor.
        let theirs = Errno::result(unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
        let pair = Self { ours: OwnedFd::from(ours), theirs: super::own(theirs) };
        copy_size(other, pair.ours.as_fd());
        Ok(pair)
    }
}

/// Whoever has the second one as its terminal is told, if that is a change.
pub fn copy_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the kernel fills one winsize, for which zeroes are fine too, and reads one.
    unsafe {
        if libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr()) == 0 {
            libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ, size.as_ptr());
        }
    }
}

/// This process leads a session of its own from now on, which has this terminal. Not for the
/// leader of a group.
pub fn lead_session(terminal: BorrowedFd<'_>) -> io::Result<()> {
    setsid()?;
    // SAFETY: the call takes an open descriptor and an integer.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) })?;
    Ok(())
}

/// Whether keys that are pressed there are for our session.
pub fn is_ours(terminal: BorrowedFd<'_>) -> bool {
    tcgetsid(terminal).is_ok_and(|session| getsid(None) == Ok(session))
}

/// Whether keys that are pressed there are for our group.
pub fn is_in_front(terminal: BorrowedFd<'_>) -> bool {
    tcgetpgrp(terminal) == Ok(getpgrp())
}

/// How a terminal was, for who changes it.
pub fn modes(terminal: BorrowedFd<'_>) -> io::Result<Termios> {
    Ok(tcgetattr(terminal)?)
}

pub fn set_modes(terminal: BorrowedFd<'_>, modes: &Termios) -> io::Result<()> {
    Ok(tcsetattr(terminal, SetArg::TCSANOW, modes)?)
}

/// Lets what is written there come out as it is.
pub fn pass_output(terminal: BorrowedFd<'_>) -> io::Result<()> {
    let mut modes = modes(terminal)?;
    modes.output_flags.remove(OutputFlags::OPOST);
    set_modes(terminal, &modes)
}
