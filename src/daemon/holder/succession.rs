//! How one worker follows another that still serves: after an upgrade was asked for, and at the
//! moment when the coming one is prepared.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::message::Order;
use super::child::{self, SAME, Stage};
use super::{Holder, renew};

impl Holder {
    /// The coming worker is prepared: the other one ends, and only then it goes.
    pub(super) fn take_over(&mut self) {
        let Some(mut coming) = self.coming.take() else { return };
        if coming.version != self.kept.version() {
            // It has prepared for mounts that have changed meanwhile.
            coming.end(Duration::ZERO, || {});
            return self.start_anew();
        }
        if let Some(serving) = self.serving.take() {
            serving.end(Duration::ZERO, || self.kept.abort());
        }
        if let Some(orphan) = self.orphan.take() {
            child::end(&orphan, || self.kept.abort());
        }
        // It has its own time before it is given up.
        self.silent_since = Instant::now();
        coming.enter(Stage::Going);
        coming.tell(&Order::Go);
        self.coming = Some(coming);
    }

    pub(super) fn start_anew(&mut self) {
        match self.is_upgrade {
            true => self.start_from_disk(),
            false => self.start(Path::new(SAME)),
        }
    }

    /// Another worker shall take over from the one that serves.
    pub(super) fn upgrade(&mut self) {
        if self.coming.is_some() || self.serving.is_none() {
            if let Some(serving) = &self.serving {
                serving.tell(&Order::Refused("another worker is being started already".to_owned()));
            }
            return;
        }
        self.is_upgrade = true;
        self.past.upgrades += 1;
        self.start_anew();
    }

    fn start_from_disk(&mut self) {
        self.start(&self.program.clone());
    }

    /// The worker runs what is on disk now; so shall we.
    pub(super) fn renew(&mut self) {
        self.watch.end();
        let Some(worker) = &self.serving else { return };
        let worker = (worker.pid, worker.as_fd());
        let error = renew::become_new(&self.program, &self.launch.key, self.past, worker, self.kept.all());
        tracing::error!(%error, "the worker is upgraded, but its holder could not become the new program");
    }

    /// What was asked for will not be.
    pub(super) fn refuse(&mut self, why: &str) {
        let is_asked = std::mem::take(&mut self.is_upgrade);
        if let Some(serving) = self.serving.as_ref().filter(|_| is_asked) {
            tracing::error!(why, "the successor is not fit; the worker goes on");
            serving.tell(&Order::Refused(why.to_owned()));
        }
    }
}
