//! The process between a command and its parent: it has one thread, so it can fork, and it leads
//! the session of the command's terminal, so that keys stop the command as they do under a shell.
//! Uses sys.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::SignalFd;
use nix::sys::termios::Termios;
use nix::unistd::{
    Pid, dup2_stderr, dup2_stdin, dup2_stdout, getpgrp, getpid, setpgid, tcgetpgrp, tcsetpgrp,
};

use zeroize::Zeroizing;

use super::Environment;
use super::orders::{Order, Word};
use crate::sys::child::{self, News};
use crate::sys::link::Link;
use crate::sys::{hardening, terminal};

/// What orphans may take to end, and between two looks at them.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// What a command gets as its streams.
pub struct Ends {
    /// In, out and errors.
    pub(super) streams: [OwnedFd; 3],
    /// One of them, if it shall be the command's own terminal.
    pub(super) terminal: Option<Front>,
    /// The command may be started again.
    pub(super) are_kept: bool,
}

/// A terminal of the command's own.
pub(super) struct Front {
    pub(super) terminal: OwnedFd,
    /// As each command finds it.
    pub(super) modes: Termios,
    /// Keys are for the command from the beginning.
    pub(super) has_keys: bool,
}

/// Becomes the command; returns only if that failed, with what the parent is to tell. Gets word
/// whether the command has its streams, and an environment if it is not the first.
pub(super) type Become<'a> = &'a dyn Fn(io::Result<()>, Option<Environment>) -> Vec<u8>;

/// Starts the command and looks after it until it has ended and the parent has gone.
pub fn attend(link: &Link, ends: Ends, become_command: Become<'_>) -> io::Result<()> {
    hardening::forbid_dumps()?;
    if ends.are_kept {
        child::adopt_orphans()?;
    }
    if let Some(front) = &ends.terminal {
        terminal::lead_session(front.terminal.as_fd())?;
    }
    let has_keys = ends.terminal.as_ref().is_some_and(|front| front.has_keys);
    // A command that changes its user is not ended with its parent any more (PR_SET_PDEATHSIG): so this
    // process has to be there to end it.
    child::outlive_parent()?;
    let Some(command) = ends.start(link, become_command, has_keys, None)? else { return Ok(()) };
    let mut starter = Starter { link, become_command, command: Some(command), ends, is_stopped: false };
    let attended = starter.settle().and_then(|()| starter.run());
    // Nobody is left who would pass its output on.
    if let Some(command) = starter.command {
        let _ = kill(command, Signal::SIGKILL);
    }
    attended
}

impl Ends {
    /// `None`: it could not be started, and the parent knows why.
    fn start(
        &self,
        link: &Link,
        become_command: Become<'_>,
        has_keys: bool,
        environment: Option<Environment>,
    ) -> io::Result<Option<Pid>> {
        let (command, started) = child::fork(|started| {
            let _ = started.send(&become_command(self.plug_in(has_keys), environment));
        })?;
        match started.receive()? {
            Some((report, _)) => link.send(&report).map(|()| None),
            None => Ok(Some(command)),
        }
    }

    /// In the command itself.
    fn plug_in(&self, has_keys: bool) -> io::Result<()> {
        if let Some(front) = &self.terminal {
            let own = getpid();
            setpgid(own, own)?;
            let _ = terminal::set_modes(front.terminal.as_fd(), &front.modes);
            if has_keys {
                tcsetpgrp(&front.terminal, own)?;
            }
        }
        let [stdin, stdout, stderr] = &self.streams;
        dup2_stdin(stdin)?;
        dup2_stdout(stdout)?;
        Ok(dup2_stderr(stderr)?)
    }

    /// Leaves the streams to the command, unless it may be started again, and all else to the
    /// parent: who waits for the end of one waits for these alone.
    fn leave(&mut self, link: &Link) -> io::Result<()> {
        if !self.are_kept {
            self.streams = [(); 3]
                .map(|()| File::open("/dev/null").map(OwnedFd::from))
                .into_iter()
                .collect::<io::Result<Vec<_>>>()?
                .try_into()
                .expect("three");
        }
        let terminal = self.terminal.iter().map(|front| front.terminal.as_raw_fd());
        let needed = self.streams.iter().map(AsRawFd::as_raw_fd).chain(terminal);
        let needed = needed.chain([link.as_fd().as_raw_fd()]).chain(0..=2);
        child::close_all_but(&needed.collect::<Vec<_>>())
    }
}

