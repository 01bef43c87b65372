//! How one worker follows another that still serves: after an upgrade was asked for, or when that
//! one was left behind by a holder of before, and at the moment when the coming one is prepared.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::message::Order;
use super::child::{self, SAME, Stage, Worker};
use super::kept::Kept;
use super::{Holder, REFUSED, WORKER, WORKER_LINK, renew, tell};
use crate::sys::process::Process;

/// Who serves though its holder is gone: it has not noticed, since the manager has kept the link.
pub(super) fn left_behind(kept: &Kept) -> io::Result<Option<Worker>> {
    let Some(process) = kept.copy(WORKER)?.map(Process::kept) else { return Ok(None) };
    if process.is_gone_within(Duration::ZERO) {
        return Ok(None);
    }
    match kept.copy(WORKER_LINK)? {
        Some(link) => Worker::inherited(process, link).map(Some),
        // Two must never answer the same requests.
        None => {
            child::end(&process, || {});
            Ok(None)
        }
    }
}

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
        // It has its own time before it is given up.
        self.silent_since = Instant::now();
        coming.enter(Stage::Going);
        coming.tell(&Order::Go);
        self.coming = Some(coming);
    }

    /// The coming worker has taken over.
    pub(super) fn is_served(&mut self) {
        let Some(mut worker) = self.coming.take() else { return };
        worker.enter(Stage::Serving);
        tracing::info!(worker = worker.pid.as_raw(), "the worker serves");
        for (name, descriptor) in [(WORKER, worker.descriptor()), (WORKER_LINK, worker.link())] {
            match descriptor {
                Ok(descriptor) => self.kept.keep(name.to_owned(), descriptor),
                Err(error) => tracing::warn!(%error, name, "is not kept for a holder to come"),
            }
        }
        self.kept.forget(REFUSED);
        (self.serving, self.is_inherited, self.is_relied_on) = (Some(worker), false, true);
        if std::mem::take(&mut self.is_upgrade) {
            self.renew();
        }
        if self.is_ready {
            // Its predecessor may have died over a reload.
            tell("READY=1");
        }
        self.watch.begin_anew();
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

    /// A worker could not take over: what the manager shows of us until the next one does.
    pub(super) fn tell_failure(&self, why: Option<&str>) {
        let state = match &self.serving {
            Some(_) => "the worker of before serves on",
            None => "nobody serves",
        };
        let why = why.unwrap_or("it ended").lines().next().unwrap_or_default();
        tell(&format!("STATUS={state}; the next one cannot: {why}"));
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
