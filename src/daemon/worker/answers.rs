//! What the worker answers on the control socket. Uses `control`, `fs` and the link to the holder.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use nix::unistd::getppid;
use tokio::sync::oneshot;

use super::super::message::{Past, Report};
use super::super::reload::{Last, Mounted, ReloadError, Reloader, Summary};
use crate::clock::{Clock, SystemClock};
use crate::control::wire::{Explained, Mount, Reader, Readiness, Reload, Reloaded, Status};
use crate::control::{Daemon, Kind, Refused};
use crate::fs::session;
use crate::metrics;
use crate::provider::BoxFuture;
use crate::sys::link::Link;

/// Shared by the worker's threads and those that answer.
pub(super) struct Answers {
    pub(super) reloader: Arc<Reloader>,
    memory_is_locked: bool,
    past: Past,
    since: Timestamp,
    link: Arc<Link>,
    /// Who waits for a successor, each told when there will be none.
    hopeful: Mutex<Vec<oneshot::Sender<String>>>,
}

impl Answers {
    pub(super) fn new(
        reloader: Arc<Reloader>,
        memory_is_locked: bool,
        past: Past,
        link: Arc<Link>,
    ) -> Arc<Self> {
        Arc::new(Self {
            reloader,
            memory_is_locked,
            past,
            since: SystemClock.now(),
            link,
            hopeful: Mutex::default(),
        })
    }

    /// The holder has found out that the successor is not fit.
    pub(super) fn refuse(&self, why: &str) {
        for hopeful in self.hopeful.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = hopeful.send(why.to_owned());
        }
    }

    /// Ends with this process, if all goes well.
    async fn succeed(&self, ask: Report) -> Result<(), Refused> {
        let (refuse, refused) = oneshot::channel();
        self.hopeful.lock().unwrap_or_else(PoisonError::into_inner).push(refuse);
        let unheard = |error| Refused::new(Kind::Unavailable, format!("the holder does not hear: {error}"));
        ask.send(&self.link).map_err(unheard)?;
        match refused.await {
            Ok(why) => {
                Err(Refused::new(Kind::Invalid, why).hint("nothing has changed: the old worker goes on"))
            }
            Err(_) => Ok(()),
        }
    }

    fn mounts(&self) -> Vec<Mount> {
        let mount = |it: &Mounted| Mount {
            at: it.at.clone(),
            files: it.fs.files(),
            nodes: it.fs.nodes_known(),
            handles: it.fs.handles_open(),
            readers: 0,
            stale_readers: 0,
        };
        self.reloader.current().mounts.iter().map(mount).collect()
    }
}

fn refused(error: ReloadError) -> Refused {
    let refused = Refused::new(Kind::Invalid, &error);
    match error.hint() {
        Some(hint) => refused.hint(hint),
        None => refused.hint("the old config stays in force"),
    }
}

impl Daemon for Answers {
    fn status(&self) -> BoxFuture<'_, Status> {
        let mounts = self.mounts();
        let current = self.reloader.current();
        let can_resume = current.mounts.iter().all(|it| session::can_resume(&it.fs));
        let last_reload = self.reloader.last().map(|Last { at, problem }| Reload { at, problem });
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: Some(self.reloader.path().to_owned()),
            generation: current.generation,
            holder: Some(getppid().as_raw().cast_unsigned()),
            worker: std::process::id(),
            worker_starts: self.past.starts,
            started_at: Timestamp::from_second(self.past.since).unwrap_or(self.since),
            worker_started_at: self.since,
            memory_is_locked: self.memory_is_locked,
            can_resume,
            readiness: self.readiness(),
            mounts,
            providers: Vec::new(),
            last_reload,
        };
        Box::pin(async { status })
    }

    fn readiness(&self) -> Readiness {
        let lacks = self.reloader.lacks();
        Readiness { ready: lacks.is_empty(), lacks }
    }

    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, Refused>> {
        let reloader = self.reloader.clone();
        Box::pin(async move {
            // Waits for disks.
            let reload = tokio::task::spawn_blocking(move || reloader.reload());
            let outcome = reload.await.map_err(|error| Refused::new(Kind::Unavailable, error))?;
            let Summary { generation, changes } = outcome.map_err(refused)?;
            Ok(Reloaded { generation, changes })
        })
    }

    fn upgrade(&self) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(self.succeed(Report::Upgrade))
    }

    fn readers(&self) -> BoxFuture<'_, Vec<Reader>> {
        Box::pin(async { Vec::new() })
    }

    fn explain<'a>(&'a self, file: &'a Path) -> BoxFuture<'a, Result<Explained, Refused>> {
        let refused = Refused::new(Kind::NotFound, format!("{} is in no mount", file.display()));
        Box::pin(async { Err(refused) })
    }

    fn measure(&self) {
        let figures = metrics::get();
        let mounts = self.mounts();
        figures.mounts.set(mounts.len() as i64);
        figures.memory_locked.set(self.memory_is_locked.into());
        for mount in mounts {
            let at = mount.at.to_string_lossy();
            figures.files.of([&at]).set(mount.files as i64);
            figures.nodes.of([&at]).set(mount.nodes as i64);
            figures.handles.of([&at]).set(mount.handles as i64);
        }
    }
}
