//! The mounts of a worker: which of them outlived its predecessor, and how each comes to be served:
//! gone on with where it stood, or made anew. Uses `fs` and `ledger`.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use nix::unistd::geteuid;

use super::super::holder::{device_of, name_of};
use super::super::lacking::Lost;
use super::super::load::Texts;
use super::super::message::{CONFIG, CONTROL, CREDENTIALS, DEVICE, LEDGER, Order, Past, Report, WAITING};
use super::super::plan::Plan;
use super::super::reload::{Mounted, Mounts, ReloadError};
use super::super::serve::Pool;
use super::numbers::{Numbered, Numbers};
use super::{Event, WorkerError};
use crate::broker::Broker;
use crate::fs::mountpoint::{self, MountError};
use crate::fs::{SecretFs, tree::TreeError};
use crate::ledger::Ledger;
use crate::metrics;
use crate::reactions::Reactions;
use crate::sys::link::Link;

/// A mount that outlived the worker that served it.
pub(super) struct Kept {
    /// The device number.
    number: String,
    device: OwnedFd,
    /// What that worker has left.
    ledger: Option<OwnedFd>,
}

/// What there was before this worker.
pub(super) struct Before {
    /// The config that was in force.
    pub(super) config: Option<Texts>,
    pub(super) mounts: Vec<Arc<Kept>>,
    pub(super) control: Option<OwnedFd>,
    pub(super) credentials: Option<OwnedFd>,
    /// Connections on which somebody waits for a credential.
    pub(super) waiting: Vec<(String, OwnedFd)>,
    /// Whether somebody serves meanwhile.
    pub(super) is_served: bool,
    /// Whether others have died at once over what it takes over.
    pub(super) is_deadly: bool,
    pub(super) past: Past,
}

/// A mount of the config, about to be served.
pub(super) struct Planned {
    plan: Plan,
    broker: Arc<Broker>,
    fs: Arc<SecretFs>,
    kept: Option<Arc<Kept>>,
    may_be_lost: bool,
}

/// What becomes of a mount of the config.
pub(super) enum Fate<T> {
    Had(T),
    Lost(Lost),
}

impl<T> Fate<T> {
    fn of(at: &Path, outcome: Result<T, ReloadError>, may_be_lost: bool) -> Result<Self, ReloadError> {
        match outcome {
            Ok(had) => Ok(Self::Had(had)),
            Err(error) if may_be_lost => Ok(Self::Lost(Lost::new(at, &error))),
            Err(error) => Err(error),
        }
    }
}

/// Makes mounts, and has them served.
pub(super) struct Maker {
    pub(super) pool: Pool,
    pub(super) link: Arc<Link>,
    pub(super) tell: Sender<Event>,
    pub(super) reactions: Arc<Reactions>,
    pub(super) numbers: Arc<Numbers>,
    /// Whether one mount shall have proved harmless before the next one is taken over.
    pub(super) is_careful: bool,
}

/// Who dies over a request that comes again dies within this time.
const PROBATION: Duration = Duration::from_millis(500);

/// Hears it from the holder.
pub(super) fn receive(link: &Link) -> Result<Before, WorkerError> {
    let (mut kept, mut ledgers, mut control, mut config) = (Vec::new(), Vec::new(), None, None);
    let (mut credentials, mut waiting) = (None, Vec::new());
    let (mut is_served, mut is_deadly) = (false, false);
    let past = loop {
        match Order::receive(link)? {
            Some(Order::Kept(name, device)) if name.starts_with(DEVICE) => {
                kept.push(Kept { number: device_of(&name), device, ledger: None });
            }
            Some(Order::Kept(name, ledger)) if name.starts_with(LEDGER) => ledgers.push((name, ledger)),
            Some(Order::Kept(name, socket)) if name == CONTROL => control = Some(socket),
            Some(Order::Kept(name, socket)) if name == CREDENTIALS => credentials = Some(socket),
            Some(Order::Kept(name, one)) if name.starts_with(WAITING) => waiting.push((name, one)),
            Some(Order::Kept(name, texts)) if name == CONFIG => config = Texts::kept(texts).ok(),
            Some(Order::Relieve) => is_served = true,
            Some(Order::Carefully) => is_deadly = true,
            Some(Order::Prepare(past)) => break past,
            Some(_) => {}
            None => return Err(WorkerError::Deserted),
        }
    };
    for (name, ledger) in ledgers {
        let of_mount = |it: &&mut Kept| name_of(LEDGER, &it.number) == name;
        if let Some(kept) = kept.iter_mut().find(of_mount) {
            kept.ledger = Some(ledger);
        }
    }
    Ok(Before {
        config,
        mounts: kept.into_iter().map(Arc::new).collect(),
        control,
        credentials,
        // Who serves meanwhile answers them itself.
        waiting: if is_served { Vec::new() } else { waiting },
        is_served,
        is_deadly,
        past,
    })
}

