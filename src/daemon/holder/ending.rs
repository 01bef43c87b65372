//! How the holder ends: for good, with its mounts; or to come back, when they stay.

use std::fs::File;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::super::message::Order;
use super::child::Stage;
use super::{Holder, REFUSED, tell};
use crate::sys::ready;

/// The time that an orderly end takes at most.
const FAREWELL: Duration = Duration::from_secs(5);

impl Holder {
    /// Ends only to come back: the manager has a copy of all descriptors, the worker's link among
    /// them. As long as somebody has that, the worker serves on.
    pub(super) fn leave(mut self) -> u8 {
        tracing::info!("leaves the mounts to the next start");
        tell("STOPPING=1");
        self.watch.end();
        if self.serving.is_none() {
            tracing::warn!("nobody serves until then");
        }
        0
    }

    /// Takes all mounts away, then lets the worker end.
    pub(super) fn stop(mut self, signal: Signal) -> u8 {
        tracing::info!(%signal, "stops");
        tell("STOPPING=1");
        self.watch.end();
        self.end_coming();
        let rest = self.serving.as_mut().map(|serving| serving.rest()).unwrap_or_default();
        rest.into_iter().for_each(|report| self.note(report));
        self.kept.take_away();
        if let Some(serving) = self.serving.take() {
            serving.tell(&Order::Stop);
            serving.end(FAREWELL, || {});
        }
        0
    }

    /// For who was never relied on. The next start, which a manager makes by itself, does not end by
    /// this again: it tries until it is told to stop.
    pub(super) fn refuse_start(&mut self) {
        self.kept.take_away();
        if ready::is_asked() {
            match File::open("/dev/null") {
                Ok(mark) => self.kept.keep(REFUSED.to_owned(), mark.into()),
                Err(error) => tracing::warn!(%error, "the next start will not know of this one"),
            }
        }
    }

    /// It may be making mounts, which have to be known before all are taken away.
    fn end_coming(&mut self) {
        let Some(mut coming) = self.coming.take() else { return };
        coming.tell(&Order::Stop);
        coming.end(if coming.stage == Stage::Going { FAREWELL } else { Duration::ZERO }, || {});
        coming.rest().into_iter().for_each(|report| self.note(report));
    }
}
