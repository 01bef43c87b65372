//! From a file and a caller to a snapshot: one rendering at a time for all who may share it, under
//! the file's deadline. Everything here runs in the pool. Uses the broker.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::errno::Errno;
use super::nodes::{NodeId, Place, View};
use super::snapshot::{Failure, Snapshot};
use super::source::Loaded;
use super::tree::File;
use super::{Attr, SecretFs, empty, filled};
use crate::broker::Error;
use crate::caller::Caller;
use crate::policy::Grant;
use crate::provider::Pulse;
use crate::sys::peer;
use crate::template::{Reader, Template};

/// What a rendering gives to all who wait for it.
type Outcome = Result<(NodeId, Arc<Snapshot>), Error>;

/// Renderings under way. One may be joined only by who could not tell the difference: nothing
/// has changed, at any provider or in the template, since it began.
#[derive(Default)]
pub struct Flights {
    begun: AtomicU64,
    /// Guards the table only.
    running: Mutex<HashMap<Place, Flight>>,
}

struct Flight {
    number: u64,
    template: Arc<Template>,
    began: Vec<Pulse>,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What a rendering is made from.
#[derive(Clone)]
struct Job {
    file: Arc<File>,
    place: Place,
    template: Arc<Template>,
    edited: SystemTime,
    reader: Option<Reader>,
    grant: Grant,
}

/// A snapshot for one caller.
pub(super) struct InTime {
    pub(super) node: NodeId,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) place: Place,
    pub(super) grant: Grant,
}

impl SecretFs {
    /// LOOKUP of a file that has to be loaded or rendered. `stat` does not fail because a
    /// rendering does: then the node is empty, and its OPEN carries the errno.
    pub(super) async fn lookup_rendered(self: Arc<Self>, caller: Caller, file: Arc<File>) -> Attr {
        match self.rendered_in_time(&caller, &file).await {
            Ok(Some(rendered)) => {
                let node =
                    self.nodes().hand_out(rendered.node, &rendered.place, &rendered.snapshot, caller.pid);
                filled(node, &rendered.snapshot)
            }
            Ok(None) => self.looked_bare(&caller, &file),
            Err((place, error)) => self.looked_failed(&caller, &file, &place, error),
        }
    }

    fn looked_failed(&self, caller: &Caller, file: &File, place: &Place, error: Error) -> Attr {
        let failure = Arc::new(Failure::new(error));
        let (node, is_news) = {
            let mut nodes = self.nodes();
            let (node, is_news) = nodes.fail(place, failure.clone());
            nodes.looked(node, caller.pid);
            (node, is_news)
        };
        if is_news {
            log(file, &failure);
        }
        empty(node, file)
    }

    /// A failure that no node keeps.
    pub(super) fn failed(&self, file: &File, error: Error) -> Failure {
        let failure = Failure::new(error);
        log(file, &failure);
        failure
    }

    /// GETATTR of a node that is not current and that nobody has open.
    pub(super) async fn follow(
        self: Arc<Self>,
        caller: Caller,
        id: NodeId,
        place: Place,
    ) -> Result<Attr, Errno> {
        let file = self.file(place.file)?;
        // Everybody's view is kept current for nobody in particular; another can be rendered only
        // for its own reader.
        let nobody = Caller { uid: 0, gid: 0, pid: 0 };
        let reader = if place.view == View::Real { nobody } else { caller };
        let Ok(Some(rendered)) = self.rendered_in_time(&reader, &file).await else {
            return Ok(empty(id, &file));
        };
        let is_own = rendered.place == place;
        let adopted = is_own && self.nodes().adopt(id, &place, &rendered.snapshot);
        Ok(if adopted { filled(id, &rendered.snapshot) } else { empty(id, &file) })
    }

    /// The caller's current snapshot of a file, within the file's deadline. `None`: the caller may
    /// not read it. Nothing in here blocks, so that the deadline holds whatever the disk does.
    pub(super) async fn rendered_in_time(
        self: &Arc<Self>,
        caller: &Caller,
        file: &Arc<File>,
    ) -> Result<Option<InTime>, (Place, Error)> {
        let deadline = file.spec.deadline;
        let end = Instant::now() + deadline;
        let late = || Error::Timeout(deadline);
        let unknown = Place { file: file.id, view: View::Real };
        let prepared = timeout_at(end, self.prepare(caller, file)).await.unwrap_or_else(|_| Err(late()));
        let Some(job) = prepared.map_err(|error| (unknown, error))? else { return Ok(None) };
        match timeout_at(end, self.snapshot(&job)).await.unwrap_or_else(|_| Err(late())) {
            Ok((node, snapshot)) => Ok(Some(InTime { node, snapshot, place: job.place, grant: job.grant })),
            Err(error) => Err((job.place, error)),
        }
    }