/// A mount is gone: nobody needs to keep it.
pub(super) fn forget(link: &Link, number: &str) {
    for prefix in [DEVICE, LEDGER] {
        let _ = Report::Drop(name_of(prefix, number)).send(link);
    }
}

impl Kept {
    /// Whether it is seen at this place, or would be if nothing were mounted over it.
    pub(super) fn is_at(&self, at: &Path) -> bool {
        mountpoint::has_ours_with(at, &self.number)
    }

    /// Ends it where it is: what takes its place is not there yet.
    pub(super) fn abort(&self, link: &Link) {
        if mountpoint::is_connected(self.device.as_fd()) {
            mountpoint::abort(&self.number);
        }
        forget(link, &self.number);
    }

    /// One that is dead is nobody's, and buried by who mounts in its place.
    pub(super) fn take_away(&self, link: &Link) {
        if mountpoint::is_connected(self.device.as_fd())
            && let Err(error) = mountpoint::take_away(&self.number)
        {
            tracing::warn!(%error, device = self.number, "a mount could not be taken away");
        }
        forget(link, &self.number);
    }
}

impl Planned {
    /// Judges the place, unless what is there is to be taken over, though it may be covered.
    /// `is_same`: what is wrong with the templates is no mistake of a new config.
    pub(super) fn new(
        plan: Plan,
        broker: &Arc<Broker>,
        before: &Before,
        may_be_lost: bool,
        is_same: bool,
    ) -> Result<Fate<Self>, ReloadError> {
        let at = plan.at.clone();
        let kept = before.mounts.iter().find(|it| it.is_at(&at)).cloned();
        let place = if kept.is_none() { prepare(&at).map_err(ReloadError::from) } else { Ok(()) };
        let is_of_place = place.is_err();
        let outcome = place.and_then(|()| {
            let fs = filesystem(&plan, broker)?;
            Ok(Self { plan, broker: broker.clone(), fs, kept, may_be_lost })
        });
        Fate::of(&at, outcome, may_be_lost && (is_of_place || is_same))
    }

    pub(super) fn takes_over(&self, kept: &Arc<Kept>) -> bool {
        self.kept.as_ref().is_some_and(|own| Arc::ptr_eq(own, kept))
    }

    /// From now on the mount answers. Its predecessor is dead.
    pub(super) fn serve(mut self, maker: &Maker) -> Result<Fate<Mounted>, ReloadError> {
        let (at, may_be_lost) = (self.plan.at.clone(), self.may_be_lost);
        Fate::of(&at, self.take_over_or_mount(maker), may_be_lost)
    }

    fn take_over_or_mount(&mut self, maker: &Maker) -> Result<Mounted, ReloadError> {
        let at = &self.plan.at;
        if let Some(kept) = self.kept.take() {
            match self.resume(&kept, maker) {
                Ok(()) => {
                    metrics::get().resumes.of(["ok"]).inc();
                    return Ok(Mounted { at: at.clone(), device: kept.number.clone(), fs: self.fs.clone() });
                }
                Err(error) => {
                    tracing::warn!(at = %at.display(), %error, "the mount cannot be gone on with: it is made anew, open handles end");
                    metrics::get().resumes.of(["remounted"]).inc();
                    kept.take_away(&maker.link);
                    prepare(at)?;
                    self.fs = filesystem(&self.plan, &self.broker)?;
                }
            }
        }
        maker.mount(at, &self.fs)
    }

    fn resume(&self, kept: &Kept, maker: &Maker) -> io::Result<()> {
        if maker.is_careful {
            Report::Takes(kept.number.clone()).send(&maker.link)?;
        }
        self.go_on(kept, maker)?;
        if maker.is_careful {
            thread::sleep(PROBATION);
        }
        Ok(())
    }

