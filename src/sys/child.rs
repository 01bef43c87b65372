//! A forked child and what becomes of it. Uses nix and `link`.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, fork as fork_process, getpid, getppid};

use super::environ;
use super::link::Link;

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

/// Answers no if the parent is gone already.
fn end_with_parent(parent: Pid) -> bool {
    // Nothing milder: a program without its files must not go on because it ignores a signal.
    // SAFETY: PR_SET_PDEATHSIG takes an integer.
    let is_set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, Signal::SIGKILL as libc::c_ulong) } == 0;
    is_set && getppid() == parent
}

/// The next piece of news of any child, those included that PID 1 adopts. Never waits.
pub fn reap() -> Option<News> {
    let flags = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one integer. (nix refuses the statuses of real-time signals.)
        let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        match pid {
            0 => return None,
            -1 if Errno::last() == Errno::EINTR => {}
            -1 => return None,
            pid => return Some(News::of(Pid::from_raw(pid), status)),
        }
    }
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
