//! What the parent of a command and the process that starts it say to each other on their link.
//! Pure, but for the link itself. Uses sys.

use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::signal::Signal;

use crate::sys::link::Link;

/// To the starter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Signal(Signal),
    /// It has the terminal; it goes on, if it is stopped.
    Front,
    /// It goes on without the terminal.
    Back,
    /// It shall end, with all of its group where that is its own.
    End(Signal),
    /// Nothing that it has left behind goes on: the next one is to be started.
    Clear,
    /// A new one is started, with an environment that is read from the descriptor that comes with this.
    Start {
        has_keys: bool,
    },
}

/// From the starter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Started,
    /// With this status, as a shell says it.
    Ended(u8),
    Stopped,
    /// Nothing is left of it.
    Cleared,
}

impl Order {
    pub(super) fn send(self, link: &Link) {
        // Who is gone has nothing to do any more; that is told by the end of the link.
        let _ = link.send(&self.bytes());
    }

    pub(super) fn send_with(self, link: &Link, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        link.send_with(&self.bytes(), descriptor)
    }

    fn bytes(self) -> [u8; 2] {
        match self {
            Self::Signal(signal) => [b's', signal as i32 as u8],
            Self::End(signal) => [b'e', signal as i32 as u8],
            Self::Front => [b'f', 0],
            Self::Back => [b'b', 0],
            Self::Clear => [b'c', 0],
            Self::Start { has_keys } => [b'n', u8::from(has_keys)],
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        match *bytes {
            [b's', number] => Signal::try_from(i32::from(number)).ok().map(Self::Signal),
            [b'e', number] => Signal::try_from(i32::from(number)).ok().map(Self::End),
            [b'n', has_keys] => Some(Self::Start { has_keys: has_keys != 0 }),
            [b'f', 0] => Some(Self::Front),
            [b'b', 0] => Some(Self::Back),
            [b'c', 0] => Some(Self::Clear),
            _ => None,
        }
    }
}

impl Word {
    /// No status of a failure: those tell by their first byte why nothing was started.
    const MARK: u8 = 0;

    pub(super) fn send(self, link: &Link) -> io::Result<()> {
        let (kind, status) = match self {
            Self::Started => (b's', 0),
            Self::Ended(status) => (b'e', status),
            Self::Stopped => (b't', 0),
            Self::Cleared => (b'c', 0),
        };
        link.send(&[Self::MARK, kind, status])
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        match *bytes {
            [Self::MARK, b's', _] => Some(Self::Started),
            [Self::MARK, b'e', status] => Some(Self::Ended(status)),
            [Self::MARK, b't', _] => Some(Self::Stopped),
            [Self::MARK, b'c', _] => Some(Self::Cleared),
            _ => None,
        }
    }
}

/// Whether this is no report of a failure.
pub fn is_word(bytes: &[u8]) -> bool {
    Word::read(bytes).is_some()
}