    fn go_on(&self, kept: &Kept, maker: &Maker) -> io::Result<()> {
        if !mountpoint::is_connected(kept.device.as_fd()) {
            return Err(io::Error::other("its connection was ended"));
        }
        let nothing = || io::Error::other("nothing was left to go on with");
        let ledger = Ledger::adopt(kept.ledger.as_ref().ok_or_else(nothing)?.try_clone()?)?;
        let numbered = maker.numbers.lock().give(&kept.number, &self.plan.at);
        let (device, ended) = (kept.device.try_clone()?, maker.ended(&self.plan.at, numbered));
        self.fs.watch_readers(&self.plan.at, &maker.reactions);
        maker.pool.resume(self.fs.clone(), &ledger, device, ended)
    }
}

impl Mounts for Maker {
    fn prepare(&self, at: &Path) -> Result<(), MountError> {
        prepare(at)
    }

    /// The holder has the descriptors before anybody is answered: from then on the mount outlives us.
    fn mount(&self, at: &Path, fs: &Arc<SecretFs>) -> Result<Mounted, ReloadError> {
        let mut given = self.numbers.lock();
        let device = match geteuid().is_root() {
            true => mountpoint::mount_direct(at),
            false => mountpoint::mount_by_helper(at),
        }?;
        let number = mountpoint::device_at(at);
        let numbered = given.give(&number, at);
        let keep = |prefix, descriptor: BorrowedFd<'_>| {
            Report::Keep(name_of(prefix, &number), descriptor.try_clone_to_owned()?).send(&self.link)
        };
        let ledger = Ledger::create().unwrap_or_else(|error| {
            tracing::warn!(%error, "nothing can be kept for a successor: open handles end with this worker");
            Ledger::none()
        });
        ledger.descriptor().map_or(Ok(()), |descriptor| keep(LEDGER, descriptor))?;
        keep(DEVICE, device.as_fd())?;
        drop(given);
        fs.watch_readers(at, &self.reactions);
        let served = self.pool.serve(fs.clone(), &ledger, device, self.ended(at, numbered.clone()));
        if let Err(error) = served {
            // The holder has it, and its readers would wait for nobody.
            let _ = mountpoint::take_away(&number);
            self.numbers.end(&numbered, &self.link);
            return Err(error.into());
        }
        Ok(Mounted { at: at.to_owned(), device: number, fs: fs.clone() })
    }

    fn keep(&self, texts: &Texts) {
        let kept = texts.keep().and_then(|kept| Report::Keep(CONFIG.to_owned(), kept).send(&self.link));
        if let Err(error) = kept {
            tracing::warn!(%error, "the config is not kept for a successor");
        }
    }

    fn tell(&self, status: &str) {
        let _ = Report::Status(status.to_owned()).send(&self.link);
    }

    fn unmount(&self, mounted: &Mounted) {
        if let Err(error) = mountpoint::take_away(&mounted.device) {
            tracing::error!(%error, at = %mounted.at.display(), "is still mounted, with nothing in it");
        }
    }
}

impl Maker {
    fn ended(&self, at: &Path, mount: Numbered) -> impl FnOnce(io::Result<()>) + Send + 'static {
        let (tell, at) = (self.tell.clone(), at.to_owned());
        move |outcome| {
            tracing::info!(at = %at.display(), ?outcome, "the mount has ended");
            let _ = tell.send(Event::Ended(mount));
        }
    }
}

fn prepare(at: &Path) -> Result<(), MountError> {
    make_in_own_folder(at);
    mountpoint::prepare(at)
}

/// The folder for what lasts until the next boot is ours: who mounts in there need not make each
/// place first. Elsewhere a place that is not there may be a mistake.
fn make_in_own_folder(at: &Path) {
    let user_folder = || std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let folder = if geteuid().is_root() { Some("/run".into()) } else { user_folder() };
    if folder.is_some_and(|folder| at.starts_with(folder.join("secretfs"))) {
        // If it cannot be made, that it is not there is what will be said.
        let _ = fs::create_dir_all(at);
        let _ = fs::set_permissions(at, Permissions::from_mode(0o755));
    }
}

fn filesystem(plan: &Plan, broker: &Arc<Broker>) -> Result<Arc<SecretFs>, TreeError> {
    SecretFs::new(broker.clone(), plan.layout.clone())
}
