//! A forked child and what becomes of it. Uses nix and `link`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, fork as fork_process, getpid, getppid, setsid};

use super::link::Link;
use super::signal;
use super::{capability, environ};
use crate::poison::EvenPoisoned;

/// What [`reap`] has to tell of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It has ended with this status, as a shell says it: 128+n for signal n.
    Ended(Pid, u8),
    Stopped(Pid),
    Continued(Pid),
}

/// A child of this process, with a link to it. It does `work` and ends, unless it becomes a
/// program; and it ends when the calling thread does. Before a second thread only.
pub fn fork(work: impl FnOnce(&Link)) -> io::Result<(Pid, Link)> {
    debug_assert!(environ::is_single_threaded());
    let (ours, theirs) = Link::pair()?;
    let parent = getpid();
    // SAFETY: the process has one thread (the caller's promise), so the child may do anything.
    match unsafe { fork_process() }? {
        ForkResult::Parent { child } => Ok((child, ours)),
        ForkResult::Child => {
            drop(ours);
            if end_with_parent(parent) {
                work(&theirs);
            }
            // SAFETY: ends the process at once; nothing of the parent's is flushed or dropped twice.
            unsafe { libc::_exit(libc::EXIT_FAILURE) }
        }
    }
}

/// A process that does `work` and ends, in a session of its own and with these descriptors alone.
/// It is nobody's child, so what this process becomes never hears of it. Before a second thread only.
pub fn leave_beside(needed: &[RawFd], work: impl FnOnce()) -> io::Result<()> {
    debug_assert!(environ::is_single_threaded());
    // SAFETY: the process has one thread (the caller's promise), so the child may do anything.
    if let ForkResult::Parent { child } = unsafe { fork_process() }? {
        waitpid(child, None)?;
        signal::take_pending(Signal::SIGCHLD);
        return Ok(());
    }
    // SAFETY: as above.
    if let Ok(ForkResult::Child) = unsafe { fork_process() }
        && setsid().is_ok()
        && close_all_but(needed).is_ok()
    {
        work();
    }
    // SAFETY: ends the process at once; nothing of the parent's is flushed or dropped twice.
    unsafe { libc::_exit(libc::EXIT_SUCCESS) }
}

/// The same as a program of ours, of which the word on its command line tells what it is to do: nothing
/// of this process's memory and environment is in it. The link is its stdin, and all that it says
/// goes there. What this process may do to mounts, it may. Before a second thread only.
pub fn leave_program_beside(word: &str) -> io::Result<Link> {
    let (ours, theirs) = Link::pair()?;
    let needed = [theirs.as_fd().as_raw_fd()];
    leave_beside(&needed, move || {
        // Where a command runs there may be no /dev/null.
        let theirs = OwnedFd::from(theirs);
        if capability::keep_over_exec().is_ok()
            && let (Ok(out), Ok(errors)) = (theirs.try_clone(), theirs.try_clone())
        {
            let mut program = Command::new("/proc/self/exe");
            program.arg0("secretfs").arg(word).env_clear().stdin(theirs).stdout(out).stderr(errors);
            // Returns if it failed; the end of the link tells that.
            let _ = program.exec();
        }
    })?;
    Ok(ours)
}

/// Whether this process has one thread, so that it may fork.
pub fn is_alone() -> bool {
    environ::is_single_threaded()
}

/// For a process that ends without dropping what it has closed here.
pub fn close_all_but(needed: &[RawFd]) -> io::Result<()> {
    let names = std::fs::read_dir("/proc/self/fd")?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let open = names.iter().filter_map(|name| name.to_str()?.parse().ok());
    for descriptor in open.filter(|it| !needed.contains(it)) {
        // SAFETY: nobody uses it any more. The folder's own is closed already: that is no harm.
        unsafe { libc::close(descriptor) };
    }
    Ok(())
}

/// Answers no if the parent is gone already.
fn end_with_parent(parent: Pid) -> bool {
    // Nothing milder: a program without its files must not go on because it ignores a signal.
    // SAFETY: PR_SET_PDEATHSIG takes an integer.
    let is_set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, Signal::SIGKILL as libc::c_ulong) } == 0;
    is_set && getppid() == parent
}

/// From now on it is for this process to notice that its parent has ended, by the end of its link.
pub fn outlive_parent() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes an integer.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0 as libc::c_ulong) })?;
    Ok(())
}

/// Waits until this child has ended; answers with its status as waitpid(2) gives it.
pub fn wait(child: Pid) -> io::Result<libc::c_int> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one integer.
        if unsafe { libc::waitpid(child.as_raw(), &raw mut status, 0) } >= 0 {
            return Ok(status);
        }
        if Errno::last() != Errno::EINTR {
            return Err(io::Error::last_os_error());
        }
    }
}

/// From now on a process whose parent has ended becomes a child of this one, if it descends from it.
pub fn adopt_orphans() -> io::Result<()> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes an integer.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong) })?;
    Ok(())
}

/// The children of this process, which has one thread.
pub fn children() -> Vec<Pid> {
    let own = getpid();
    let list = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

/// The next piece of news of any child, those included that PID 1 adopts. Never waits.
pub fn reap() -> Option<News> {
    let flags = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
    let mut status = 0;
    loop {
        // Held until the status is where its waiter finds it.
        let mut awaited = awaited();
        // SAFETY: the kernel writes one integer. (nix refuses the statuses of real-time signals.)
        let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        match pid {
            0 => return None,
            -1 if Errno::last() == Errno::EINTR => {}
            -1 => return None,
            pid if awaited.contains_key(&pid) => {
                if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                    // What is left of its group still keeps the number.
                    let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
                    awaited.insert(pid, Some(ExitStatus::from_raw(status)));
                }
            }
            pid => return Some(News::of(Pid::from_raw(pid), status)),
        }
    }
}

/// Children that somebody in this process waits for by their own number, and how they ended if
/// [`reap`] has met them first.
static AWAITED: Mutex<BTreeMap<i32, Option<ExitStatus>>> = Mutex::new(BTreeMap::new());

/// Starts a program that [`reap_one`] will reap, whatever else reaps the children of this process.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut awaited = awaited();
    let child = command.spawn()?;
    awaited.insert(child.id() as i32, None);
    Ok(child)
}

/// Waits for a child of [`spawn`] and reaps it. Blocks until it has ended.
pub fn reap_one(child: &mut Child) -> io::Result<ExitStatus> {
    let pid = child.id() as i32;
    // Waits without reaping, so that the table need not be held meanwhile.
    let _ = waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    let mut awaited = awaited();
    match awaited.remove(&pid).flatten() {
        Some(status) => Ok(status),
        None => child.wait(),
    }
}

/// Kills all that is left of the process group that a child of [`spawn`] leads.
pub fn end_group(child: &Child) {
    // The number cannot have become another's as long as the child is not reaped.
    let pid = child.id() as i32;
    if awaited().get(&pid) == Some(&None) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn awaited() -> MutexGuard<'static, BTreeMap<i32, Option<ExitStatus>>> {
    AWAITED.lock().even_poisoned()
}

impl News {
    fn of(pid: Pid, status: libc::c_int) -> Self {
        if libc::WIFEXITED(status) {
            Self::Ended(pid, libc::WEXITSTATUS(status) as u8)
        } else if libc::WIFSIGNALED(status) {
            Self::Ended(pid, 128 + libc::WTERMSIG(status) as u8)
        } else if libc::WIFSTOPPED(status) {
            Self::Stopped(pid)
        } else {
            Self::Continued(pid)
        }
    }
}
