//! Sets: files that a process has to read as of one version, like a certificate and its key. For a
//! moment it gets what all their references gave at once; every other file is always current.
//! Uses `render` and the broker.

mod pin;
mod table;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::nodes::{NodeId, Place};
use super::render::{Job, Outcome};
use super::snapshot::Snapshot;
use super::tree::File;
use super::{Attr, Generation, SecretFs, filled};
use crate::broker::Error;
use crate::caller::Caller;
use crate::policy::Grant;
use crate::provider::unhurried;
use crate::resolver::{Basis, Resolved};
use crate::secret::SecretKey;
use crate::sys::peer::{self, ProcessId};
use crate::template::Template;
use pin::LONGEST;
pub(super) use table::Sets;

/// What makes files a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum SetId {
    /// The config says so.
    Named(Arc<str>),
    /// They use a secret whose fields are of use only together.
    Of(SecretKey),
}

/// What all references of a set gave, as of one commit.
type Moment = Resolved;

/// A file as one process sees it.
#[derive(Clone)]
struct Shown {
    node: NodeId,
    snapshot: Arc<Snapshot>,
    moments: Vec<Arc<Moment>>,
    /// What is in it of no set, and always current.
    rest: Basis,
}

/// An open of a file, as far as it matters which version it sees.
pub(super) struct Sighting<'a> {
    pub(super) now: &'a Generation,
    pub(super) caller: &'a Caller,
    pub(super) place: &'a Place,
    pub(super) template: &'a Arc<Template>,
    pub(super) snapshot: &'a Arc<Snapshot>,
}

impl SecretFs {
    /// LOOKUP of a file of a set, if nothing has to be resolved or rendered for it.
    pub(super) fn lookup_in_set(
        &self,
        now: &Generation,
        caller: &Caller,
        place: &Place,
        template: &Arc<Template>,
        sets: &[SetId],
    ) -> Option<Attr> {
        let process = peer::process(caller)?;
        let time = Instant::now();
        let look = |set| self.sets.look(process, set, place.file, time);
        let moments = sets.iter().map(look).collect::<Option<Vec<_>>>()?;
        let shown = self.shown(now, process, place, template, &moments)?;
        let node = self.nodes().hand_out(shown.node, place, &shown.snapshot, caller.pid);
        Some(filled(node, &shown.snapshot))
    }

    /// OPEN: whether the snapshot is what the caller's process sees of a file of a set; `None` if
    /// the file is in none, or nothing is known of the process. `was_looked`: by a LOOKUP just
    /// before, which has decided; it would not be repeated once more.
    pub(super) fn is_seen(&self, file: &File, sighting: &Sighting<'_>, was_looked: bool) -> Option<bool> {
        let Sighting { now, caller, place, template, snapshot } = sighting;
        if self.sets.of(file, template).is_empty() {
            return None;
        }
        let process = peer::process(caller)?;
        let age = if was_looked { LONGEST + table::LATE } else { LONGEST };
        let shown = self.sets.last_shown(process, place, age);
        let is_seen = shown.is_some_and(|shown| {
            Arc::ptr_eq(&shown.snapshot, snapshot) && (was_looked || still_shows(now, &shown, template))
        });
        if is_seen {
            self.sets.opened(process, file.id);
        }
        Some(is_seen)
    }

    /// The process and its sets, if the file is in any. Nothing is known of a process in a foreign
    /// pid namespace: it sees what is current.
    pub(super) fn reader_of_sets(&self, job: &Job) -> Option<(ProcessId, Vec<SetId>)> {
        let sets = self.sets.of(&job.file, &job.template);
        let process = if sets.is_empty() { None } else { peer::process(&job.whom.caller()) };
        process.map(|process| (process, sets))
    }

    /// What a process sees of a file: as of the moments that it sees already, or sees from now on.
    pub(super) async fn seen(&self, job: &Job, process: ProcessId, sets: &[SetId]) -> Outcome {
        let mut moments = Vec::with_capacity(sets.len());
        for set in sets {
            moments.push(self.moment(job, process, set).await?);
        }
        let shown = match self.shown(&job.now, process, &job.place, &job.template, &moments) {
            Some(shown) => shown,
            None => self.render_of_moments(job, process, moments).await?,
        };
        Ok((shown.node, shown.snapshot))
    }

