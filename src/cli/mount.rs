//! `secretfs mount`: serves files in the foreground until it is told to stop. Makes what `plan` has
//! planned, as this user can, and takes it away again.

pub(super) mod plan;

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use nix::sys::signal::{self, SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};
use tokio::runtime::Runtime;
use tracing_appender::non_blocking::WorkerGuard;

use super::report::Failure;
use super::{Common, assemble, config, exit, log};
use crate::broker::Environment;
use crate::config::Config;
use crate::fs::SecretFs;
use crate::fs::mountpoint::{self, MountError, Way};
use crate::fs::session;
use crate::secret::Namespace;
use crate::sys::namespace::Inside;
use crate::sys::signal::Came;
use crate::sys::{self, hardening, lease, ready};
use crate::template::Syntax;
use plan::{Plan, cannot_plan};

#[derive(clap::Args)]
pub struct Args {
    /// The folder of templates (with MOUNTPOINT; else the mounts of the config)
    #[arg(requires = "mountpoint")]
    templates: Option<PathBuf>,
    /// An empty folder
    mountpoint: Option<PathBuf>,
    /// The files' owner
    #[arg(long)]
    owner: Option<String>,
    /// The files' group
    #[arg(long)]
    group: Option<String>,
    /// The files' mode
    #[arg(long, value_name = "OCTAL")]
    mode: Option<String>,
    /// The templates' syntax: angle (`<< >>`) or jinja (`{{ }}`)
    #[arg(long, value_parser = Syntax::parse)]
    syntax: Option<Syntax>,
    /// Run a command (default: a shell) that alone sees the mount
    #[arg(last = true, value_name = "CMD")]
    command: Option<Vec<OsString>>,
}

/// What the foreground process waits for.
enum Event {
    Signal(Came),
    /// A mount has ended: somebody unmounted it.
    Ended(usize, io::Result<()>),
    /// The command has ended.
    Child(WaitStatus),
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    refuse_deploy(common)?;
    let config = config::load(common)?;
    let plans = plan::plan(&config, args)?;
    if let Some(command) = command(args) {
        return run_inside(common, &config, plans, &command);
    }
    let way = way()?;
    for plan in &plans {
        mountpoint::prepare(&plan.at).map_err(|error| cannot_mount(&error))?;
    }
    let server = Server::start(common, &config, &plans)?;
    let mut made = Made { way, mounts: Vec::new() };
    let outcome = make(&plans, &server, &mut made).and_then(|()| {
        announce(&plans, &server);
        server.wait(plans.len())
    });
    made.take_away();
    outcome
}

fn make(plans: &[Plan], server: &Server, made: &mut Made) -> Result<(), Failure> {
    for (index, plan) in plans.iter().enumerate() {
        let device = match made.way {
            Way::Direct => mountpoint::mount_direct(&plan.at),
            Way::Helper => mountpoint::mount_by_helper(&plan.at),
        };
        let device = device.map_err(|error| cannot_mount(&error))?;
        made.mounts.push((plan.at.clone(), mountpoint::device_at(&plan.at)));
        server.serve(index, device, plan)?;
    }
    Ok(())
}

/// Deploy-time secrets are for `exec --deploy`; a mount serves workloads.
fn refuse_deploy(common: &Common) -> Result<(), Failure> {
    match common.namespace.as_deref() {
        Some(Namespace::DEPLOY) => Err(Failure::new(
            exit::NO_PERMISSION,
            "the namespace `deploy` is for deployments; no workload gets it",
        )
        .hint("secretfs exec --deploy --namespace deploy -- COMMAND")),
        _ => Ok(()),
    }
}

/// Root mounts by itself, a user by `fusermount3`, where it is installed.
fn way() -> Result<Way, Failure> {
    if geteuid().is_root() {
        return Ok(Way::Direct);
    }
    if mountpoint::helper_is_there() {
        return Ok(Way::Helper);
    }
    Err(Failure::new(exit::UNAVAILABLE, "this user cannot mount: fusermount3 is not installed").hint(
        "install the package fuse3, or let a command alone see the files: secretfs mount TEMPLATES MOUNTPOINT -- CMD",
    ))
}

