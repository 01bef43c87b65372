//! A command that alone sees a mount. A child makes the mount in a namespace of its own, hands
//! its descriptor to this process, which serves from outside, and only then becomes the command.
//! May use every layer.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::Pid;

use super::report::Failure;
use super::{exit, log};
use crate::daemon::serve::Server;
use crate::exec::mask::Masks;
use crate::exec::{self, End, Ends, Environment, Relay, Teller};
use crate::fs::SecretFs;
use crate::fs::mountpoint;
use crate::ledger::Ledger;
use crate::sys::link::Link;
use crate::sys::namespace::{self, NamespaceError};
use crate::sys::signal::Inherited;
use crate::sys::{child, hardening};

/// What runs inside.
pub struct Command<'a> {
    pub words: &'a [OsString],
    pub environment: Environment,
    pub signals: Inherited,
    /// What is left to do in the child once the mounts answer.
    pub prepare: &'a dyn Fn() -> Result<(), Failure>,
    /// What must not be seen in its output.
    pub masks: Option<Arc<Masks>>,
    /// What tells of changes, beside the command once it is there.
    pub watch: Option<Watch<'a>>,
}

/// Starts a thread that tells of changes; and whether the command may be started again for one.
pub struct Watch<'a> {
    pub start: Box<dyn FnOnce(Teller) -> Result<(), Failure> + 'a>,
    pub restarts: bool,
}

/// What stands between the command and us, on our side.
struct Beside<'a> {
    relay: Relay,
    teller: Teller,
    watch: Option<Watch<'a>>,
}

/// Judges what can be judged before anything is made: a program and a device that are not there.
pub fn check(words: &[OsString]) -> Result<(), Failure> {
    exec::find(words).map_err(|error| Failure::new(error.status(), error))?;
    Ok(mountpoint::check_device()?)
}

/// Runs the command to its end; answers with its status. A filesystem for each mount point is made
/// once the child is there: signals must be held back ([`exec::hold_signals`]), and there must be
/// one thread.
pub fn run(
    mount_points: &[&Path],
    filesystems: impl FnOnce() -> Result<Vec<Arc<SecretFs>>, Failure>,
    mut command: Command<'_>,
) -> Result<u8, Failure> {
    let (beside, ends) = lay(&mut command)?;
    let forked = child::fork(|link| {
        let entered = enter(link, mount_points, &command);
        if let Err(failure) = entered.and_then(|()| become_command(link, &command, ends)) {
            let _ = link.send(&in_writing(&failure));
        }
    });
    let (child, link) = forked.map_err(system)?;
    drop(command);
    // From here on there are threads: a filesystem has its own.
    let server = Server::start(log::start_serving()).map_err(system)?;
    let filesystems = filesystems()?;
    for (at, fs) in mount_points.iter().zip(filesystems.iter().cloned()) {
        let device = match link.receive().map_err(system)? {
            Some((_, Some(device))) => device,
            Some((report, None)) => return Err(read_back(&report)),
            None => return Err(gone()),
        };
        let at = at.to_path_buf();
        let ended = move |outcome| tracing::info!(at = %at.display(), ?outcome, "the mount has ended");
        server.pool().serve(fs, &Ledger::none(), device, ended).map_err(system)?;
    }
    link.send(b"go").map_err(|_| gone())?;
    let status = supervise(child, link, beside);
    filesystems.iter().for_each(|fs| fs.end());
    server.stop();
    status
}

/// Runs the command to its end where everybody is, as its parent.
pub fn run_beside(mut command: Command<'_>) -> Result<u8, Failure> {
    let (beside, ends) = lay(&mut command)?;
    let forked = child::fork(|link| {
        if let Err(failure) = become_command(link, &command, ends) {
            let _ = link.send(&in_writing(&failure));
        }
    });
    let (child, link) = forked.map_err(system)?;
    drop(command);
    hardening::forbid_dumps().map_err(system)?;
    hardening::lock_memory();
    supervise(child, link, beside)
}

