//! Doing it: a signal, or a program in a process group of its own, with nothing of the daemon's but
//! what it is told. Under systemd a command becomes a unit of its own: outside the daemon's control
//! group and its restrictions, so that whatever it reads, it never stands between two workers.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Pid, geteuid};

use super::Due;
use crate::config::{Action, Reaction};
use crate::sys::group::{Group, Until};
use crate::sys::peer::ProcessId;
use crate::sys::process::Process;
use crate::sys::running;

/// Why it was not done.
pub(super) enum Problem {
    Late,
    Failed(String),
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The files, a line each.
const FILES: &str = "SECRETFS_FILES";
/// Those who hold old content.
const PIDS: &str = "SECRETFS_PIDS";
/// What fits into a variable; who needs more asks `readers`.
const MOST_PIDS: usize = 1_000;

/// The manager, who reads an `EnvironmentFile=` in place of the unit that it is for. To signal it
/// is nobody's wish.
const MANAGER: u32 = 1;

/// Those whom the action does something for. A unit's reload is no help to a process elsewhere.
pub(super) fn concerned(action: &Action, due: Vec<Due>) -> Vec<Due> {
    match action {
        Action::Reload(unit) | Action::Restart(unit) => {
            let is_of_unit =
                |it: &Due| it.process.pid == MANAGER || running::is_of_unit(it.process.pid, unit.as_str());
            due.into_iter().filter(is_of_unit).collect()
        }
        Action::Signal(_) | Action::Command(_) => due,
    }
}

/// Begins it. What is to be waited for then is answered, if there is anything.
pub(super) fn begin(
    reaction: &Reaction,
    files: &[&Path],
    processes: &[ProcessId],
) -> Result<Option<Running>, Problem> {
    let limit = reaction.timeout;
    let command = match &reaction.action {
        Action::Signal(signal) => return send(signal.name(), processes).map(|()| None),
        Action::Reload(unit) => systemctl("reload", unit.as_str()),
        Action::Restart(unit) => systemctl("restart", unit.as_str()),
        Action::Command(words) => command(words, files, processes, limit),
    };
    Running::start(command, limit).map(Some)
}

fn send(name: &str, processes: &[ProcessId]) -> Result<(), Problem> {
    let signal =
        Signal::from_str(&format!("SIG{name}")).map_err(|error| Problem::Failed(error.to_string()))?;
    let processes = processes.iter().filter(|it| it.pid != MANAGER);
    let failed: Vec<_> = processes.clone().filter_map(|it| send_one(signal, *it).err()).collect();
    match failed.first() {
        None => Ok(()),
        Some(error) => Err(Problem::Failed(format!("{} of {}: {error}", failed.len(), processes.count()))),
    }
}

/// The descriptor is of who has the number now; that it is the one meant is asked after.
fn send_one(signal: Signal, process: ProcessId) -> io::Result<()> {
    let Ok(held) = Process::of(Pid::from_raw(process.pid.cast_signed())) else { return Ok(()) };
    if running::running(process.pid) != Some(process) {
        return Ok(());
    }
    match held.kill(signal) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Nothing of the daemon's environment but what a manager is found by.
fn bare(name: &str) -> Command {
    let mut command = Command::new(name);
    let own = ["HOME", "LANG", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];
    let own = own.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.env_clear().env("PATH", PATH).envs(own);
    command
}

/// One that speaks to the manager of this user.
fn of_manager(name: &str) -> Command {
    let mut command = bare(name);
    if !geteuid().is_root() {
        command.arg("--user");
    }
    command.arg("--no-ask-password");
    command
}

fn systemctl(verb: &str, unit: &str) -> Command {
    let mut command = of_manager("systemctl");
    command.args([verb, "--", unit]);
    command
}

fn command(words: &[String], files: &[&Path], processes: &[ProcessId], limit: Duration) -> Command {
    let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
    let pids: Vec<_> = processes.iter().take(MOST_PIDS).map(|it| it.pid.to_string()).collect();
    let variables = [(FILES, files.join("\n")), (PIDS, pids.join(" "))];
    let (name, arguments) = words.split_first().expect("the config has judged it");
    if !is_unit() {
        let mut command = bare(name);
        command.args(arguments).envs(variables);
        return command;
    }
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut command = of_manager("systemd-run");
    // It waits for the end of a unit of this type, also where there is no bus but PID 1's own.
    command.args(["--quiet", "--collect", "--service-type=oneshot"]);
    // It starts nothing else.
    command.arg("--property=DefaultDependencies=no");
    command.arg(format!("--unit=secretfs-reaction-{}-{number}", std::process::id()));
    command.arg(format!("--property=TimeoutStartSec={}ms", limit.as_millis()));
    command.args(variables.map(|(name, value)| format!("--setenv={name}={value}")));
    // It expands variables in words, which is not what a list of words means.
    command.arg("--").args(words.iter().map(|word| word.replace('$', "$$")));
    command
}

/// Whether this process is part of a unit of a systemd that runs here.
fn is_unit() -> bool {
    std::env::var_os("INVOCATION_ID").is_some() && Path::new("/run/systemd/system").is_dir()
}

/// A program that runs, with its group.
pub(super) struct Running {
    name: String,
    limit: Duration,
    child: Child,
    group: Group,
}

/// Who waits for it is the first to end what is late; it is ended without us, too.
const AFTER_LIMIT: Duration = Duration::from_secs(1);

impl Running {
    /// What it says is for its own log, never for ours: it may be what it has read.
    fn start(mut command: Command, limit: Duration) -> Result<Self, Problem> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let name = command.get_program().to_string_lossy().into_owned();
        let failed = |error: io::Error| Problem::Failed(format!("{name}: {error}"));
        let group = Group::start(Until::Passed(limit + AFTER_LIMIT)).map_err(failed)?;
        group.take_in(&mut command);
        let child = command.spawn().map_err(failed)?;
        Ok(Self { name, limit, child, group })
    }

    /// Waits for its end, or for as long as it may run.
    pub(super) fn finish(self) -> Result<(), Problem> {
        let Self { name, limit, mut child, group } = self;
        let failed = |error: io::Error| Problem::Failed(format!("{name}: {error}"));
        let process = Process::of(Pid::from_raw(child.id().cast_signed())).map_err(failed)?;
        let in_time = process.is_gone_within(limit);
        // What it has left behind goes, too, if it was late.
        if in_time {
            group.let_go()
        } else {
            drop(group)
        }
        let status = child.wait().map_err(failed)?;
        match (in_time, status.success()) {
            (false, _) => Err(Problem::Late),
            (true, true) => Ok(()),
            (true, false) => Err(Problem::Failed(format!("{name}: {status}"))),
        }
    }
}
