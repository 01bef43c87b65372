//! Our terminal, while the command has one of its own: keys go on to it byte by byte, and all that
//! a terminal makes of keys, its own makes. Uses sys.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::termios::{LocalFlags, OutputFlags, SpecialCharacterIndices, Termios, cfmakeraw};
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
    /// The command has ended: keys are ours again.
    is_over: bool,
    typed: Zeroizing<Vec<u8>>,
}

impl Keys {
    pub(super) fn new(ours: OwnedFd, theirs: BorrowedFd<'_>) -> io::Result<Self> {
        let theirs = theirs.try_clone_to_owned()?;
        Ok(Self { ours, theirs, before: None, is_over: false, typed: Zeroizing::default() })
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
        let mut modes = before.clone();
        match self.is_over {
            false => cfmakeraw(&mut modes),
            // Its terminal has made of what it wrote what a terminal makes of it.
            true => modes.output_flags.remove(OutputFlags::OPOST),
        }
        let is_taken = terminal::set_modes(self.ours.as_fd(), &modes).is_ok();
        self.before = Some(before);
        is_taken
    }

    /// The command has ended, and what it wrote is still passed on: who does not want to wait for that
    /// may stop and end us by a key.
    pub(super) fn command_has_ended(&mut self) {
        self.is_over = true;
        if self.has_them() {
            self.take_again();
        }
    }

    pub(super) fn take_again(&mut self) {
        let _ = self.take();
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
        let can_take = self.before.is_some() && self.typed.len() < MOST && !self.is_over;
        [
            can_take.then(|| PollFd::new(self.ours.as_fd(), PollFlags::POLLIN)),
            (!self.typed.is_empty() && !self.is_over)
                .then(|| PollFd::new(self.theirs.as_fd(), PollFlags::POLLOUT)),
        ]
    }

    /// Answers whether a key was among them that ends a command.
    pub(super) fn go_on(&mut self, can_read: bool) -> bool {
        let mut has_ended = false;
        let mut bytes = Zeroizing::new([0; MOST]);
        if can_read {
            match read(&self.ours, &mut *bytes) {
                Ok(length @ 1..) => {
                    has_ended = self.is_end(&bytes[..length]);
                    self.typed.extend_from_slice(&bytes[..length]);
                }
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                // The terminal has gone; its session is told by a signal.
                Ok(_) | Err(_) => self.before = None,
            }
        }
        if let Ok(length) = write(&self.theirs, &self.typed) {
            self.typed.drain(..length);
        }
        has_ended
    }

    /// Ctrl-C or Ctrl-\\, where the command's terminal makes signals of them.
    fn is_end(&self, typed: &[u8]) -> bool {
        let Ok(modes) = terminal::modes(self.theirs.as_fd()) else { return false };
        let of = |which: SpecialCharacterIndices| modes.control_chars[which as usize];
        let keys = [of(SpecialCharacterIndices::VINTR), of(SpecialCharacterIndices::VQUIT)];
        // A zero is no key (_POSIX_VDISABLE).
        modes.local_flags.contains(LocalFlags::ISIG)
            && typed.iter().any(|key| *key != 0 && keys.contains(key))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.give_back();
    }
}