/// The command runs in namespaces of its own, where an ordinary user may mount. Forks before
/// anything has threads; this process stays outside and serves.
fn run_inside(
    common: &Common,
    config: &Config,
    plans: Vec<Plan>,
    command: &[CString],
) -> Result<u8, Failure> {
    for plan in &plans {
        mountpoint::prepare(&plan.at).map_err(|error| cannot_mount(&error))?;
    }
    let mount_one =
        |index: usize| mountpoint::mount_direct(&plans[index].at).map_err(|error| error.to_string());
    let mut inside = Inside::start(command, plans.len(), mount_one, mountpoint::receive).map_err(|error| {
        Failure::new(exit::UNAVAILABLE, error)
            .hint("allow user namespaces and /dev/fuse for this user, or install fuse3 and mount without a command")
    })?;
    let server = Server::start(common, config, &plans)?;
    for (index, device) in std::mem::take(&mut inside.devices).into_iter().enumerate() {
        server.serve(index, device, &plans[index])?;
    }
    server.watch_child(inside.child);
    inside.begin().map_err(|error| Failure::new(exit::OS, format!("the command is gone: {error}")))?;
    server.wait_for_child(inside.child)
}

/// The parts that outlive the set-up of a mount.
struct Server {
    filesystems: Vec<Arc<SecretFs>>,
    pool: Runtime,
    events: mpsc::Receiver<Event>,
    /// Writes what is left of the log when it goes.
    _log: Option<WorkerGuard>,
    tell: Sender<Event>,
}

impl Server {
    /// Opens the store, reads the trees, starts the pool. Makes no mount.
    fn start(common: &Common, config: &Config, plans: &[Plan]) -> Result<Self, Failure> {
        let signals = stop_signals();
        signals.thread_block().map_err(|errno| Failure::new(exit::OS, errno))?;
        let log = log::start_serving();
        lease::ignore_lease_breaks();
        sys::signal::survive_broken_pipe();
        hardening::forbid_dumps().map_err(|error| Failure::new(exit::OS, error))?;
        if !hardening::lock_memory() {
            tracing::warn!(
                "memory could not be locked (no CAP_IPC_LOCK, and a memlock limit): values could be swapped out"
            );
        }
        let (tell, events) = mpsc::channel();
        watch_signals(signals, tell.clone());
        let broker =
            Arc::new(assemble::broker(common, config, Environment::Only(config.env_allowed.clone()))?);
        let filesystems = plans
            .iter()
            .map(|plan| SecretFs::new(broker.clone(), plan.layout.clone()).map_err(cannot_plan))
            .collect::<Result<_, _>>()?;
        Ok(Self { filesystems, pool: pool()?, events, _log: log, tell })
    }

    fn serve(&self, index: usize, device: OwnedFd, plan: &Plan) -> Result<(), Failure> {
        let tell = self.tell.clone();
        let ended = move |outcome| drop(tell.send(Event::Ended(index, outcome)));
        let fs = self.filesystems[index].clone();
        session::serve(fs, device, self.pool.handle().clone(), ended).map_err(|error| {
            Failure::new(exit::OS, format!("cannot serve {}: {error}", plan.at.display()))
        })?;
        Ok(())
    }

    /// Until a signal comes or all mounts were taken away.
    fn wait(&self, mut mounts: usize) -> Result<u8, Failure> {
        while mounts > 0 {
            match self.events.recv() {
                Ok(Event::Ended(index, outcome)) => {
                    mounts -= 1;
                    tracing::info!(index, ?outcome, "the mount has ended");
                }
                Ok(Event::Signal(came)) => {
                    tracing::info!(signal = %came.signal, "stops");
                    return Ok(exit::OK);
                }
                Ok(Event::Child(_)) | Err(_) => {}
            }
        }
        Ok(exit::OK)
    }

    fn watch_child(&self, child: Pid) {
        let tell = self.tell.clone();
        std::thread::spawn(move || {
            if let Ok(status) = waitpid(child, None) {
                let _ = tell.send(Event::Child(status));
            }
        });
    }

