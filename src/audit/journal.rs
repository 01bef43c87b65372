//! The log in journald: each line as a field of an entry that a person can read. Never waits. Uses
//! std and the words.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;

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
}

impl Journal {
    pub(super) fn new() -> Result<Self, AuditError> {
        let socket = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        socket.map(|socket| Self { socket }).map_err(failed)
    }

    /// A line of the log, or what would be one without the chain.
    pub(super) fn send(&self, event: &Event, line: &str) -> Result<(), AuditError> {
        let who = &event.who;
        let whom = who.unit.clone().or_else(|| who.exe.clone()).unwrap_or_else(|| format!("uid {}", who.uid));
        let what = event.file.clone().or_else(|| event.detail.clone()).unwrap_or_default();
        let verdict = event.verdict.as_deref().unwrap_or_default();
        self.say(&format!("{} {verdict} {what} for {whom}", event.kind), line)
    }

    /// Where the chain stands, for who wants to know later whether the end is missing.
    pub(super) fn checkpoint(&self, seq: u64, hash: &str) -> Result<(), AuditError> {
        self.say(&format!("audit checkpoint {seq}:{hash}"), "")
    }

    fn say(&self, message: &str, line: &str) -> Result<(), AuditError> {
        let message = in_line(message);
        let mut entry = format!("PRIORITY=6\nSYSLOG_IDENTIFIER=secretfs-audit\nMESSAGE={message}\n");
        if !line.is_empty() {
            entry += &format!("SECRETFS_AUDIT={line}\n");
        }
        let sent = self.socket.send_to(entry.as_bytes(), Path::new(SOCKET));
        sent.map(drop).map_err(failed)
    }
}

fn failed(error: io::Error) -> AuditError {
    AuditError::Journal(Arc::new(error))
}
