//! The parent of a command whose output is masked: what it writes goes through here, keys and
//! signals go on to it, and it ends as it would end alone. Uses sys.

mod change;
mod keys;
mod lay;
mod stream;
mod wait;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::pipe2;
use zeroize::Zeroizing;

use super::Environment;
use super::orders::{Order, Word};
use super::supervise::{SIGNALS, is_hangup_for_us};
use crate::sys::child;
use crate::sys::link::Link;
use crate::sys::signal;
use crate::sys::{hardening, terminal};
use change::Changes;
use keys::Keys;
use stream::Stream;

pub use change::{Change, Teller};

pub struct Relay {
    streams: Vec<Stream>,
    /// Our ends of terminals that follow the size of ours.
    sized: Vec<OwnedFd>,
    /// Where that is.
    window: Option<OwnedFd>,
    /// If the command has a terminal of its own.
    keys: Option<Keys>,
    changes: Changes,
    piece: Zeroizing<Vec<u8>>,
}

/// How a command came to its end.
pub enum End {
    /// With this status, as a shell says it.
    Status(u8),
    /// It could not be started again; who was to become it says why.
    NotStarted(Vec<u8>),
}

/// After the command's end: when so long nothing came, what it left behind keeps its output open.
const QUIET: Duration = Duration::from_millis(100);
/// And when that never ends.
const LONGEST: Duration = Duration::from_secs(1);

impl Relay {
    /// Until the command has ended and its output is passed on. Signals must be held back
    /// ([`super::hold_signals`]).
    pub fn supervise(mut self, link: Link) -> io::Result<End> {
        let signals = SignalFd::with_flags(&SigSet::from_iter(SIGNALS), SfdFlags::SFD_CLOEXEC)?;
        if let Some(keys) = &mut self.keys {
            keys.take();
        }
        let woken = self.changes.woken();
        let end = loop {
            let patience = self.changes.patience();
            let others = self.step([signals.as_fd(), link.as_fd(), woken.as_fd()], patience)?.others;
            let [has_signal, has_word, has_change] = others;
            if has_signal && let Some(info) = signals.read_signal()? {
                self.heed(&info, &link);
            }
            if has_change {
                self.changes.heed(&link);
            }
            self.changes.press(&link);
            if has_word && let Some(end) = self.heed_word(&link)? {
                break end;
            }
        };
        // The starter has the command's terminal: that ends with it.
        drop(link);
        self.finish()?;
        Ok(end)
    }

    /// Answers when all is over.
    fn heed_word(&mut self, link: &Link) -> io::Result<Option<End>> {
        let Some((word, _)) = link.receive()? else {
            return Err(io::Error::other("the process that starts the command has gone"));
        };
        match Word::read(&word) {
            None => return Ok(Some(End::NotStarted(word))),
            Some(Word::Started) => {}
            Some(Word::Stopped) => self.stop_with_it(link),
            Some(Word::Ended(status)) => match self.changes.next() {
                Some(environment) => self.start_again(&environment, link)?,
                None => return Ok(Some(End::Status(status))),
            },
        }
        Ok(None)
    }

    fn start_again(&mut self, environment: &Environment, link: &Link) -> io::Result<()> {
        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
        let has_keys = self.keys.as_ref().is_some_and(Keys::has_them);
        Order::Start { has_keys }.send_with(link, theirs.as_fd())?;
        drop(theirs);
        // A pipe is never swapped, and the starter waits for nothing else.
        File::from(ours).write_all(&environment.bytes())
    }

    /// The filter is told that it has ended only when it has: half a value may be in it.
    fn finish(mut self) -> io::Result<()> {
        let latest = Instant::now() + LONGEST;
        while !self.is_over() && Instant::now() < latest {
            if !self.step([], Some(QUIET))?.has_come {
                break;
            }
        }
        self.keys = None;
        if self.is_over() {
            return Ok(());
        }
        self.leave_the_rest()
    }

    /// What the command has left behind goes on writing, and whoever reads it, reading.
    fn leave_the_rest(mut self) -> io::Result<()> {
        let needed: Vec<i32> = self.streams.iter().flat_map(Stream::descriptors).collect();
        if child::is_alone() && self.sized.is_empty() {
            return child::leave_beside(&needed, move || {
                let _ = hardening::forbid_dumps();
                let _ = SigSet::from_iter(SIGNALS).thread_unblock();
                while !self.is_over() && self.step([], None).is_ok() {}
            });
        }
        self.streams.iter_mut().for_each(Stream::end);
        let latest = Instant::now() + LONGEST;
        while !self.is_over() && Instant::now() < latest {
            self.step([], Some(QUIET))?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.streams.iter().all(Stream::is_over)
    }

    fn heed(&mut self, info: &siginfo, link: &Link) {
        let Ok(signal) = Signal::try_from(info.ssi_signo.cast_signed()) else { return };
        let by_terminal = info.ssi_code == libc::SI_KERNEL;
        match signal {
            // Of orphans, as PID 1.
            Signal::SIGCHLD => while child::reap().is_some() {},
            Signal::SIGWINCH => {
                self.follow_size();
                Order::Signal(Signal::SIGWINCH).send(link);
            }
            Signal::SIGCONT if self.keys.is_some() => self.continue_it(link),
            // What a key made, its whole group has got already, unless it has a terminal of its own.
            _ if self.keys.is_some() || !by_terminal || is_hangup_for_us(signal) => {
                Order::Signal(signal).send(link);
            }
            _ => {}
        }
    }

    fn follow_size(&self) {
        if let Some(window) = &self.window {
            self.sized.iter().for_each(|it| terminal::copy_size(window.as_fd(), it.as_fd()));
        }
    }

    fn continue_it(&mut self, link: &Link) {
        self.follow_size();
        let has_keys = self.keys.as_mut().is_some_and(Keys::take);
        if has_keys { Order::Front } else { Order::Back }.send(link);
    }

    /// The shell waits for us: it takes the terminal back when we stop.
    fn stop_with_it(&mut self, link: &Link) {
        let Some(keys) = &mut self.keys else {
            if signal::stop() {
                Order::Back.send(link);
            }
            return;
        };
        // It wanted the terminal when it was behind, and by now we are in front.
        let wants_keys = !keys.has_them() && keys.is_in_front();
        keys.give_back();
        if wants_keys || signal::stop_group() || keys.is_in_front() {
            self.continue_it(link);
        }
    }
}
