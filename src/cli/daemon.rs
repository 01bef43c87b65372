//! `secretfs daemon`: all mounts of a config, served until it is told to stop. This process holds
//! them; another one, started from the same command line, does the work. May use every layer.

use std::ffi::CStr;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::report::Failure;
use super::{Common, config, exit, log};
use crate::daemon::assemble::Choice;
use crate::daemon::holder::{Holder, Launch};
use crate::daemon::load;
use crate::daemon::message::Report;
use crate::daemon::probe;
use crate::daemon::reload::ReloadError;
use crate::daemon::worker::{Setup, Worker, WorkerError};
use crate::sys::link::Link;
use crate::sys::{hardening, signal};

#[derive(clap::Args)]
pub struct Args {
    /// Do the work, for the holder that is at the other end of stdin
    #[arg(long, hide = true)]
    worker: bool,
    /// Read mounts, for the holder that is at the other end of stdin; else those of the config, and
    /// end what hangs
    #[arg(long, hide = true)]
    probe: bool,
    /// How long a mount may hang
    #[arg(long, hide = true, value_name = "SECONDS", default_value_t = 30)]
    patience: u64,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    if args.probe {
        return probe(&found(common)?, Duration::from_secs(args.patience));
    }
    common.choice().refuse_deploy()?;
    let config = found(common)?;
    match args.worker {
        true => work(common, config),
        false => hold(common),
    }
}

fn found(common: &Common) -> Result<PathBuf, Failure> {
    config::find(common)?.ok_or_else(|| {
        Failure::new(exit::USAGE, "a daemon needs a config that names its mounts")
            .hint("secretfs daemon --config FILE")
    })
}

fn hold(common: &Common) -> Result<u8, Failure> {
    log::start_holding();
    hardening::forbid_dumps().map_err(system)?;
    signal::survive_broken_pipe();
    let arguments = std::env::args_os().skip(1).collect();
    let holder = Holder::new(Launch { arguments, key: common.env_key.clone() }).map_err(system)?;
    holder.run().map_err(system)
}

fn probe(config: &Path, patience: Duration) -> Result<u8, Failure> {
    log::start_holding();
    // A config that cannot be read now may be again.
    let places = || load::read(config).map(|it| it.mounts.into_iter().map(|mount| mount.at).collect());
    call_ourselves(c"secretfs-probe");
    let link = Link::of_stdin().map_err(system)?;
    match link.is_socket() {
        true => probe::work_for(&link).map_err(system)?,
        false => probe::watch_over(|| places().unwrap_or_default(), patience).map_err(system)?,
    }
    Ok(exit::OK)
}

fn work(common: &Common, config: PathBuf) -> Result<u8, Failure> {
    call_ourselves(c"secretfs-worker");
    let link = Arc::new(Link::of_stdin().map_err(system)?);
    let setup = Setup {
        config: &config,
        choice: Choice { waits_for_key: true, ask: None, ..common.choice() },
        log: log::start_serving(),
    };
    let outcome = Worker::prepare(link.clone(), setup).and_then(Worker::run);
    outcome.map(|()| exit::OK).map_err(|error| {
        let brief = Failure::new(exit::OS, error.in_brief()).problem;
        // If nobody hears it, nobody is left to be told.
        let _ = Report::Failed(brief.clone()).send(&link);
        let failure = Failure::from(error);
        match std::io::stderr().is_terminal() {
            true => failure,
            // Others may read a log than the config.
            false => Failure { problem: brief, ..failure },
        }
    })
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Config(error) => (*error).into(),
            WorkerError::Control(error) => {
                let hint = error.hint();
                Self::new(exit::CANNOT_CREATE, error).hint(hint)
            }
            WorkerError::NoSocket => {
                Self::new(exit::USAGE, error).hint("in the config: `control: {socket: PATH}`")
            }
            WorkerError::System(_) | WorkerError::Deserted => Self::new(exit::OS, error),
        }
    }
}

impl From<ReloadError> for Failure {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::Busy => Self::new(exit::OS, error),
            ReloadError::Load(error) => error.into(),
            ReloadError::Plan(error) => error.into(),
            ReloadError::Assemble(error) => error.into(),
            ReloadError::Tree(error) => error.into(),
            ReloadError::Mount(error) => error.into(),
            ReloadError::System(error) => system(error),
        }
    }
}

/// Started by way of /proc/self/exe, we would be listed as `exe`.
fn call_ourselves(name: &CStr) {
    let _ = nix::sys::prctl::set_name(name);
}

fn system(error: impl std::fmt::Display) -> Failure {
    Failure::new(exit::OS, error)
}
