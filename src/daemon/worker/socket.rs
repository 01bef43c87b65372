//! The listening sockets of a worker: made once per daemon, and kept by the holder, so that who asks
//! during a take-over waits. Uses `control` and `credentials`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::super::message::{CONTROL, Report};
use super::WorkerError;
use super::answers::Answers;
use crate::config::ControlConfig;
use crate::control::{BindError, Server, socket};
use crate::sys::link::Link;

/// One of them.
pub(super) struct Socket {
    path: PathBuf,
    listener: UnixListener,
    /// The place of one that is wanted no more.
    old: Option<PathBuf>,
    /// Whether it is to be taken away if it comes to nothing.
    is_new: bool,
}

/// How often somebody else's socket is tried, and how long it is given to end each time.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

/// One that is answered.
pub(super) struct Answered {
    path: PathBuf,
}

impl Socket {
    /// The control socket: the one that was kept, if it is where the config wants it; else one is made.
    pub(super) fn of_control(config: &ControlConfig, kept: Option<OwnedFd>) -> Result<Self, WorkerError> {
        let path = config.socket.clone().or_else(|| socket::default_path(socket::CONTROL));
        Self::open(&path.ok_or(WorkerError::NoSocket)?, kept)
    }

    pub(super) fn open(path: &Path, kept: Option<OwnedFd>) -> Result<Self, WorkerError> {
        let path = std::path::absolute(path)?;
        let kept = kept.map(UnixListener::from);
        let place = kept.as_ref().and_then(place_of);
        if let (Some(listener), Some(place)) = (kept, &place)
            && *place == path
            && path.exists()
        {
            return Ok(Self { path, listener, old: None, is_new: false });
        }
        let listener = bind(&path)?;
        Ok(Self { path, listener, old: place, is_new: true })
    }

    /// Has the holder keep it under this name. The place of an older one is taken away.
    pub(super) fn keep(mut self, name: &str, link: &Link) -> io::Result<(UnixListener, Answered)> {
        if self.is_new {
            Report::Keep(name.to_owned(), self.listener.as_fd().try_clone_to_owned()?).send(link)?;
            self.is_new = false;
        }
        self.old.take().iter().for_each(|path| remove(path));
        Ok((self.listener.try_clone()?, Answered { path: self.path.clone() }))
    }

    /// Answers operators, on the loopback address too.
    pub(super) fn answer(
        self,
        loopback: Option<SocketAddr>,
        answers: Arc<Answers>,
        link: &Link,
    ) -> io::Result<(Server, Answered)> {
        let (listener, answered) = self.keep(CONTROL, link)?;
        Ok((Server::start(listener, loopback, answers)?, answered))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.is_new {
            remove(&self.path);
        }
    }
}

impl Answered {
    /// At the end of the daemon.
    pub(super) fn remove(self) {
        remove(&self.path);
    }
}

/// What another daemon's socket is for a moment, if that one was killed just now.
fn bind(path: &Path) -> Result<UnixListener, BindError> {
    for _ in 0..ATTEMPTS {
        match socket::bind(path) {
            Err(BindError::Taken(_)) => thread::sleep(PAUSE),
            bound => return bound,
        }
    }
    socket::bind(path)
}

fn place_of(listener: &UnixListener) -> Option<PathBuf> {
    Some(listener.local_addr().ok()?.as_pathname()?.to_owned())
}

/// It is ours: we listen on it, so nobody has put another in its place.
fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a socket could not be removed");
    }
}
