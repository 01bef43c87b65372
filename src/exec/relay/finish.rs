//! After the command's end: all that it wrote is passed on, as long as somebody may take it; whoever
//! does not want to wait for that ends us by a signal. Uses sys.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SignalFd, siginfo};

use super::keys::Keys;
use super::stream::Stream;
use super::{ENDING, End, Relay, status_of};
use crate::exec::supervise::SIGNALS;
use crate::sys::{child, hardening, signal};

/// When so long nothing came, what the command left behind keeps its output open.
const QUIET: Duration = Duration::from_millis(100);
/// And when that never ends. Also what a reader gets whom nobody wants to wait for.
const LONGEST: Duration = Duration::from_secs(1);

/// What a test asks for, to see that it would find what is lost.
fn waits_for_nobody() -> bool {
    cfg!(debug_assertions) && std::env::var_os("SECRETFS_TEST_WAIT_FOR_NOBODY").is_some()
}

impl Relay {
    /// The filter is told that it has ended only when it has: half a value may be in it.
    pub(super) fn finish(mut self, signals: &SignalFd, end: End) -> io::Result<End> {
        // What has come until now was for the command.
        while signals.read_signal()?.is_some() {}
        self.keys.iter_mut().for_each(Keys::command_has_ended);
        let is_told = matches!(end, End::Status(status) if self.is_as_told(status)) || waits_for_nobody();
        let mut ended_by = None;
        if !is_told {
            self.streams.iter_mut().for_each(Stream::read_the_rest);
            ended_by = self.pass_on_until(Stream::is_taken, signals)?;
            self.streams.iter_mut().for_each(Stream::read_on);
        }
        self.wait_a_moment()?;
        if !self.is_over() && !self.leave_the_rest()? {
            self.streams.iter_mut().for_each(Stream::end);
            if !is_told && ended_by.is_none() {
                ended_by = self.pass_on_until(Stream::is_over, signals)?;
            }
            self.wait_a_moment()?;
        }
        Ok(ended_by.map_or(end, |signal| End::Status(status_of(signal))))
    }

    /// Or until one of the signals comes that end a program.
    fn pass_on_until(
        &mut self,
        is_so: fn(&Stream) -> bool,
        signals: &SignalFd,
    ) -> io::Result<Option<Signal>> {
        while !self.streams.iter().all(is_so) {
            let at_once = self.streams.iter().any(Stream::asks).then_some(Duration::ZERO);
            let [has_signal] = self.step([signals.as_fd()], at_once)?.others;
            if has_signal
                && let Some(info) = signals.read_signal()?
                && let Some(signal) = self.heed_alone(&info)
            {
                return Ok(Some(signal));
            }
        }
        Ok(None)
    }

    /// Without a command.
    fn heed_alone(&mut self, info: &siginfo) -> Option<Signal> {
        let signal = Signal::try_from(info.ssi_signo.cast_signed()).ok()?;
        match signal {
            Signal::SIGCHLD => while child::reap().is_some() {},
            Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU if !signal::is_ignored(signal) => {
                self.keys.iter_mut().for_each(Keys::give_back);
                signal::stop();
                self.keys.iter_mut().for_each(Keys::take_again);
            }
            Signal::SIGCONT => self.keys.iter_mut().for_each(Keys::take_again),
            _ => {}
        }
        (ENDING.contains(&signal) && !signal::is_ignored(signal)).then_some(signal)
    }

    /// What is nearly over is waited for.
    fn wait_a_moment(&mut self) -> io::Result<()> {
        let latest = Instant::now() + LONGEST;
        while !self.is_over() && Instant::now() < latest {
            if !self.step([], Some(QUIET))?.has_come {
                break;
            }
        }
        Ok(())
    }

    /// What the command has left behind goes on writing, and whoever reads it, reading, if that can be.
    fn leave_the_rest(&mut self) -> io::Result<bool> {
        if !child::is_alone() || !self.sized.is_empty() || waits_for_nobody() {
            return Ok(false);
        }
        let needed: Vec<i32> = self.streams.iter().flat_map(Stream::descriptors).collect();
        child::leave_beside(&needed, || {
            let _ = hardening::forbid_dumps();
            let _ = SigSet::from_iter(SIGNALS).thread_unblock();
            while !self.is_over() && self.step([], None).is_ok() {}
        })?;
        Ok(true)
    }

    fn is_over(&self) -> bool {
        self.streams.iter().all(Stream::is_over)
    }
}
