//! `secretfs mount`: serves files in the foreground until it is told to stop, or to one command
//! until that has ended. Makes what `plan` has planned, as this user can, and takes it away again.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::geteuid;

use super::inside::{self, Command};
use super::report::{Failure, warn};
use super::{Common, config, exit, log, output};
use crate::broker::Environment;
use crate::config::{Account, Config, FileOptions};
use crate::daemon::apart::Own;
use crate::daemon::assemble;
use crate::daemon::plan::{self, Plan, PlanError, Unknown};
use crate::daemon::rules;
use crate::daemon::serve::Server;
use crate::exec::{self, Rules};
use crate::fs::SecretFs;
use crate::fs::mountpoint::{self, MountError, Way};
use crate::fs::tree::{Spec, TreeError};
use crate::ledger::Ledger;
use crate::sys::signal::{self, Came, Inherited};
use crate::sys::{lease, ready};
use crate::template::Syntax;

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
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    common.choice().refuse_deploy()?;
    let config = config::load(common)?;
    let plans = plans(&config, args, &Own::of_config(&common.choice(), &config))?;
    if let Some(command) = command(args) {
        return run_inside(common, &config, &plans, &command);
    }
    let way = way()?;
    for plan in &plans {
        mountpoint::prepare(&plan.at)?;
    }
    let (tell, events) = mpsc::channel();
    watch_signals(&tell)?;
    lease::ignore_lease_breaks();
    signal::survive_broken_pipe();
    let server = Server::start(log::start_serving()).map_err(system)?;
    server.warn();
    rules::warn(&config);
    let filesystems = filesystems(common, &config, &plans)?;
    let mut made = Made { way, mounts: Vec::new() };
    let outcome = make(&plans, &filesystems, &server, &tell, &mut made).map(|()| {
        announce(&plans, &filesystems, common.json);
        wait(&events, plans.len());
        exit::OK
    });
    made.take_away();
    filesystems.iter().for_each(|fs| fs.end());
    outcome
}

/// What the command line or the config wants mounted.
fn plans(config: &Config, args: &Args, own: &Own) -> Result<Vec<Plan>, Failure> {
    let plans = match (&args.templates, &args.mountpoint) {
        (Some(templates), Some(at)) => plan::of_folder(templates, at, args.spec()?, own)?,
        _ => plan::of_config(config, own)?,
    };
    let names_owners = match args.templates {
        Some(_) => args.owner.is_some() || args.group.is_some(),
        None => plan::names_owners(config),
    };
    if !geteuid().is_root() && names_owners {
        warn("owner and group give nobody else access: a mount that root has not made is its user's alone");
    }
    if args.templates.is_none() && plan::needs_daemon(config) {
        warn(
            "`ready` and `on_change` are for secretfs daemon; nothing is waited for and nothing follows a change",
        );
    }
    Ok(plans)
}

fn filesystems(common: &Common, config: &Config, plans: &[Plan]) -> Result<Vec<Arc<SecretFs>>, Failure> {
    let allowed = Environment::Only(config.env_allowed.clone());
    let broker = Arc::new(assemble::broker(&common.choice(), config, allowed)?);
    broker.audit().start();
    let filesystem = |plan: &Plan| Ok(SecretFs::new(broker.clone(), plan.layout.clone())?);
    plans.iter().map(filesystem).collect()
}

