//! The descriptors that outlive a worker, by name; the service manager has a copy of each, so that
//! they outlive the holder, too. Uses `sys`, `ledger` and `fs::mountpoint`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::super::message::{DEVICE, LEDGER, WAITING};
use crate::fs::mountpoint;
use crate::ledger::Ledger;
use crate::sys::ready;

#[derive(Default)]
pub struct Kept {
    held: BTreeMap<String, OwnedFd>,
    version: u64,
}

impl Kept {
    /// Those that come from before our time.
    pub fn of_before(held: impl IntoIterator<Item = (String, OwnedFd)>) -> Self {
        Self { held: held.into_iter().collect(), version: 0 }
    }

    /// Changes with what is kept for long.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn all(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.held.iter().map(|(name, descriptor)| (name.as_str(), descriptor.as_fd()))
    }

    pub fn copy(&self, name: &str) -> io::Result<Option<OwnedFd>> {
        self.held.get(name).map(|held| held.as_fd().try_clone_to_owned()).transpose()
    }

    pub fn keep(&mut self, name: String, descriptor: OwnedFd) {
        if self.held.contains_key(&name) {
            tell(ready::forget(&name));
        }
        tell(ready::keep(&name, descriptor.as_fd()));
        self.version += u64::from(is_for_the_next(&name));
        self.held.insert(name, descriptor);
    }

    pub fn forget(&mut self, name: &str) {
        if self.held.remove(name).is_some() {
            tell(ready::forget(name));
            self.version += u64::from(is_for_the_next(name));
        }
    }

    pub fn has_mounts(&self) -> bool {
        self.devices().next().is_some()
    }

    /// Ends all connections, so that who waits gets an error. The dead mounts stay where they are:
    /// an empty folder would look like a config of defaults.
    pub fn abort(&mut self) {
        self.mounts().iter().for_each(|device| self.abort_one(device));
    }

    /// The same for one of them, by its device number.
    pub fn abort_one(&mut self, device: &str) {
        // The manager's copies would keep it alive, and the manager itself may be waiting.
        if self.is_connected(device) {
            mountpoint::abort(device);
        }
        self.forget(&name_of(DEVICE, device));
        self.forget(&name_of(LEDGER, device));
    }

    /// Takes all mounts away and forgets everything.
    pub fn take_away(&mut self) {
        for device in self.mounts() {
            if self.is_connected(&device)
                && let Err(error) = mountpoint::take_away(&device)
            {
                tracing::warn!(%device, %error, "the mount could not be taken away");
            }
        }
        for name in self.held.keys().cloned().collect::<Vec<_>>() {
            self.forget(&name);
        }
    }

    fn is_connected(&self, device: &str) -> bool {
        self.held.get(&name_of(DEVICE, device)).is_some_and(|it| mountpoint::is_connected(it.as_fd()))
    }

    /// The device numbers of the mounts.
    pub fn mounts(&self) -> Vec<String> {
        self.devices().map(device_of).collect()
    }

    /// How many requests of this mount were taken up so far.
    pub fn ticks(&self, device: &str) -> Option<u64> {
        Ledger::ticks(self.held.get(&name_of(LEDGER, device))?.as_fd()).ok()
    }

    fn devices(&self) -> impl Iterator<Item = &str> {
        self.held.keys().map(String::as_str).filter(|name| name.starts_with(DEVICE))
    }
}

/// Whether a worker that gets ready has to know of it. Who serves meanwhile answers by itself whoever
/// waits for a credential.
fn is_for_the_next(name: &str) -> bool {
    !name.starts_with(WAITING)
}

/// The name under which the descriptor of a mount is kept; a manager takes no colons.
pub fn name_of(prefix: &str, device: &str) -> String {
    prefix.to_owned() + &device.replace(':', ".")
}

/// The device number of a mount (`0:57`), from the name of its descriptor.
pub fn device_of(name: &str) -> String {
    name.trim_start_matches(DEVICE).replace('.', ":")
}

fn tell(told: io::Result<()>) {
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager was not told what to keep");
    }
}