    async fn moment(&self, job: &Job, process: ProcessId, set: &SetId) -> Result<Arc<Moment>, Error> {
        let seen = self.sets.look(process, set, job.file.id, Instant::now());
        let is_fit = |moment: &Arc<Moment>| {
            // One of another config is none: its values may come from elsewhere.
            job.now.broker.has_resolved(&moment.basis) && set.is_covered(&job.template, moment)
        };
        if let Some(moment) = seen.filter(is_fit) {
            return Ok(moment);
        }
        let moment = self.newest_moment(job, set).await?;
        self.sets.pin(process, job.whom.caller().uid, set, job.file.id, moment.clone())?;
        Ok(moment)
    }

    /// The set as it is now.
    async fn newest_moment(&self, job: &Job, set: &SetId) -> Result<Arc<Moment>, Error> {
        let (grant, keys) = self.references(job, set).await;
        let newest = self.sets.newest(set);
        let mut newest = newest.lock().await;
        if let Some(moment) = newest.upgrade()
            && keys.iter().all(|key| moment.answers.contains_key(key))
            && job.now.broker.is_still(&moment.basis)
        {
            return Ok(moment);
        }
        let moment = Arc::new(job.now.broker.resolve(&grant, &keys).await?);
        *newest = Arc::downgrade(&moment);
        Ok(moment)
    }

    /// All that the files of a set refer to, as far as the caller may read them.
    async fn references(&self, job: &Job, set: &SetId) -> (Grant, Vec<SecretKey>) {
        let name = match set {
            SetId::Of(key) => return (job.grant.clone(), vec![key.clone()]),
            SetId::Named(name) => name,
        };
        let mut grant = job.grant.clone();
        let mut keys: HashSet<SecretKey> = job.template.keys().iter().cloned().collect();
        for file in job.now.tree.files().filter(|file| file.spec.set.as_ref() == Some(name)) {
            let loaded = file.source.ready().unwrap_or_else(|| unhurried(|| file.source.load()));
            // What is wrong with a template is told to who opens its file.
            let Ok(template) = &loaded.template else { continue };
            if let Ok(own) = job.judge(file, template).await {
                grant = grant.and(&own);
                keys.extend(template.keys().iter().cloned());
            }
        }
        (grant, keys.into_iter().collect())
    }

    /// What was rendered of these moments before, if all else in it is still current.
    fn shown(
        &self,
        now: &Generation,
        process: ProcessId,
        place: &Place,
        template: &Arc<Template>,
        moments: &[Arc<Moment>],
    ) -> Option<Shown> {
        self.sets.shown(process, place, moments).filter(|shown| still_shows(now, shown, template))
    }

    async fn render_of_moments(
        &self,
        job: &Job,
        process: ProcessId,
        moments: Vec<Arc<Moment>>,
    ) -> Result<Shown, Error> {
        let held: Vec<&Moment> = moments.iter().map(|moment| &**moment).collect();
        let mut rendering =
            job.now.broker.render_of(&job.grant, &job.template, job.reader.as_ref(), &held).await?;
        let rest = rendering.basis.clone();
        held.iter().for_each(|moment| rendering.basis.extend(&moment.basis));
        let is_current = job.now.broker.is_still(&rendering.basis);
        let (node, snapshot) = match is_current {
            true => self.install(job, rendering),
            false => self.put_aside(job, rendering),
        };
        let (file, versions) = (job.file.path.display(), snapshot.versions());
        tracing::info!(%file, pid = process.pid, %versions, is_current, "is read as one of a set");
        let shown = Shown { node, snapshot, moments, rest };
        self.sets.show(process, &job.place, shown.clone());
        Ok(shown)
    }
}

fn still_shows(now: &Generation, shown: &Shown, template: &Arc<Template>) -> bool {
    shown.snapshot.rests_on(template, |_| true) && now.broker.is_still(&shown.rest)
}

impl SetId {
    /// Whether the moment has all that a template of the set asks for: it may have been edited
    /// since, or its reader may have more rights by now.
    fn is_covered(&self, template: &Template, moment: &Moment) -> bool {
        match self {
            Self::Of(_) => true,
            Self::Named(_) => template.keys().iter().all(|key| moment.answers.contains_key(key)),
        }
    }
}
