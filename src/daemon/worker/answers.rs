//! What the worker answers on the control socket. Uses `control`, `fs` and the link to the holder.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::unistd::getppid;
use tokio::sync::oneshot;

use super::super::message::{Past, Report};
use super::super::reload::{Last, ReloadError, Reloader, Summary};
use super::seen;
use crate::audit::{self, Audit, Event};
use crate::broker::Broker;
use crate::caller::{Caller, Identity};
use crate::clock::{Clock, SystemClock};
use crate::control::wire::{
    self, Explained, Mount, Provider, Reader, Readiness, Reload, Reloaded, Status, Synced, SyncedProvider,
};
use crate::control::{Daemon, Kind, Refused};
use crate::fs::{SecretFs, session};
use crate::metrics;
use crate::poison::EvenPoisoned;
use crate::provider::{BoxFuture, Refreshed};
use crate::resolver::Health;
use crate::sys::link::Link;
use crate::sys::{identity, limits, vault};

const TICK: Duration = Duration::from_millis(10);

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
        for hopeful in self.hopeful.lock().even_poisoned().drain(..) {
            let _ = hopeful.send(why.to_owned());
        }
    }

    /// Ends with this process, if all goes well.
    async fn succeed(&self, ask: Report) -> Result<(), Refused> {
        let (refuse, refused) = oneshot::channel();
        self.hopeful.lock().even_poisoned().push(refuse);
        let unheard = |error| Refused::new(Kind::Unavailable, format!("the holder does not hear: {error}"));
        ask.send(&self.link).map_err(unheard)?;
        match refused.await {
            Ok(why) => {
                Err(Refused::new(Kind::Invalid, why).hint("nothing has changed: the old worker goes on"))
            }
            Err(_) => Ok(()),
        }
    }

    /// Waits until all readers who wait for a file have it, but not for longer than this.
    pub(super) fn answer_rest(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let waits = || self.filesystems().iter().any(|(_, fs)| fs.unanswered() > 0);
        // Once more than it looks: what was asked is counted, and what is answered is sent, a moment later.
        thread::sleep(TICK);
        while waits() && Instant::now() < end {
            thread::sleep(TICK);
        }
        thread::sleep(TICK);
    }

    /// Each mount with its place.
    fn filesystems(&self) -> Vec<(PathBuf, Arc<SecretFs>)> {
        self.reloader.current().mounts.iter().map(|it| (it.at.clone(), it.fs.clone())).collect()
    }

    fn mounts(&self) -> Vec<Mount> {
        let mount = |(at, fs): (PathBuf, Arc<SecretFs>)| {
            let (readers, stale_readers) = fs.count_readers();
            let (files, nodes, handles) = (fs.files(), fs.known_nodes(), fs.open_handles());
            Mount { at, files, nodes, handles, readers, stale_readers }
        };
        self.filesystems().into_iter().map(mount).collect()
    }

    /// The mount that the file is in: the innermost.
    fn mount_of(&self, file: &Path) -> Result<(PathBuf, Arc<SecretFs>), Refused> {
        let around = self.filesystems().into_iter().filter(|(at, _)| file.starts_with(at));
        around.max_by_key(|(at, _)| at.components().count()).ok_or_else(|| {
            let problem = format!("{} is in no mount of this daemon", file.display());
            Refused::new(Kind::NotFound, problem).hint("secretfs status lists the mounts")
        })
    }

    async fn providers(&self) -> Vec<Provider> {
        let broker = self.reloader.current().broker.clone();
        let provider = |Health { name, problem, stale }: Health| {
            let breaker = metrics::get().breaker_state.known([&name]).map(|state| match state.get() {
                0 => "closed".to_owned(),
                1 => "trying".to_owned(),
                _ => "open".to_owned(),
            });
            Provider { name, problem, breaker, stale_seconds: stale.map(|age| age.as_secs()) }
        };
        broker.health().await.into_iter().map(provider).collect()
    }
}

fn refused(error: ReloadError) -> Refused {
    let refused = Refused::new(Kind::Invalid, &error);
    match error.hint() {
        Some(hint) => refused.hint(hint),
        None => refused.hint("the old config stays in force"),
    }
}

async fn sync(broker: Arc<Broker>, caller: Caller, providers: Vec<String>) -> Result<Synced, Refused> {
    let since = Instant::now();
    let who = identity::gather(&caller, broker.audit().facts()).unwrap_or_else(|_| Identity::of(caller));
    let refreshed = broker.refresh(&providers).await.map_err(|error| {
        let refused = Refused::new(Kind::NotFound, &error);
        match error.hint() {
            Some(hint) => refused.hint(hint),
            None => refused,
        }
    })?;
    let synced = |(name, it): (String, Refreshed)| {
        let problem = it.error.map(|error| error.to_string());
        SyncedProvider { name, asked: it.asked, changed: it.changed, failed: it.failed, problem }
    };
    let synced = Synced { providers: refreshed.into_iter().map(synced).collect() };
    let is_whole = synced.providers.iter().all(|it| it.failed == 0);
    let outcome = if is_whole { "ok" } else { "failed" };
    let event = Event::new(audit::Kind::Sync, (&who).into());
    broker.note_event(event.outcome(outcome, since).detail(told(&synced)));
    Ok(synced)
}