    /// The command's end is ours, with its status; a signal is passed on to it.
    fn wait_for_child(&self, child: Pid) -> Result<u8, Failure> {
        loop {
            match self.events.recv() {
                Ok(Event::Child(WaitStatus::Exited(_, status))) => return Ok(status as u8),
                Ok(Event::Child(WaitStatus::Signaled(_, signal, _))) => return Ok(128 + signal as u8),
                // From the terminal the command has got it already.
                Ok(Event::Signal(Came { by_terminal: true, .. })) => {}
                Ok(Event::Signal(came)) => drop(signal::kill(child, came.signal)),
                Ok(Event::Child(_) | Event::Ended(..)) => {}
                Err(_) => return Ok(exit::SOFTWARE),
            }
        }
    }
}

fn pool() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .thread_name("secretfs-pool")
        .enable_time()
        .build()
        .map_err(|error| Failure::new(exit::OS, error))
}

fn stop_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT])
}

fn watch_signals(signals: SigSet, tell: Sender<Event>) {
    std::thread::spawn(move || {
        while let Ok(came) = sys::signal::wait(&signals) {
            if tell.send(Event::Signal(came)).is_err() {
                return;
            }
        }
    });
}

/// The mounts answer now: for a person, and for systemd.
fn announce(plans: &[Plan], server: &Server) {
    use std::io::Write;
    let mut out = io::stdout().lock();
    for (plan, fs) in plans.iter().zip(&server.filesystems) {
        let _ = writeln!(out, "secretfs: ready: {} ({})", plan.at.display(), count(fs.files()));
    }
    let _ = out.flush();
    if let Err(error) = ready::notify("READY=1") {
        tracing::warn!(%error, "systemd was not told");
    }
}

/// The mounts that are to be taken away in the end, each with its device number.
struct Made {
    way: Way,
    mounts: Vec<(PathBuf, String)>,
}

impl Made {
    fn take_away(&self) {
        for (at, device) in &self.mounts {
            if let Err(error) = mountpoint::unmount(at, self.way, device) {
                super::report::warn(format!("{} is still mounted: {error}", at.display()));
            }
        }
    }
}

/// The command after `--`; nothing after it means the user's shell. The parser does not tell an
/// empty rest from none.
fn command(args: &Args) -> Option<Vec<CString>> {
    let ends_in_dashes = || std::env::args_os().next_back().is_some_and(|word| word == "--");
    let words = args.command.clone().or_else(|| ends_in_dashes().then(Vec::new))?;
    let shell = || std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let words = if words.is_empty() { vec![shell()] } else { words };
    Some(words.into_iter().filter_map(|word| CString::new(word.into_vec()).ok()).collect())
}

fn count(files: usize) -> String {
    if files == 1 { "1 file".to_owned() } else { format!("{files} files") }
}

fn cannot_mount(error: &MountError) -> Failure {
    let (status, hint) = match error {
        MountError::Missing(at) => (exit::NO_INPUT, format!("mkdir -p {}", at.display())),
        MountError::NotFolder(_) | MountError::Link(_) => {
            (exit::USAGE, "mount over an empty folder".to_owned())
        }
        MountError::NotEmpty(_) => (exit::CANNOT_CREATE, "mount over an empty folder".to_owned()),
        MountError::Busy(at) => (exit::CANNOT_CREATE, format!("umount {}", at.display())),
        MountError::NoDevice => {
            (exit::UNAVAILABLE, "modprobe fuse; in a container: --device /dev/fuse".to_owned())
        }
        MountError::DeviceForbidden => {
            (exit::UNAVAILABLE, "chmod 0666 /dev/fuse (what udev does elsewhere), or run as root".to_owned())
        }
        MountError::NoHelper(_) => (exit::UNAVAILABLE, "install the package fuse3".to_owned()),
        MountError::Helper { .. } => (
            exit::UNAVAILABLE,
            "mount over a folder that you own, as a user whom this machine knows by name".to_owned(),
        ),
        MountError::System { .. } => {
            (exit::OS, "a container needs CAP_SYS_ADMIN to mount; or: secretfs mount … -- CMD".to_owned())
        }
    };
    Failure::new(status, error).hint(hint)
}
