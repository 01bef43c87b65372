//! One worker as its holder sees it: a child process with a link, started from a binary.
//! Uses `message` and `sys`.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::super::message::{Order, Report};
use super::kept::Kept;
use super::renew;
use crate::store::EnvKey;
use crate::sys::child;
use crate::sys::link::Link;
use crate::sys::process::Process;
use crate::sys::ready;

/// What a worker is started with.
pub struct Launch {
    /// Of this program, but for what tells a worker and a prober.
    pub arguments: Vec<OsString>,
    /// Taken out of our own environment; a worker takes it out of its own.
    pub key: EnvKey,
}

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Preparing,
    Prepared,
    /// It was told to go, and takes over.
    Going,
    Serving,
}

pub struct Worker {
    pub pid: Pid,
    pub stage: Stage,
    /// When it came to this stage.
    pub since: Instant,
    /// Of [`Kept`], when it was told what there is.
    pub version: u64,
    /// The mount that it takes over, if it does so carefully.
    pub takes: Option<String>,
    /// What it said before it ended.
    pub last_words: Option<String>,
    /// A reload that it was told of and has not reported yet; and whether there shall be another.
    reload: Option<Again>,
    link: Link,
    process: Process,
}

type Again = bool;

/// What a worker's link had for us.
pub enum Said {
    Report(Report),
    /// Only what this version does not know.
    Nothing,
    /// It is gone.
    End,
}

/// The binary that this process runs, even if it was replaced on disk.
pub(super) const SAME: &str = "/proc/self/exe";
/// How our processes are listed, whatever path they were started by.
pub(super) const NAME: &str = "secretfs";
/// After this long a process that was killed hangs in a request of its own.
const DEATH: Duration = Duration::from_secs(3);
/// For a worker that has just begun to take what it is given.
const HEARING: Duration = Duration::from_secs(5);

impl Launch {
    /// Starts a worker and tells it what was kept, and what it has to mind.
    pub fn start(&self, program: &Path, kept: &Kept, orders: &[Order]) -> io::Result<Worker> {
        let (ours, theirs) = Link::pair()?;
        let mut command = Command::new(program);
        command.arg0(NAME).args(&self.arguments).arg("--worker").stdin(Stdio::from(OwnedFd::from(theirs)));
        // Keys at a terminal are for the holder, which decides.
        command.process_group(0);
        for name in ready::OWN_VARIABLES {
            command.env_remove(name);
        }
        command.env_remove(renew::VARIABLE);
        self.key.give_to(&mut command);
        let pid = Pid::from_raw(command.spawn()?.id().cast_signed());
        let worker = Worker {
            pid,
            stage: Stage::Preparing,
            since: Instant::now(),
            version: kept.version(),
            takes: None,
            last_words: None,
            reload: None,
            link: ours,
            process: Process::of(pid)?,
        };
        if let Err(error) = worker.hand_over(kept, orders) {
            worker.end(Duration::ZERO, || {});
            return Err(error);
        }
        Ok(worker)
    }

    /// The path of the binary that this process runs, which changes with the file's own.
    pub fn own_path() -> io::Result<PathBuf> {
        let path = std::fs::read_link(SAME)?.into_os_string().into_string();
        let path = path.map_err(|_| io::Error::other("the path of this program is not UTF-8"))?;
        Ok(path.strip_suffix(" (deleted)").unwrap_or(&path).into())
    }
}

impl Worker {
    /// One that a holder of before has started.
    pub fn inherited(process: Process, link: OwnedFd) -> io::Result<Self> {
        let (link, pid) = (Link::from(link), process.pid()?);
        let (stage, since) = (Stage::Serving, Instant::now());
        link.wait_never()?;
        Ok(Self { pid, stage, since, version: 0, takes: None, last_words: None, reload: None, link, process })
    }

    /// What it begins with may be more than fits into the queue at once, so it is waited for: not
    /// for long, and never again.
    fn hand_over(&self, kept: &Kept, orders: &[Order]) -> io::Result<()> {
        self.link.wait_at_most(HEARING)?;
        for (name, descriptor) in kept.all() {
            Order::Kept(name.to_owned(), descriptor.try_clone_to_owned()?).send(&self.link)?;
        }
        orders.iter().try_for_each(|order| order.send(&self.link))?;
        self.link.wait_never()
    }

    /// A worker that cannot be told is dead, which its link says, too; or it hangs, and has to go.
    pub fn tell(&self, order: &Order) {
        let Err(error) = order.send(&self.link) else { return };
        tracing::debug!(%error, ?order, "the worker was not told");
        if error.kind() == io::ErrorKind::WouldBlock {
            tracing::error!(worker = self.pid.as_raw(), "the worker does not hear us");
            let _ = self.process.kill(Signal::SIGKILL);
        }
    }

    /// Has it read its config again, once more if it is at it.
    pub fn reload(&mut self) {
        if self.reload.is_none() {
            self.tell(&Order::Reload);
        }
        self.reload = Some(self.reload.is_some());
    }

    /// What it says. To be called when the link can be read.
    pub fn hear(&mut self) -> Said {
        let report = match Report::receive(&self.link) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Said::Nothing,
            other => other.unwrap_or_default(),
        };
        match &report {
            Some(Report::Takes(device)) => self.takes = Some(device.clone()),
            Some(Report::Failed(why)) => self.last_words = Some(why.clone()),
            Some(Report::Reloaded) if self.reload.take() == Some(true) => self.reload(),
            _ => {}
        }
        report.map_or(Said::End, Said::Report)
    }

    /// All that it has said already.
    pub fn rest(&mut self) -> Vec<Report> {
        let next = || match self.hear() {
            Said::Report(report) => Some(report),
            Said::Nothing | Said::End => None,
        };
        std::iter::from_fn(next).collect()
    }

    pub fn enter(&mut self, stage: Stage) {
        (self.stage, self.since) = (stage, Instant::now());
    }

    /// Ends it, if it does not end by itself within that time, and waits until it has. `abort` is
    /// called if it cannot end, since it waits for an answer of its own.
    pub fn end(&self, patience: Duration, abort: impl FnOnce()) -> ExitStatus {
        if !self.process.is_gone_within(patience) {
            end(&self.process, abort);
        }
        ExitStatus::from_raw(child::wait(self.pid).unwrap_or(0))
    }

    /// A copy of our end of the link, for who comes after us.
    pub fn link(&self) -> io::Result<OwnedFd> {
        self.link.as_fd().try_clone_to_owned()
    }

    /// A copy of what tells of its end, for the same.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.process.as_fd().try_clone_to_owned()
    }
}

/// Kills a worker and waits until it is dead.
pub(super) fn end(worker: &Process, abort: impl FnOnce()) {
    let _ = worker.kill(Signal::SIGKILL);
    if !worker.is_gone_within(DEATH) {
        tracing::warn!("a worker does not end: it waits for an answer of its own");
        abort();
    }
}

impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}
