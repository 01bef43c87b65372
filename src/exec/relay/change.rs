//! What is to become of a command because a value has changed: said by whoever watches the values,
//! in a thread of its own, and done by the relay between two pieces of output. Uses sys.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::{pipe2, read, write};

use crate::exec::Environment;
use crate::exec::orders::Order;
use crate::sys::link::Link;

pub enum Change {
    /// End it, and start it anew with this.
    Restart(Environment),
    Signal(Signal),
}

/// Where changes are told.
pub struct Teller {
    changes: Sender<Change>,
    wake: OwnedFd,
}

impl Teller {
    pub fn tell(&self, change: Change) {
        // Whoever would have heard it has ended.
        if self.changes.send(change).is_ok() {
            let _ = write(&self.wake, b"!");
        }
    }
}

pub(super) struct Changes {
    changes: Receiver<Change>,
    woken: Arc<OwnedFd>,
    /// With what it is to be started anew.
    newest: Option<Environment>,
    /// It was asked to end for that.
    ending: Option<Ending>,
    /// Somebody else has told it to end: until then it may be about to, and is left alone.
    told_until: Option<Instant>,
}

/// The old command is asked to end; then it is made to.
struct Ending {
    patience: Option<Instant>,
    /// Somebody has told it to end meanwhile: it is not started anew.
    is_for_good: bool,
}

/// What a command may take to end.
const GRACE: Duration = Duration::from_secs(10);

fn grace() -> Duration {
    let given = std::env::var("SECRETFS_TEST_GRACE_MS").ok().filter(|_| cfg!(debug_assertions));
    given.and_then(|text| text.parse().ok()).map_or(GRACE, Duration::from_millis)
}

impl Changes {
    pub(super) fn new() -> io::Result<(Self, Teller)> {
        let (sender, changes) = channel();
        let (woken, wake) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let heard = Self { changes, woken: Arc::new(woken), newest: None, ending: None, told_until: None };
        Ok((heard, Teller { changes: sender, wake }))
    }

    /// Something to read here, or no patience left: [`Changes::heed`].
    pub(super) fn woken(&self) -> Arc<OwnedFd> {
        self.woken.clone()
    }

    /// How long nothing has to be done here by itself.
    pub(super) fn patience(&self) -> Option<Duration> {
        let kill = self.ending.as_ref().and_then(|ending| ending.patience);
        let begin = self.told_until.filter(|_| self.ending.is_none() && self.newest.is_some());
        let next = kill.into_iter().chain(begin).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    pub(super) fn heed(&mut self, link: &Link) {
        while read(&*self.woken, &mut [0; 16]).is_ok_and(|length| length > 0) {}
        while let Ok(change) = self.changes.try_recv() {
            match change {
                Change::Signal(signal) => Order::Signal(signal).send(link),
                Change::Restart(environment) => self.newest = Some(environment),
            }
        }
        let is_over = |until: Option<Instant>| until.is_some_and(|until| until <= Instant::now());
        match &mut self.ending {
            Some(ending) if is_over(ending.patience) => {
                Order::End(Signal::SIGKILL).send(link);
                ending.patience = None;
            }
            None if self.newest.is_some() && (self.told_until.is_none() || is_over(self.told_until)) => {
                Order::End(Signal::SIGTERM).send(link);
                let patience = Some(Instant::now() + grace());
                self.ending = Some(Ending { patience, is_for_good: false });
            }
            _ => {}
        }
    }

    /// Somebody has told the command to end. One that goes on all the same is started anew as ever.
    pub(super) fn give_way(&mut self) {
        self.told_until = Some(Instant::now() + grace());
        self.ending.iter_mut().for_each(|ending| ending.is_for_good = true);
    }

    /// Whether it is to be started anew when it ends.
    pub(super) fn has_next(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| !ending.is_for_good) && self.newest.is_some()
    }

    /// With this, now that it has ended.
    pub(super) fn next(&mut self) -> Option<Environment> {
        let has_next = self.has_next();
        self.ending = None;
        self.newest.take().filter(|_| has_next)
    }
}
