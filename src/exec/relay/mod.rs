//! The parent of a command whose output is masked: what it writes goes through here, keys and
//! signals go on to it, and it ends as it would end alone. Uses sys.

mod keys;
mod lay;
mod stream;
mod wait;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use zeroize::Zeroizing;

use super::orders::{Order, Word};
use super::supervise::{SIGNALS, is_hangup_for_us};
use crate::sys::child;
use crate::sys::link::Link;
use crate::sys::signal::{self, Came};
use crate::sys::{hardening, terminal};
use keys::Keys;
use stream::Stream;

pub struct Relay {
    streams: Vec<Stream>,
    /// Our ends of terminals that follow the size of ours.
    sized: Vec<OwnedFd>,
    /// Where that is.
    window: Option<OwnedFd>,
    /// If the command has a terminal of its own.
    keys: Option<Keys>,
    piece: Zeroizing<Vec<u8>>,
}

/// After the command's end: when so long nothing came, what it left behind keeps its output open.
const QUIET: Duration = Duration::from_millis(100);
/// And when that never ends.
const LONGEST: Duration = Duration::from_secs(1);

impl Relay {
    /// Until the command has ended and its output is passed on: its status, as a shell says it.
    /// Signals must be held back ([`super::hold_signals`]).
    pub fn supervise(mut self, link: Link) -> io::Result<u8> {
        let signals = SignalFd::with_flags(&SigSet::from_iter(SIGNALS), SfdFlags::SFD_CLOEXEC)?;
        if let Some(keys) = &mut self.keys {
            keys.take();
        }
        let status = loop {
            let [has_signal, has_word] = self.step([signals.as_fd(), link.as_fd()], None)?.others;
            if has_signal && let Some(info) = signals.read_signal()? {
                let number = info.ssi_signo.cast_signed();
                let by_terminal = info.ssi_code == libc::SI_KERNEL;
                if let Ok(signal) = Signal::try_from(number) {
                    self.heed(Came { signal, by_terminal }, &link);
                }
            }
            if has_word {
                match link.receive()?.map(|(word, _)| Word::read(&word)) {
                    Some(Some(Word::Ended(status))) => break status,
                    Some(Some(Word::Stopped)) => self.stop_with_it(&link),
                    Some(_) => {}
                    None => return Err(io::Error::other("the process that starts the command has gone")),
                }
            }
        };
        // The starter has the command's terminal: that ends with it.
        drop(link);
        self.finish()?;
        Ok(status)
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

    fn heed(&mut self, came: Came, link: &Link) {
        match came.signal {
            // Of orphans, as PID 1.
            Signal::SIGCHLD => while child::reap().is_some() {},
            Signal::SIGWINCH => {
                self.follow_size();
                Order::Signal(Signal::SIGWINCH).send(link);
            }
            Signal::SIGCONT if self.keys.is_some() => self.continue_it(link),
            // What a key made, its whole group has got already, unless it has a terminal of its own.
            signal if self.keys.is_some() || !came.by_terminal || is_hangup_for_us(signal) => {
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
