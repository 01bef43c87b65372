//! What the door for service managers needs of a worker: what is in force, and that who waits for
//! an answer never takes the end of this process for one. Uses `credentials` and the link.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::message::{CREDENTIALS, Report, WAITING};
use super::super::reload::Reloader;
use super::super::serve::Pool;
use super::WorkerError;
use super::socket::{Answered, Socket};
use crate::broker::Broker;
use crate::config;
use crate::control::socket;
use crate::credentials::{self, Credentials, Daemon, Held};
use crate::sys::link::Link;

/// The socket that the config wants, if it names any credentials.
pub(super) fn open(
    config: &config::Credentials,
    kept: Option<OwnedFd>,
) -> Result<Option<Socket>, WorkerError> {
    let path = || config.socket.clone().or_else(|| socket::default_path(socket::CREDENTIALS));
    match config.is_served() {
        true => Socket::open(&path().ok_or(WorkerError::NoSocket)?, kept).map(Some),
        false => Ok(None),
    }
}

/// Answers on it, and ends what a predecessor has left.
pub(super) fn serve(
    socket: Option<Socket>,
    left: Vec<(String, OwnedFd)>,
    reloader: Arc<Reloader>,
    link: &Arc<Link>,
    pool: &Pool,
) -> std::io::Result<Option<(credentials::Server, Answered)>> {
    for (name, waiting) in left {
        let link = link.clone();
        pool.spawn(async move {
            credentials::refuse_left(waiting).await;
            let _ = Report::Drop(name).send(&link);
        });
    }
    let Some((listener, answered)) = socket.map(|it| it.keep(CREDENTIALS, link)).transpose()? else {
        return Ok(None);
    };
    let door = Door { reloader, link: link.clone(), count: AtomicU64::new(0) };
    let (server, serve) = credentials::Server::new(listener, Arc::new(door));
    pool.spawn(serve);
    Ok(Some((server, answered)))
}

struct Door {
    reloader: Arc<Reloader>,
    link: Arc<Link>,
    count: AtomicU64,
}

impl Daemon for Door {
    fn current(&self) -> (Arc<Broker>, Arc<Credentials>) {
        let current = self.reloader.current();
        (current.broker.clone(), current.credentials.clone())
    }

    /// The holder has a copy, and hands it to a successor, which does not know how far we came.
    fn hold(&self, waiting: &OwnedFd) -> Box<dyn Held> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("{WAITING}{}.{number}", std::process::id());
        if let Ok(copy) = waiting.as_fd().try_clone_to_owned() {
            let _ = Report::Keep(name.clone(), copy).send(&self.link);
        }
        Box::new(Kept { name, link: self.link.clone() })
    }
}

/// Kept by the holder, under this name.
struct Kept {
    name: String,
    link: Arc<Link>,
}

impl Held for Kept {
    fn release(self: Box<Self>) {
        let _ = Report::Drop(self.name).send(&self.link);
    }
}
