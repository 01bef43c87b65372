//! The log in journald: each line as a field of an entry that a person can read. Its socket is open to
//! everybody, so it may be full: then it is waited for. Uses std and nix.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use super::error::AuditError;
use super::event::Event;
use crate::visible::in_line;

pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Whether there is somebody who takes it.
pub fn is_there() -> bool {
    Path::new(SOCKET).exists()
}

pub(super) struct Journal {
    socket: UnixDatagram,
    to: UnixAddr,
}

impl Journal {
    pub(super) fn new() -> Result<Self, AuditError> {
        Self::at(Path::new(SOCKET))
    }

    pub(super) fn at(path: &Path) -> Result<Self, AuditError> {
        let to = UnixAddr::new(path).map_err(io::Error::from).map_err(failed)?;
        UnixDatagram::unbound().map(|socket| Self { socket, to }).map_err(failed)
    }

    /// A line of the log, or what would be one without the chain. A queue that is full is waited for
    /// until then, or not at all.
    pub(super) fn send(&self, event: &Event, line: &str, until: Option<Instant>) -> Result<(), AuditError> {
        let who = &event.who;
        let whom = who.unit.clone().or_else(|| who.exe.clone()).unwrap_or_else(|| format!("uid {}", who.uid));
        let what = event.file.clone().or_else(|| event.detail.clone()).unwrap_or_default();
        let verdict = event.verdict.as_deref().unwrap_or_default();
        self.say(&format!("{} {verdict} {what} for {whom}", event.kind), line, until)
    }

    /// Where the chain stands, for who wants to know later whether the end is missing.
    pub(super) fn checkpoint(&self, seq: u64, hash: &str) -> Result<(), AuditError> {
        self.say(&format!("audit checkpoint {seq}:{hash}"), "", None)
    }

    fn say(&self, message: &str, line: &str, until: Option<Instant>) -> Result<(), AuditError> {
        let message = in_line(message);
        let mut entry = format!("PRIORITY=6\nSYSLOG_IDENTIFIER=secretfs-audit\nMESSAGE={message}\n");
        if !line.is_empty() {
            entry += &format!("SECRETFS_AUDIT={line}\n");
        }
        match self.pass(entry.as_bytes(), &[], until) {
            Err(error) if is_too_long(&error) => self.pass_sealed(entry.as_bytes(), until),
            passed => passed,
        }
        .map_err(failed)
    }

    /// As a file in memory that nobody can change any more, which journald takes at any length.
    fn pass_sealed(&self, entry: &[u8], until: Option<Instant>) -> io::Result<()> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut file = File::from(memfd_create("secretfs-audit", flags)?);
        file.write_all(entry)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
        self.pass(&[], &[ControlMessage::ScmRights(&[file.as_raw_fd()])], until)
    }

    /// The kernel lets those who wait in their turn; who polls would always come too late.
    fn pass(&self, entry: &[u8], with: &[ControlMessage<'_>], until: Option<Instant>) -> io::Result<()> {
        let parts = [IoSlice::new(entry)];
        let parts = if entry.is_empty() { &[] } else { parts.as_slice() };
        loop {
            let left = until.map_or(Duration::ZERO, |it| it.saturating_duration_since(Instant::now()));
            let flags = if left.is_zero() { MsgFlags::MSG_DONTWAIT } else { MsgFlags::empty() };
            if !left.is_zero() {
                self.socket.set_write_timeout(Some(left))?;
            }
            match sendmsg(
                self.socket.as_raw_fd(),
                parts,
                with,
                flags | MsgFlags::MSG_NOSIGNAL,
                Some(&self.to),
            ) {
                Err(nix::Error::EINTR) => {}
                sent => return Ok(sent.map(drop)?),
            }
        }
    }
}

fn is_too_long(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
}

fn failed(error: io::Error) -> AuditError {
    AuditError::Journal(Arc::new(error))
}