fn make(
    plans: &[Plan],
    filesystems: &[Arc<SecretFs>],
    server: &Server,
    tell: &Sender<Event>,
    made: &mut Made,
) -> Result<(), Failure> {
    for (index, (plan, fs)) in plans.iter().zip(filesystems).enumerate() {
        let device = match made.way {
            Way::Direct => mountpoint::mount_direct(&plan.at),
            Way::Helper => mountpoint::mount_by_helper(&plan.at),
        }?;
        made.mounts.push((plan.at.clone(), mountpoint::device_at(&plan.at)));
        let tell = tell.clone();
        let ended = move |outcome| drop(tell.send(Event::Ended(index, outcome)));
        server.pool().serve(fs.clone(), &Ledger::none(), device, ended).map_err(system)?;
    }
    Ok(())
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

/// The command runs in namespaces of its own, where an ordinary user may mount.
fn run_inside(common: &Common, config: &Config, plans: &[Plan], words: &[OsString]) -> Result<u8, Failure> {
    for plan in plans {
        mountpoint::prepare(&plan.at)?;
    }
    inside::check(words)?;
    let signals = Inherited::take().map_err(system)?;
    let rules = Rules { own: config.own_variables(), ..Rules::default() };
    let environment = exec::Environment::build(std::env::vars_os(), &Default::default(), &rules)
        .map_err(|error| Failure::new(exit::SOFTWARE, error))?;
    let at: Vec<&Path> = plans.iter().map(|plan| &*plan.at).collect();
    exec::hold_signals().map_err(system)?;
    let filesystems = || filesystems(common, config, plans);
    inside::run(
        &at,
        filesystems,
        Command { words, environment, signals, prepare: &|| Ok(()), masks: None, watch: None },
    )
}

/// Until a signal comes or all mounts were taken away.
fn wait(events: &mpsc::Receiver<Event>, mut mounts: usize) {
    while mounts > 0 {
        match events.recv() {
            Ok(Event::Ended(index, outcome)) => {
                mounts -= 1;
                tracing::info!(index, ?outcome, "the mount has ended");
            }
            Ok(Event::Signal(came)) => {
                tracing::info!(signal = %came.signal, "stops");
                return;
            }
            Err(_) => return,
        }
    }
}

/// All threads that are started later hold them back, too.
fn watch_signals(tell: &Sender<Event>) -> Result<(), Failure> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT]);
    signals.thread_block().map_err(|errno| Failure::new(exit::OS, errno))?;
    let tell = tell.clone();
    std::thread::spawn(move || {
        while let Ok(came) = signal::wait(&signals) {
            if tell.send(Event::Signal(came)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The mounts answer now: for a person or a program, a line each, and for systemd.
fn announce(plans: &[Plan], filesystems: &[Arc<SecretFs>], json: bool) {
    use std::io::Write;
    let mut out = io::stdout().lock();
    for (plan, fs) in plans.iter().zip(filesystems) {
        let (at, files) = (plan.at.display(), fs.files());
        let _ = match json {
            true => writeln!(out, "{}", serde_json::json!({"ready": at.to_string(), "files": files})),
            false => writeln!(out, "secretfs: ready: {at} ({})", output::counted(files, "file")),
        };
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
                warn(format!("{} is still mounted: {error}", at.display()));
            }
        }
    }
}

/// The command after `--`; nothing after it means the user's shell. The parser does not tell an
/// empty rest from none.
fn command(args: &Args) -> Option<Vec<OsString>> {
    let ends_in_dashes = || std::env::args_os().next_back().is_some_and(|word| word == "--");
    let words = args.command.clone().or_else(|| ends_in_dashes().then(Vec::new))?;
    let shell = || std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    Some(if words.is_empty() { vec![shell()] } else { words })
}

impl Args {
    fn spec(&self) -> Result<Spec, Failure> {
        plan::spec(&self.options()?).map_err(|Unknown { option, problem }| {
            Failure::new(exit::USAGE, format!("--{option}: {problem}"))
        })
    }

    fn options(&self) -> Result<FileOptions, Failure> {
        let account = |text: &String| text.parse().map_or_else(|_| Account::Name(text.clone()), Account::Id);
        let mode = |text: &String| {
            u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o666 == 0).ok_or_else(|| {
                Failure::new(exit::USAGE, format!("--mode {text} is not a file's mode")).hint("--mode 0440")
            })
        };
        Ok(FileOptions {
            owner: self.owner.as_ref().map(account),
            group: self.group.as_ref().map(account),
            mode: self.mode.as_ref().map(mode).transpose()?,
            syntax: self.syntax,
            ..FileOptions::default()
        })
    }
}

fn system(error: io::Error) -> Failure {
    Failure::new(exit::OS, error)
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Config(error) => error.into(),
            PlanError::Nothing => Self::new(exit::USAGE, error).hint("secretfs mount TEMPLATES MOUNTPOINT"),
            PlanError::InTemplates { .. } | PlanError::InMount { .. } => {
                Self::new(exit::CONFIG, error).hint("mount elsewhere")
            }
            PlanError::Path { .. } => Self::new(exit::NO_INPUT, error),
        }
    }
}

impl From<TreeError> for Failure {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Unreadable { .. } => Self::new(exit::NO_INPUT, error),
            TreeError::Twice(_) | TreeError::NoTemplate { .. } => Self::new(exit::CONFIG, error),
        }
    }
}

impl From<MountError> for Failure {
    fn from(error: MountError) -> Self {
        let (status, hint) = match &error {
            MountError::Missing(at) => (exit::NO_INPUT, format!("mkdir -p {}", at.display())),
            MountError::NotFolder(_) | MountError::Link(_) => {
                (exit::USAGE, "mount over an empty folder".to_owned())
            }
            MountError::NotEmpty(_) => (exit::CANNOT_CREATE, "mount over an empty folder".to_owned()),
            MountError::Busy(at) => (exit::CANNOT_CREATE, format!("umount {}", at.display())),
            MountError::NoDevice => {
                (exit::UNAVAILABLE, "modprobe fuse; in a container: --device /dev/fuse".to_owned())
            }
            MountError::DeviceForbidden => (
                exit::UNAVAILABLE,
                "chmod 0666 /dev/fuse (what udev does elsewhere), or run as root".to_owned(),
            ),
            MountError::NoHelper(_) => (exit::UNAVAILABLE, "install the package fuse3".to_owned()),
            MountError::Helper { .. } => (
                exit::UNAVAILABLE,
                "mount over a folder that you own, as a user whom this machine knows by name".to_owned(),
            ),
            MountError::System { .. } => {
                (exit::OS, "a container needs CAP_SYS_ADMIN to mount; or: secretfs mount … -- CMD".to_owned())
            }
        };
        Self::new(status, error).hint(hint)
    }
}
