//! The parent of a command: passes signals on to it, stops and continues with it, reaps what it
//! leaves behind, and ends as it ends. Uses sys.

use std::fs::File;
use std::io;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, dup2_stdin, dup2_stdout, getpid, getsid};

use crate::sys::child::{self, News};
use crate::sys::signal::{self, Came};

/// What is passed on to the command, and the two that a parent lives by: CHLD and CONT.
pub(super) const SIGNALS: [Signal; 13] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGTERM,
    Signal::SIGCHLD,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGWINCH,
];

/// Holds the signals back until [`supervise`] passes them on. Threads that are started later
/// inherit this, so that only the supervisor ever gets one.
pub fn hold_signals() -> io::Result<()> {
    Ok(SigSet::from_iter(SIGNALS).thread_block()?)
}

/// Leaves input and output to the command: who waits for their end waits for the command alone.
/// Errors can still be told.
pub fn leave_streams() {
    // Without /dev/null they stay: nothing that a running command should be ended for.
    if let Ok(nothing) = File::options().read(true).write(true).open("/dev/null") {
        let _ = dup2_stdin(&nothing).and_then(|()| dup2_stdout(&nothing));
    }
}

/// Until the command has ended: its status, as a shell says it.
pub fn supervise(command: Pid) -> io::Result<u8> {
    let signals = SigSet::from_iter(SIGNALS);
    loop {
        let came = signal::wait(&signals)?;
        if came.signal != Signal::SIGCHLD {
            pass_on(command, came);
        } else if let Some(status) = heed_children(command) {
            return Ok(status);
        }
    }
}

/// What a key at the terminal made, the whole group has got already, the command with it.
fn pass_on(command: Pid, came: Came) {
    if !came.by_terminal || is_hangup_for_us(came.signal) {
        let _ = kill(command, came.signal);
    }
}

/// When a terminal goes, the kernel tells the leader of its session alone.
pub(super) fn is_hangup_for_us(signal: Signal) -> bool {
    signal == Signal::SIGHUP && getsid(None) == Ok(getpid())
}

/// One SIGCHLD stands for any number of children, and as PID 1 for everybody's.
fn heed_children(command: Pid) -> Option<u8> {
    while let Some(news) = child::reap() {
        match news {
            News::Ended(pid, status) if pid == command => return Some(status),
            News::Stopped(pid) if pid == command => stop_with(command),
            News::Ended(..) | News::Stopped(_) | News::Continued(_) => {}
        }
    }
    None
}

/// The shell waits for us: it takes the terminal back when we stop. Whether the command was
/// stopped by Ctrl-Z, by a read in the background or by itself makes no difference to it.
fn stop_with(command: Pid) {
    // The shell continues the group; a command that left it has to be continued by us.
    if signal::stop() && is_still_stopped(command) {
        let _ = kill(command, Signal::SIGCONT);
    }
}

/// Nothing is known of it since it was stopped. Leaves the news for [`child::reap`].
fn is_still_stopped(command: Pid) -> bool {
    let peek = WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let news = waitid(Id::Pid(command), WaitPidFlag::WEXITED | WaitPidFlag::WCONTINUED | peek);
    news == Ok(WaitStatus::StillAlive)
}