    /// Loads the template and asks policy. `None`: the caller may not read the file.
    async fn prepare(&self, caller: &Caller, file: &Arc<File>) -> Result<Option<Job>, Error> {
        let loaded = match file.source.ready() {
            Some(loaded) => loaded,
            None => load(file).await?,
        };
        let template = match &loaded.template {
            Ok(template) => template.clone(),
            // Who could not read the file learns nothing about its template.
            Err(_) if !file.spec.ownership.allows(caller, &|gid| peer::in_group(caller, gid), 0o4) => {
                return Ok(None);
            }
            Err(error) => return Err(error.clone()),
        };
        let Ok(grant) = self.judge(caller, file, &template) else { return Ok(None) };
        let reader = reader_of(caller, &template);
        let view = reader.as_ref().map_or(View::Real, |reader| View::Reader(view_key(reader)));
        let place = Place { file: file.id, view };
        Ok(Some(Job { file: file.clone(), place, template, edited: loaded.edited, reader, grant }))
    }

    pub(super) async fn load_in_time(&self, file: &Arc<File>) -> Result<Arc<Loaded>, Error> {
        let deadline = file.spec.deadline;
        timeout(deadline, load(file)).await.unwrap_or(Err(Error::Timeout(deadline)))
    }

    async fn snapshot(self: &Arc<Self>, job: &Job) -> Outcome {
        if let Some(current) = self.still_current(job).await? {
            return Ok(current);
        }
        let mut outcome = self.fly(job);
        let landed =
            outcome.wait_for(Option::is_some).await.map_err(|_| Error::Internal("the rendering was lost"))?;
        landed.clone().expect("waited until it is there")
    }

    /// The current snapshot, if the providers say that nothing in it has changed.
    async fn still_current(self: &Arc<Self>, job: &Job) -> Result<Option<(NodeId, Arc<Snapshot>)>, Error> {
        let Some((node, snapshot)) = self.nodes().current(&job.place).cloned() else { return Ok(None) };
        if !snapshot.is_of(&job.template) {
            return Ok(None);
        }
        // In a task of its own: a store that hangs must not hold up the clock of who waits here.
        let (broker, basis) = (self.broker.clone(), snapshot.basis());
        let asked = tokio::spawn(async move { broker.recheck(&basis).await });
        match asked.await.map_err(|_| Error::Internal("the check was lost"))?? {
            Some(basis) => {
                snapshot.rebase(basis);
                Ok(Some((node, snapshot)))
            }
            None => Ok(None),
        }
    }

    /// Joins a rendering that is as good as one begun now, or begins one.
    fn fly(self: &Arc<Self>, job: &Job) -> watch::Receiver<Option<Outcome>> {
        let now = self.broker.pulses();
        let mut running = self.flights.running.lock().expect("nothing panics while it holds this");
        if let Some(flight) =
            running.get(&job.place).filter(|flight| flight.can_be_joined(&job.template, &now))
        {
            return flight.outcome.clone();
        }
        let (sender, outcome) = watch::channel(None);
        let number = self.flights.begun.fetch_add(1, Ordering::Relaxed);
        let flight = Flight { number, template: job.template.clone(), began: now, outcome: outcome.clone() };
        running.insert(job.place.clone(), flight);
        let (this, job) = (self.clone(), job.clone());
        tokio::spawn(async move {
            let rendered = this.render(&job).await;
            this.land(&job.place, number);
            let _ = sender.send(Some(rendered));
        });
        outcome
    }

    fn land(&self, place: &Place, number: u64) {
        let mut running = self.flights.running.lock().expect("nothing panics while it holds this");
        // A later flight may have taken the place.
        if running.get(place).is_some_and(|flight| flight.number == number) {
            running.remove(place);
        }
    }

    async fn render(&self, job: &Job) -> Outcome {
        let rendering = self.broker.render(&job.grant, &job.template, job.reader.as_ref()).await?;
        let snapshot = Snapshot::new(rendering, job.template.clone(), job.edited, job.file.spec.ownership);
        let (node, snapshot, retired) = self.nodes().install(&job.place, Arc::new(snapshot));
        if let (Some(retired), Some(kernel)) = (retired, self.kernel.get()) {
            kernel.forget_content(retired);
        }
        Ok((node, snapshot))
    }
}

async fn load(file: &Arc<File>) -> Result<Arc<Loaded>, Error> {
    let file = file.clone();
    let loaded = tokio::task::spawn_blocking(move || file.source.load()).await;
    loaded.map_err(|_| Error::Internal("loading failed"))
}

fn log(file: &File, failure: &Failure) {
    tracing::warn!(file = %file.path.display(), errno = %failure.errno, reason = %failure.error, "cannot be rendered");
}

impl Flight {
    fn can_be_joined(&self, template: &Arc<Template>, now: &[Pulse]) -> bool {
        Arc::ptr_eq(&self.template, template) && self.began == now && !now.contains(&Pulse::Moving)
    }
}

/// What the template may know of its reader; `None` if it does not ask.
pub(super) fn reader_of(caller: &Caller, template: &Template) -> Option<Reader> {
    let asked = template.reader_use();
    if !asked.any() {
        return None;
    }
    Some(Reader {
        uid: caller.uid,
        gid: caller.gid,
        exe: asked.exe.then(|| peer::exe(caller)).flatten(),
        unit: asked.unit.then(|| peer::unit(caller)).flatten(),
    })
}

pub(super) fn view_key(reader: &Reader) -> Arc<str> {
    format!("{}\0{}\0{:?}\0{:?}", reader.uid, reader.gid, reader.exe, reader.unit).into()
}