fn lay<'a>(command: &mut Command<'a>) -> Result<(Option<Beside<'a>>, Option<Ends>), Failure> {
    let watch = command.watch.take();
    if command.masks.is_none() && watch.is_none() {
        return Ok((None, None));
    }
    let restarts = watch.as_ref().is_some_and(|watch| watch.restarts);
    let (relay, teller, ends) = Relay::lay(command.masks.as_ref(), restarts).map_err(system)?;
    Ok((Some(Beside { relay, teller, watch }), Some(ends)))
}

/// Once the command has begun, until it ends.
fn supervise(child: Pid, link: Link, beside: Option<Beside<'_>>) -> Result<u8, Failure> {
    match link.receive().map_err(system)? {
        Some((word, _)) if exec::is_word(&word) => {}
        Some((report, _)) => return Err(read_back(&report)),
        None if beside.is_some() => return Err(gone()),
        None => {}
    }
    exec::leave_streams();
    let Some(Beside { relay, teller, watch }) = beside else {
        return exec::supervise(child).map_err(system);
    };
    if let Some(watch) = watch {
        (watch.start)(teller)?;
    }
    match relay.supervise(link).map_err(system)? {
        End::Status(status) => Ok(status),
        End::NotStarted(report) => Err(read_back(&report)),
    }
}

fn system(error: io::Error) -> Failure {
    Failure::new(exit::OS, error)
}

/// In the child: returns if it did not become the command; or once that has ended, if it became
/// what stands between it and its parent.
fn become_command(link: &Link, command: &Command<'_>, ends: Option<Ends>) -> Result<(), Failure> {
    let replace = |environment: Option<&Environment>| {
        command.signals.restore();
        let error = exec::replace(command.words, environment.unwrap_or(&command.environment));
        Failure::new(error.status(), error)
    };
    let Some(ends) = ends else { return Err(replace(None)) };
    let attended = exec::attend(link, ends, &|plugged, environment| {
        in_writing(&plugged.map_or_else(system, |()| replace(environment.as_ref())))
    });
    attended.map_err(system)
}

/// In the child: what it alone sees.
fn enter(link: &Link, mount_points: &[&Path], command: &Command<'_>) -> Result<(), Failure> {
    enter_and_mount(link, mount_points)?;
    match link.receive() {
        Ok(Some(_)) => (command.prepare)(),
        _ => Err(gone()),
    }
}

fn enter_and_mount(link: &Link, mount_points: &[&Path]) -> Result<(), Failure> {
    namespace::enter().map_err(|error| cannot_enter(&error))?;
    for at in mount_points {
        let device = mountpoint::mount_direct(at)?;
        // Given away whole: a copy in here would keep a dead mount from telling its readers.
        link.hand_over(device).map_err(|_| gone())?;
    }
    Ok(())
}

fn cannot_enter(error: &NamespaceError) -> Failure {
    Failure::new(exit::UNAVAILABLE, error).hint(error.hint())
}

/// The other process has gone: the signal that ended it is told by whoever waits for it.
fn gone() -> Failure {
    Failure::new(exit::OS, "the command was ended before it began")
}

/// A failure for the other process to tell: status, problem and hint.
pub(super) fn in_writing(failure: &Failure) -> Vec<u8> {
    let hint = failure.hint.as_deref().unwrap_or_default();
    [&[failure.status][..], failure.problem.as_bytes(), b"\0", hint.as_bytes()].concat()
}

pub(super) fn read_back(report: &[u8]) -> Failure {
    let (&status, text) = report.split_first().unwrap_or((&exit::SOFTWARE, b"nothing was said"));
    let text = String::from_utf8_lossy(text);
    let (problem, hint) = text.split_once('\0').unwrap_or((&text, ""));
    let failure = Failure::new(status, problem);
    if hint.is_empty() { failure } else { failure.hint(hint) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_way() {
        for failure in [Failure::new(69, "it is\nso").hint("mend it"), Failure::new(127, "no hint")] {
            let back = read_back(&in_writing(&failure));
            assert_eq!(
                (back.status, &back.problem, &back.hint),
                (failure.status, &failure.problem, &failure.hint)
            );
        }
    }
}
