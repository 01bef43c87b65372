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

use super::super::message::{Order, Past, Report};
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
    /// What it said before it ended.
    pub last_words: Option<String>,
    link: Link,
    process: Process,
}

/// The binary that this process runs, even if it was replaced on disk.
pub(super) const SAME: &str = "/proc/self/exe";
/// How our processes are listed, whatever path they were started by.
pub(super) const NAME: &str = "secretfs";
/// After this long a process that was killed hangs in a request of its own.
const DEATH: Duration = Duration::from_secs(3);

impl Launch {
    /// Starts a worker and tells it what was kept.
    pub fn start(&self, program: &Path, kept: &Kept, past: Past) -> io::Result<Worker> {
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
            last_words: None,
            link: ours,
            process: Process::of(pid)?,
        };
        for (name, descriptor) in kept.all() {
            worker.tell(&Order::Kept(name.to_owned(), descriptor.try_clone_to_owned()?));
        }
        worker.tell(&Order::Prepare(past));
        Ok(worker)
    }

    /// The binary that is now at the place of ours.
    pub fn on_disk() -> io::Result<PathBuf> {
        let path = std::fs::read_link(SAME)?.into_os_string().into_string();
        let path = path.map_err(|_| io::Error::other("the path of this program is not UTF-8"))?;
        Ok(path.strip_suffix(" (deleted)").unwrap_or(&path).into())
    }
}

impl Worker {
    /// One that a holder of before has started, which this process was until it became a new one.
    pub fn inherited(pid: Pid, link: OwnedFd) -> io::Result<Self> {
        let (link, process) = (Link::from(link), Process::of(pid)?);
        let (stage, since) = (Stage::Serving, Instant::now());
        Ok(Self { pid, stage, since, version: 0, last_words: None, link, process })
    }

    /// A worker that cannot be told is dead, which its link says, too.
    pub fn tell(&self, order: &Order) {
        if let Err(error) = order.send(&self.link) {
            tracing::debug!(%error, ?order, "the worker was not told");
        }
    }

    /// What it says; `None` when it is gone. To be called when the link can be read.
    pub fn hear(&mut self) -> Option<Report> {
        let report = Report::receive(&self.link).unwrap_or_default();
        if let Some(Report::Failed(why)) = &report {
            self.last_words = Some(why.clone());
        }
        report
    }

    pub fn enter(&mut self, stage: Stage) {
        (self.stage, self.since) = (stage, Instant::now());
    }

    /// Ends it, if it does not end by itself within that time, and waits until it has. `abort` is
    /// called if it cannot end, since it waits for an answer of its own.
    pub fn end(self, patience: Duration, abort: impl FnOnce()) -> ExitStatus {
        if !self.process.is_gone_within(patience) {
            end(&self.process, abort);
        }
        ExitStatus::from_raw(child::wait(self.pid).unwrap_or(0))
    }

    /// A copy of what tells of its end, for who comes after us.
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