/// As the audit has it: why something has failed, the log says.
fn told(synced: &Synced) -> String {
    let told = |it: &SyncedProvider| {
        format!("{}: {} asked, {} changed, {} failed", it.name, it.asked, it.changed, it.failed)
    };
    synced.providers.iter().map(told).collect::<Vec<_>>().join("; ")
}

fn known() -> wire::Identity {
    let sight = identity::sight();
    wire::Identity { level: sight.level.name().to_owned(), hidden: sight.hides_programs().map(str::to_owned) }
}

fn audited(audit: &Audit) -> wire::Audit {
    let config = audit.config();
    wire::Audit {
        file: config.file.as_ref().map(|file| std::path::absolute(file).unwrap_or(file.clone())),
        journald: config.is_to_journald(),
        required: audit.is_on() && config.is_required(),
        problem: audit.problem(),
    }
}

impl Daemon for Answers {
    fn status(&self) -> BoxFuture<'_, Status> {
        Box::pin(async {
            let providers = self.providers().await;
            let current = self.reloader.current();
            let last_reload = self.reloader.last().map(|Last { at, problem }| Reload { at, problem });
            Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                config: Some(self.reloader.path().to_owned()),
                generation: current.generation,
                holder: Some(getppid().as_raw().cast_unsigned()),
                worker: std::process::id(),
                worker_starts: self.past.starts,
                upgrades: self.past.upgrades,
                started_at: Timestamp::from_second(self.past.since).unwrap_or(self.since),
                worker_started_at: self.since,
                memory_is_locked: self.memory_is_locked,
                keys: vault::keeping().as_str().to_owned(),
                can_resume: current.mounts.iter().all(|it| session::can_resume(&it.fs)),
                identity: known(),
                audit: audited(current.broker.audit()),
                readiness: self.readiness(),
                mounts: self.mounts(),
                providers,
                last_reload,
            }
        })
    }

    fn readiness(&self) -> Readiness {
        let mut lacks = self.reloader.lacks();
        let blocked = self.reloader.current().broker.audit().trouble();
        lacks.extend(blocked.map(|why| format!("the audit, without which nobody gets anything: {why}")));
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

    fn sync<'a>(&'a self, caller: Caller, providers: &'a [String]) -> BoxFuture<'a, Result<Synced, Refused>> {
        let broker = self.reloader.current().broker.clone();
        let asked = sync(broker, caller, providers.to_vec());
        // To its end, and to its line in the audit, also if who has asked goes away.
        let asked = tokio::spawn(asked);
        Box::pin(async { asked.await.map_err(|error| Refused::new(Kind::Unavailable, error))? })
    }

    fn upgrade(&self) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(self.succeed(Report::Upgrade))
    }

    fn readers(&self) -> BoxFuture<'_, Vec<Reader>> {
        Box::pin(async {
            let mut readers = Vec::new();
            for (at, fs) in self.filesystems() {
                readers.extend(fs.readers().await.into_iter().map(|told| seen::reader(&at, told)));
            }
            readers
        })
    }

    fn explain<'a>(&'a self, file: &'a Path) -> BoxFuture<'a, Result<Explained, Refused>> {
        Box::pin(async move {
            let (at, fs) = self.mount_of(file)?;
            let explained = fs.explain(file.strip_prefix(&at).unwrap_or(file)).await;
            explained.map(|explained| seen::explained(&at, explained)).ok_or_else(|| {
                let problem = format!("there is no file {} in the mount {}", file.display(), at.display());
                Refused::new(Kind::NotFound, problem)
            })
        })
    }

    fn measure(&self) {
        let figures = metrics::get();
        let (mounts, filesystems) = (self.mounts(), self.filesystems());
        figures.mounts.set(mounts.len() as i64);
        figures.mounts_lost.set(self.reloader.unseen_mounts().len() as i64);
        figures.memory_locked.set(self.memory_is_locked.into());
        figures.descriptors_free.set(limits::free_descriptors().cast_signed());
        figures.secrets.set(filesystems.iter().map(|(_, fs)| fs.secrets()).sum::<usize>() as i64);
        let (all, stale) = mounts.iter().fold((0, 0), |(all, stale), mount| {
            (all + mount.readers as i64, stale + mount.stale_readers as i64)
        });
        figures.readers.of(["current"]).set(all - stale);
        figures.readers.of(["stale"]).set(stale);
        // A mount that is gone has no figures.
        [&figures.files, &figures.nodes, &figures.handles].iter().for_each(|figure| figure.clear());
        for mount in mounts {
            let at = mount.at.to_string_lossy();
            figures.files.of([&at]).set(mount.files as i64);
            figures.nodes.of([&at]).set(mount.nodes as i64);
            figures.handles.of([&at]).set(mount.handles as i64);
        }
    }
}
