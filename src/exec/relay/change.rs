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
    pending: Option<Restart>,
}

/// The old command is asked to end; then it is made to.
struct Restart {
    environment: Environment,
    patience: Option<Instant>,
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
        Ok((Self { changes, woken: Arc::new(woken), pending: None }, Teller { changes: sender, wake }))
    }

    /// Something to read here: [`Changes::heed`].
    pub(super) fn woken(&self) -> Arc<OwnedFd> {
        self.woken.clone()
    }

    pub(super) fn heed(&mut self, link: &Link) {
        while read(&*self.woken, &mut [0; 16]).is_ok_and(|length| length > 0) {}
        while let Ok(change) = self.changes.try_recv() {
            match (change, &mut self.pending) {
                (Change::Signal(signal), _) => Order::Signal(signal).send(link),
                (Change::Restart(environment), Some(pending)) => pending.environment = environment,
                (Change::Restart(environment), none) => {
                    Order::End(Signal::SIGTERM).send(link);
                    *none = Some(Restart { environment, patience: Some(Instant::now() + grace()) });
                }
            }
        }
    }

    /// How long the old command is waited for.
    pub(super) fn patience(&self) -> Option<Duration> {
        let patience = self.pending.as_ref()?.patience?;
        Some(patience.saturating_duration_since(Instant::now()))
    }

    pub(super) fn press(&mut self, link: &Link) {
        if self.patience() == Some(Duration::ZERO)
            && let Some(pending) = &mut self.pending
        {
            Order::End(Signal::SIGKILL).send(link);
            pending.patience = None;
        }
    }

    /// The command has ended: with what it is to be started again, if it is.
    pub(super) fn next(&mut self) -> Option<Environment> {
        Some(self.pending.take()?.environment)
    }
}
