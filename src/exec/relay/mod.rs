//! The parent of a command whose output is masked: what it writes goes through here, keys and
//! signals go on to it, and it ends as it would end alone. Uses sys.

mod change;
mod finish;
mod keys;
mod lay;
mod stream;
mod wait;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

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
use crate::sys::terminal;
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
    /// The last signal that was passed on to end the command.
    told: Option<Signal>,
    /// How it has ended, while what it left behind is ended before the next one starts.
    between: Option<u8>,
    piece: Zeroizing<Vec<u8>>,
}

/// How a command came to its end.
pub enum End {
    /// With this status, as a shell says it.
    Status(u8),
    /// It could not be started again; who was to become it says why.
    NotStarted(Vec<u8>),
}

/// What ends a command that does nothing about it, as far as somebody who wants that sends it.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// As a shell says it.
fn status_of(signal: Signal) -> u8 {
    128 + signal as u8
}

impl Relay {
    /// Until the command has ended and its output is taken. Signals must be held back
    /// ([`super::hold_signals`]).
    pub fn supervise(mut self, link: Link) -> io::Result<End> {
        let signals = SignalFd::with_flags(
            &SigSet::from_iter(SIGNALS),
            SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
        )?;
        if let Some(keys) = &mut self.keys {
            keys.take();
        }
        let woken = self.changes.woken();
        let end = loop {
            let patience = self.changes.patience();
            let others = self.step([signals.as_fd(), link.as_fd(), woken.as_fd()], patience)?.others;
            let [has_signal, has_word, _] = others;
            if has_signal
                && let Some(info) = signals.read_signal()?
                && let Some(end) = self.heed(&info, &link)
            {
                break end;
            }
            self.changes.heed(&link);
            if has_word && let Some(end) = self.heed_word(&link)? {
                break end;
            }
        };
        // The starter has the command's terminal: that ends with it.
        drop(link);
        self.finish(&signals, end)
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
            Some(Word::Ended(status)) => {
                if self.is_as_told(status) || !self.changes.has_next() {
                    return Ok(Some(End::Status(status)));
                }
                self.between = Some(status);
                Order::Clear.send(link);
            }
            Some(Word::Cleared) => {
                let status = self.between.take().unwrap_or_default();
                let Some(environment) = self.changes.next() else { return Ok(Some(End::Status(status))) };
                self.start_again(&environment, link)?;
            }
        }
        Ok(None)
    }

    /// Whether it died of what was passed on to it.
    fn is_as_told(&self, status: u8) -> bool {
        self.told.is_some_and(|signal| status == status_of(signal))
    }

    fn start_again(&mut self, environment: &Environment, link: &Link) -> io::Result<()> {
        self.told = None;
        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
        let has_keys = self.keys.as_ref().is_some_and(Keys::has_them);
        Order::Start { has_keys }.send_with(link, theirs.as_fd())?;
        drop(theirs);
        // A pipe is never swapped, and the starter waits for nothing else.
        File::from(ours).write_all(&environment.bytes())
    }

    /// Answers if that is the end, as there is no command that it could be passed on to.
    fn heed(&mut self, info: &siginfo, link: &Link) -> Option<End> {
        let signal = Signal::try_from(info.ssi_signo.cast_signed()).ok()?;
        let by_terminal = info.ssi_code == libc::SI_KERNEL;
        if ENDING.contains(&signal) {
            self.told = Some(signal);
            // One that a program sends means as often that something is to be read anew.
            if signal != Signal::SIGHUP || by_terminal {
                self.changes.give_way();
                if self.between.is_some() && !signal::is_ignored(signal) {
                    return Some(End::Status(status_of(signal)));
                }
            }
        }
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
        None
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
