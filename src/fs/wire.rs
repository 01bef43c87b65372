//! The few messages of the FUSE protocol that `fuser` does not know: what is told to the kernel,
//! and the first request again, for who serves a mount that another process has begun.
//! Uses nix and the ledger; linux/fuse.h has the numbers.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::unistd::write;

use super::nodes::NodeId;
use crate::ledger::{Kept, Kind, Ledger};

/// What is told to the kernel without being asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice {
    /// Whatever was read and not answered comes again.
    Resend,
    DropAttributes(NodeId),
}

/// What kernel and filesystem have agreed on when the mount began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agreement {
    pub(super) version: (u32, u32),
    /// All that the kernel had to offer.
    pub(super) flags: u64,
}

const NOTIFY_INVAL_INODE: u32 = 2;
const NOTIFY_RESEND: u32 = 7;
const INIT: u32 = 26;
const INIT_EXT: u64 = 1 << 30;
const HAS_RESEND: u64 = 1 << 39;
/// Of the answer's header, and of a request's header.
const OUT_HEADER: usize = 16;
const INIT_REQUEST: usize = 104;

/// Marks the number of a request that comes a second time.
pub(super) const RESENT: u64 = 1 << 63;

/// Answers whether there is what the notice is about.
pub(super) fn notify(device: BorrowedFd<'_>, notice: Notice) -> io::Result<bool> {
    match write(device, &notice.encode()) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

impl Notice {
    fn encode(self) -> Vec<u8> {
        let (code, body) = match self {
            Self::Resend => (NOTIFY_RESEND, Vec::new()),
            // A negative offset: the pages stay.
            Self::DropAttributes(node) => {
                (NOTIFY_INVAL_INODE, [node, -1i64 as u64, 0].into_iter().flat_map(u64::to_ne_bytes).collect())
            }
        };
        let length = (OUT_HEADER + body.len()) as u32;
        let header = [length, code, 0, 0].into_iter().flat_map(u32::to_ne_bytes);
        header.chain(body).collect()
    }
}

impl Agreement {
    pub(super) fn can_resend(self) -> bool {
        self.flags & HAS_RESEND != 0
    }

    pub(super) fn to_words(self) -> [u64; 3] {
        [self.version.0.into(), self.version.1.into(), self.flags]
    }

    /// What the process before has agreed on.
    pub(super) fn left_in(ledger: &Ledger) -> Option<Self> {
        ledger.left(Kind::Session, |kept| Self::of(kept.first()?))
    }

    pub(super) fn of(kept: &Kept) -> Option<Self> {
        let [major, minor, flags] = *kept.words else { return None };
        Some(Self { version: (u32::try_from(major).ok()?, u32::try_from(minor).ok()?), flags })
    }

    /// The request that a mount begins with, as the kernel has sent it.
    pub(super) fn init(self) -> Vec<u8> {
        let flags = self.flags | INIT_EXT;
        // Length, opcode, number, node, uid, gid, pid, padding; what is zero is not looked at.
        let header = [INIT_REQUEST as u32, INIT, 1, 0, 0, 0, 0, 0, 0, 0];
        let body = [self.version.0, self.version.1, 0, flags as u32, (flags >> 32) as u32];
        let mut bytes: Vec<u8> = header.into_iter().chain(body).flat_map(u32::to_ne_bytes).collect();
        bytes.resize(INIT_REQUEST, 0);
        bytes
    }
}
