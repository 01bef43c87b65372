//! The process between a command and its parent: it has one thread, so it can fork, and it leads
//! the session of the command's terminal, so that keys stop the command as they do under a shell.
//! Uses sys.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{
    Pid, dup2_stderr, dup2_stdin, dup2_stdout, getpgrp, getpid, setpgid, tcgetpgrp, tcsetpgrp,
};

use super::orders::{Order, Word};
use crate::sys::child::{self, News};
use crate::sys::link::Link;
use crate::sys::{hardening, terminal};

/// What a command gets as its streams.
pub struct Ends {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// One of them, if it shall be the command's own terminal.
    pub(super) terminal: Option<Front>,
}

/// A terminal of the command's own.
pub(super) struct Front {
    pub(super) terminal: OwnedFd,
    /// Keys are for the command from the beginning.
    pub(super) has_keys: bool,
}

/// Starts the command and looks after it until it has ended and the parent has gone.
/// `become_command` gets word whether the command has its streams; it returns only if it failed,
/// with what the parent is to tell.
pub fn attend(link: &Link, ends: Ends, become_command: impl Fn(io::Result<()>) -> Vec<u8>) -> io::Result<()> {
    hardening::forbid_dumps()?;
    if let Some(front) = &ends.terminal {
        terminal::lead_session(front.terminal.as_fd())?;
    }
    let (command, started) = child::fork(|started| {
        let _ = started.send(&become_command(ends.plug_in()));
    })?;
    if let Some((report, _)) = started.receive()? {
        return link.send(&report);
    }
    drop(started);
    let terminal = ends.leave(link)?;
    Word::Started.send(link)?;
    Starter { link, command: Some(command), terminal, is_stopped: false }.run()
}

impl Ends {
    /// In the command itself.
    fn plug_in(&self) -> io::Result<()> {
        if let Some(front) = &self.terminal {
            let own = getpid();
            setpgid(own, own)?;
            if front.has_keys {
                tcsetpgrp(&front.terminal, own)?;
            }
        }
        dup2_stdin(&self.stdin)?;
        dup2_stdout(&self.stdout)?;
        Ok(dup2_stderr(&self.stderr)?)
    }

    /// Leaves the streams to the command, and all else to the parent: who waits for the end of one
    /// waits for these alone. Answers with the terminal.
    fn leave(mut self, link: &Link) -> io::Result<Option<OwnedFd>> {
        let nothing = File::options().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&nothing)?;
        dup2_stdout(&nothing)?;
        dup2_stderr(&nothing)?;
        let terminal = self.terminal.take().map(|front| front.terminal);
        let needed = terminal.iter().map(AsRawFd::as_raw_fd).chain([link.as_fd().as_raw_fd()]);
        child::close_all_but(&needed.chain(0..=2).collect::<Vec<_>>())?;
        std::mem::forget((self, nothing));
        Ok(terminal)
    }
}

struct Starter<'a> {
    link: &'a Link,
    /// Until it has ended.
    command: Option<Pid>,
    terminal: Option<OwnedFd>,
    is_stopped: bool,
}

impl Starter<'_> {
    fn run(mut self) -> io::Result<()> {
        // Blocked already: what was held back for the supervisor is held back here, too.
        let news = SignalFd::new(&SigSet::from_iter([Signal::SIGCHLD]))?;
        loop {
            self.heed_children()?;
            let mut ready = [
                PollFd::new(self.link.as_fd(), PollFlags::POLLIN),
                PollFd::new(news.as_fd(), PollFlags::POLLIN),
            ];
            poll(&mut ready, PollTimeout::NONE)?;
            if ready[1].any() == Some(true) {
                news.read_signal()?;
            }
            if ready[0].any() == Some(true) {
                match self.link.receive()? {
                    Some((order, _)) => self.obey(Order::read(&order)),
                    None => break,
                }
            }
        }
        // Nobody is left who would pass its output on.
        if let Some(command) = self.command {
            let _ = kill(command, Signal::SIGKILL);
        }
        Ok(())
    }

    fn heed_children(&mut self) -> io::Result<()> {
        while let Some(news) = child::reap() {
            match news {
                News::Ended(pid, status) if self.command == Some(pid) => {
                    self.command = None;
                    Word::Ended(status).send(self.link)?;
                }
                News::Stopped(pid) if self.command == Some(pid) => {
                    self.is_stopped = true;
                    Word::Stopped.send(self.link)?;
                }
                News::Continued(pid) if self.command == Some(pid) => self.is_stopped = false,
                News::Ended(..) | News::Stopped(_) | News::Continued(_) => {}
            }
        }
        Ok(())
    }

    fn obey(&mut self, order: Option<Order>) {
        let Some(command) = self.command else { return };
        match order {
            Some(Order::Signal(signal)) => {
                let _ = kill(command, signal);
            }
            Some(Order::Front) => {
                self.set_front(command);
                self.go_on(command);
            }
            Some(Order::Back) => {
                self.set_back(command);
                self.go_on(command);
            }
            None => {}
        }
    }

    /// A shell in there gives the terminal to its jobs by itself: it is not taken from these.
    fn set_front(&self, command: Pid) {
        let Some(terminal) = &self.terminal else { return };
        if self.is_stopped || tcgetpgrp(terminal) == Ok(getpgrp()) {
            let _ = tcsetpgrp(terminal, command);
        }
    }

    fn set_back(&self, command: Pid) {
        let Some(terminal) = &self.terminal else { return };
        if tcgetpgrp(terminal) == Ok(command) {
            let _ = tcsetpgrp(terminal, getpgrp());
        }
    }

    /// Its whole group, where that is its own; else the shell has continued the group, and the
    /// command alone may have left it.
    fn go_on(&mut self, command: Pid) {
        if self.is_stopped {
            let _ = match self.terminal {
                Some(_) => killpg(command, Signal::SIGCONT),
                None => kill(command, Signal::SIGCONT),
            };
        }
    }
}