struct Starter<'a> {
    link: &'a Link,
    become_command: Become<'a>,
    /// Until it has ended.
    command: Option<Pid>,
    ends: Ends,
    is_stopped: bool,
}

impl Starter<'_> {
    /// Once the command has begun.
    fn settle(&mut self) -> io::Result<()> {
        // Locks are not inherited, and it has a copy of all that its parent had.
        hardening::lock_memory();
        let nothing = File::options().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&nothing)?;
        dup2_stdout(&nothing)?;
        dup2_stderr(&nothing)?;
        drop(nothing);
        self.ends.leave(self.link)?;
        Word::Started.send(self.link)
    }

    /// Until the parent has gone.
    fn run(&mut self) -> io::Result<()> {
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
                    Some((order, with)) => self.obey(Order::read(&order), with)?,
                    None => return Ok(()),
                }
            }
        }
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

    fn obey(&mut self, order: Option<Order>, with: Option<OwnedFd>) -> io::Result<()> {
        match (order, self.command) {
            (Some(Order::Clear), None) => {
                end_orphans();
                Word::Cleared.send(self.link)?;
            }
            (Some(Order::Start { has_keys }), None) => {
                let mut bytes = Zeroizing::default();
                File::from(with.ok_or(io::ErrorKind::InvalidData)?).read_to_end(&mut bytes)?;
                let environment = Some(Environment::read(&bytes));
                self.is_stopped = false;
                self.command = self.ends.start(self.link, self.become_command, has_keys, environment)?;
                if self.command.is_some() {
                    Word::Started.send(self.link)?;
                }
            }
            (Some(Order::Signal(signal)), Some(command)) => drop(kill(command, signal)),
            (Some(Order::End(signal)), Some(command)) => {
                self.send(command, signal);
                self.send(command, Signal::SIGCONT);
            }
            (Some(Order::Front), Some(command)) => {
                self.set_front(command);
                self.go_on(command);
            }
            (Some(Order::Back), Some(command)) => {
                self.set_back(command);
                self.go_on(command);
            }
            _ => {}
        }
        Ok(())
    }

    /// To its whole group, where that is its own.
    fn send(&self, command: Pid, signal: Signal) {
        let _ = match self.ends.terminal {
            Some(_) => killpg(command, signal),
            None => kill(command, signal),
        };
    }

    /// A shell in there gives the terminal to its jobs by itself: it is not taken from these.
    fn set_front(&self, command: Pid) {
        let Some(Front { terminal, .. }) = &self.ends.terminal else { return };
        if self.is_stopped || tcgetpgrp(terminal) == Ok(getpgrp()) {
            let _ = tcsetpgrp(terminal, command);
        }
    }

    fn set_back(&self, command: Pid) {
        let Some(Front { terminal, .. }) = &self.ends.terminal else { return };
        if tcgetpgrp(terminal) == Ok(command) {
            let _ = tcsetpgrp(terminal, getpgrp());
        }
    }

    /// Where the group is not its own, the shell has continued that, and the command alone may
    /// have left it.
    fn go_on(&mut self, command: Pid) {
        if self.is_stopped {
            self.send(command, Signal::SIGCONT);
        }
    }
}

/// What a command has left behind does not go on beside the next one. Each that ends may leave its own.
fn end_orphans() {
    if cfg!(debug_assertions) && std::env::var_os("SECRETFS_TEST_KEEP_ORPHANS").is_some() {
        return;
    }
    let start = Instant::now();
    let mut told = Vec::new();
    // Nothing outlives SIGKILL but what waits in the kernel: that is not waited for.
    while start.elapsed() < PATIENCE * 2 {
        while child::reap().is_some() {}
        let left = child::children();
        if left.is_empty() {
            return;
        }
        for pid in left {
            if start.elapsed() > PATIENCE {
                let _ = kill(pid, Signal::SIGKILL);
            } else if !told.contains(&pid) {
                let _ = kill(pid, Signal::SIGTERM);
                let _ = kill(pid, Signal::SIGCONT);
                told.push(pid);
            }
        }
        sleep(PAUSE);
    }
}
