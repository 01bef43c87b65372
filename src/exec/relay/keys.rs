//! Our terminal, while the command has one of its own: keys go on to it byte by byte, and all that
//! a terminal makes of keys, its own makes. Uses sys.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::termios::{Termios, cfmakeraw};
use nix::unistd::{read, write};
use zeroize::Zeroizing;

use crate::sys::terminal;

/// Typed or pasted, and not yet taken.
const MOST: usize = 4096;

pub(super) struct Keys {
    ours: OwnedFd,
    theirs: OwnedFd,
    /// How ours was before it was taken for the command: to be set again at every end.
    before: Option<Termios>,
    typed: Zeroizing<Vec<u8>>,
}

impl Keys {
    pub(super) fn new(ours: OwnedFd, theirs: BorrowedFd<'_>) -> io::Result<Self> {
        let theirs = theirs.try_clone_to_owned()?;
        Ok(Self { ours, theirs, before: None, typed: Zeroizing::default() })
    }

    /// Takes the terminal for the command, if it is ours to take. Answers whether it is.
    pub(super) fn take(&mut self) -> bool {
        if !terminal::is_in_front(self.ours.as_fd()) {
            self.before = None;
            return false;
        }
        // A shell has set it to its liking while we were stopped.
        let Ok(found) = terminal::modes(self.ours.as_fd()) else { return false };
        let before = self.before.take().unwrap_or(found);
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        let is_taken = terminal::set_modes(self.ours.as_fd(), &raw).is_ok();
        self.before = Some(before);
        is_taken
    }

    /// It is taken for the command now.
    pub(super) fn has_them(&self) -> bool {
        self.before.is_some()
    }

    pub(super) fn is_in_front(&self) -> bool {
        terminal::is_in_front(self.ours.as_fd())
    }

    /// Gives it back as it was. Not from behind: then somebody else has it.
    pub(super) fn give_back(&mut self) {
        if let Some(before) = self.before.take().filter(|_| self.is_in_front()) {
            let _ = terminal::set_modes(self.ours.as_fd(), &before);
        }
    }

    pub(super) fn awaited(&self) -> [Option<PollFd<'_>>; 2] {
        let can_take = self.before.is_some() && self.typed.len() < MOST;
        [
            can_take.then(|| PollFd::new(self.ours.as_fd(), PollFlags::POLLIN)),
            (!self.typed.is_empty()).then(|| PollFd::new(self.theirs.as_fd(), PollFlags::POLLOUT)),
        ]
    }

    pub(super) fn go_on(&mut self, can_read: bool) {
        let mut bytes = Zeroizing::new([0; MOST]);
        if can_read {
            match read(&self.ours, &mut *bytes) {
                Ok(length @ 1..) => self.typed.extend_from_slice(&bytes[..length]),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                // The terminal has gone; its session is told by a signal.
                Ok(_) | Err(_) => self.before = None,
            }
        }
        if let Ok(length) = write(&self.theirs, &self.typed) {
            self.typed.drain(..length);
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.give_back();
    }
}
