//! The mounts of a worker: which of them outlived its predecessor, and how each comes to be served.
//! Uses `fs`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use nix::unistd::geteuid;

use super::super::holder::{device_of, name_of};
use super::super::message::{DEVICE, LEDGER, Order, Report};
use super::super::serve::Server;
use super::{Event, WorkerError};
use crate::fs::SecretFs;
use crate::fs::mountpoint::{self, MountError};
use crate::sys::link::Link;

/// A mount that outlived the worker that served it.
pub(super) struct Kept {
    /// The device number.
    number: String,
    /// Keeps its readers waiting instead of telling them that nobody serves.
    _device: OwnedFd,
}

/// A mount of the config, about to be served.
pub(super) struct Planned {
    at: PathBuf,
    fs: Arc<SecretFs>,
    kept: Option<Kept>,
}

pub(super) struct Served {
    pub(super) fs: Arc<SecretFs>,
}

/// What the holder has kept.
pub(super) fn receive(link: &Link) -> Result<Vec<Kept>, WorkerError> {
    let mut kept = Vec::new();
    loop {
        match Order::receive(link)? {
            Some(Order::Kept(name, device)) if name.starts_with(DEVICE) => {
                kept.push(Kept { number: device_of(&name), _device: device });
            }
            Some(Order::Prepare) => return Ok(kept),
            Some(_) => {}
            None => return Err(WorkerError::Deserted),
        }
    }
}

/// A mount is gone: nobody needs to keep it.
pub(super) fn forget(link: &Link, number: &str) {
    for prefix in [DEVICE, LEDGER] {
        let _ = Report::Drop(name_of(prefix, number)).send(link);
    }
}

impl Kept {
    pub(super) fn take_away(self, link: &Link) {
        if let Err(error) = mountpoint::take_away(&self.number) {
            tracing::warn!(%error, device = self.number, "a mount could not be taken away");
        }
        forget(link, &self.number);
    }
}

impl Planned {
    /// Judges the place, unless what is there is to be taken over.
    pub(super) fn new(at: PathBuf, fs: Arc<SecretFs>, kept: &mut Vec<Kept>) -> Result<Self, MountError> {
        let ours = kept.iter().position(|it| mountpoint::is_ours_with(&at, &it.number));
        let kept = ours.map(|index| kept.swap_remove(index));
        if kept.is_none() {
            mountpoint::prepare(&at)?;
        }
        Ok(Self { at, fs, kept })
    }

    /// The holder has the descriptors before anybody is answered: from then on the mount outlives us.
    pub(super) fn serve(
        self,
        server: &Server,
        link: &Link,
        tell: &Sender<Event>,
    ) -> Result<Served, WorkerError> {
        if let Some(kept) = self.kept {
            kept.take_away(link);
        }
        let device = match geteuid().is_root() {
            true => mountpoint::mount_direct(&self.at),
            false => mountpoint::mount_by_helper(&self.at),
        }?;
        let number = mountpoint::device_at(&self.at);
        let copy = device.as_fd().try_clone_to_owned()?;
        Report::Keep(name_of(DEVICE, &number), copy).send(link)?;
        let tell = tell.clone();
        let at = self.at.clone();
        let ended = move |outcome: io::Result<()>| {
            tracing::info!(at = %at.display(), ?outcome, "the mount has ended");
            let _ = tell.send(Event::Ended(number));
        };
        server.serve(self.fs.clone(), device, ended)?;
        Ok(Served { fs: self.fs })
    }
}
