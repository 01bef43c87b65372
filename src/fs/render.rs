//! From a file and a caller to a snapshot: one rendering at a time for all who may share it, under
//! the file's deadline. Everything here runs in the pool. Uses the broker.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::SystemTime;

use tokio::sync::{oneshot, watch};
use tracing::Instrument;

use super::errno::Errno;
use super::nodes::{NodeId, Place, View};
use super::snapshot::{Failure, Snapshot};
use super::tree::File;
use super::whom::{Judged, Whom};
use super::{Attr, Generation, SecretFs, empty, filled, request};
use crate::broker::{Broker, Error, Rendering};
use crate::caller::Caller;
use crate::metrics;
use crate::policy::{Denial, Grant};
use crate::provider::Pulse;
use crate::resolver::Asker;
use crate::sys::{leftover, peer};
use crate::template::{Reader, Template};

/// What a rendering gives to all who wait for it.
pub(super) type Outcome = Result<(NodeId, Arc<Snapshot>), Error>;

/// Renderings under way. One may be joined only by who could not tell the difference: nothing
/// has changed, at any provider, in the template or in the config, since it began.
#[derive(Default)]
pub struct Flights {
    begun: AtomicU64,
    /// Guards the table only.
    running: Mutex<HashMap<Place, Flight>>,
}

/// Whoever finds no rendering to join is the one who does it.
enum Seat {
    Pilot(u64, watch::Sender<Option<Outcome>>),
    Passenger(watch::Receiver<Option<Outcome>>),
}

struct Flight {
    number: u64,
    broker: Arc<Broker>,
    file: Arc<File>,
    template: Arc<Template>,
    began: Vec<Pulse>,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What a rendering is made from.
pub(super) struct Job {
    pub(super) now: Arc<Generation>,
    pub(super) whom: Whom,
    pub(super) file: Arc<File>,
    pub(super) place: Place,
    pub(super) template: Arc<Template>,
    edited: SystemTime,
    pub(super) reader: Option<Reader>,
    pub(super) grant: Grant,
}

/// What a caller gets who wants a file: its snapshot, why he may not read it, or an error of a
/// place.
pub(super) type InTime = Result<Result<Wanted, Denial>, (Place, Error)>;

/// A snapshot for one caller.
pub(super) struct Wanted {
    pub(super) node: NodeId,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) place: Place,
}

impl SecretFs {
    /// LOOKUP of a file that has to be loaded or rendered.
    pub(super) fn lookup_rendered(
        self: &Arc<Self>,
        caller: Caller,
        now: Arc<Generation>,
        file: Arc<File>,
        reply: impl FnOnce(Attr) + Send + 'static,
    ) {
        self.nodes().looking(caller.pid, file.spec.deadline);
        let (this, of) = (self.clone(), file.clone());
        let whom = Whom::Caller(caller);
        self.render_in_time(whom, now, file, move |outcome| reply(this.looked(&caller, &of, outcome)));
    }

    /// `stat` does not fail because a rendering does: then the node is empty, and its OPEN carries
    /// the errno.
    fn looked(&self, caller: &Caller, file: &File, outcome: InTime) -> Attr {
        match outcome {
            Ok(Ok(rendered)) => {
                let node =
                    self.nodes().hand_out(rendered.node, &rendered.place, &rendered.snapshot, caller.pid);
                filled(node, &rendered.snapshot)
            }
            Ok(Err(_)) => self.looked_bare(caller, file),
            Err((place, error)) => self.looked_failed(caller, file, &place, error),
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
        let now = self.now();
        let file = now.file(place.file)?;
        // A view that many share is kept current for nobody in particular; another can be rendered
        // only for its own reader.
        let whom = match place.view.is_common() {
            true => Whom::Nobody { shows_real: place.view.shows_real() },
            false => Whom::Caller(caller),
        };
        let Ok(Ok(rendered)) = self.rendered_in_time(whom, now, file.clone()).await else {
            return Ok(empty(id, &file));
        };
        let is_own = rendered.place == place;
        let adopted = is_own && self.adopt(id, &place, &rendered.snapshot).await;
        Ok(if adopted { filled(id, &rendered.snapshot) } else { empty(id, &file) })
    }

    /// Finds or renders the caller's current snapshot of a file, and calls `then` once, within the
    /// file's deadline, whatever a disk or a provider does.
    fn render_in_time(
        self: &Arc<Self>,
        whom: Whom,
        now: Arc<Generation>,
        file: Arc<File>,
        then: impl FnOnce(InTime) + Send + 'static,
    ) {
        let (limit, unknown) = (file.spec.deadline, Place { file: file.id, view: View::Real });
        let late = Err((unknown, Error::Timeout(limit)));
        let span = request::span(&whom.caller());
        let told = span.clone();
        let answer = self.deadlines.answer_within(limit, late, move |it| told.in_scope(|| then(it)));
        let this = self.clone();
        work(async move { answer(this.rendered(whom, now, &file).await) }.instrument(span));
    }

    /// The same for who awaits it.
    pub(super) async fn rendered_in_time(
        self: &Arc<Self>,
        whom: Whom,
        now: Arc<Generation>,
        file: Arc<File>,
    ) -> InTime {
        let unknown = Place { file: file.id, view: View::Real };
        let (tell, told) = oneshot::channel();
        self.render_in_time(whom, now, file, move |outcome| drop(tell.send(outcome)));
        told.await.unwrap_or(Err((unknown, Error::Internal("the rendering was lost"))))
    }

    async fn rendered(&self, whom: Whom, now: Arc<Generation>, file: &Arc<File>) -> InTime {
        let unknown = Place { file: file.id, view: View::Real };
        let prepared = self.prepare_job(whom, now, file).await.map_err(|error| (unknown, error))?;
        let job = match prepared {
            Ok(job) => job,
            Err(denial) => return Ok(Err(denial)),
        };
        match self.snapshot(&job).await {
            Ok((node, snapshot)) => Ok(Ok(Wanted { node, snapshot, place: job.place })),
            Err(error) => Err((job.place, error)),
        }
    }

    /// Loads the template and asks policy.
    async fn prepare_job(
        &self,
        whom: Whom,
        now: Arc<Generation>,
        file: &Arc<File>,
    ) -> Result<Result<Job, Denial>, Error> {
        let loaded = self.load(&file.source).await;
        let template = match &loaded.template {
            Ok(template) => template.clone(),
            // Who could not read the file learns nothing about its template.
            Err(error) => {
                let judged = whom.judged(&now, file, &[]).await;
                return judged.map_or_else(|denial| Ok(Err(denial)), |_| Err(error.clone()));
            }
        };
        let grant = match whom.judged(&now, file, template.keys()).await {
            Ok(grant) => grant,
            Err(denial) => return Ok(Err(denial)),
        };
        let reader = reader_of(&whom.caller(), &template);
        let view = View::of(reader.as_ref().map(view_key), grant.shows_real());
        let place = Place { file: file.id, view };
        Ok(Ok(Job { now, whom, file: file.clone(), place, template, edited: loaded.edited, reader, grant }))
    }

    pub(super) async fn load_in_time(self: &Arc<Self>, file: &Arc<File>) -> Result<(), Error> {
        let (limit, file, this) = (file.spec.deadline, file.clone(), self.clone());
        let (tell, told) = oneshot::channel();
        let late = Err(Error::Timeout(limit));
        let answer = self.deadlines.answer_within(limit, late, |loaded| drop(tell.send(loaded)));
        work(async move {
            this.load(&file.source).await;
            answer(Ok(()));
        });
        told.await.unwrap_or(Err(Error::Internal("loading failed")))
    }

    async fn snapshot(&self, job: &Job) -> Outcome {
        if let Some((process, sets)) = self.reader_of_sets(job) {
            return self.seen(job, process, &sets).await;
        }
        let current = self.current(job).await;
        // The first rendering of all tells which secrets make a set.
        match self.reader_of_sets(job).filter(|_| current.is_ok()) {
            Some((process, sets)) => self.seen(job, process, &sets).await,
            None => current,
        }
    }

    /// Joins a rendering that is as good as one begun now, or does it.
    async fn current(&self, job: &Job) -> Outcome {
        let (number, sender) = match self.board(job) {
            Seat::Pilot(number, sender) => (number, sender),
            Seat::Passenger(mut outcome) => {
                metrics::get().coalesced.inc();
                let landed = outcome.wait_for(Option::is_some).await;
                let landed = landed.map_err(|_| Error::Internal("the rendering was lost"))?;
                return landed.clone().expect("waited until it is there");
            }
        };
        let outcome = self.renewed(job).await;
        self.land(&job.place, number);
        let _ = sender.send(Some(outcome.clone()));
        outcome
    }

    fn board(&self, job: &Job) -> Seat {
        let pulses = job.now.broker.pulses();
        let mut running = self.flights.running.lock().expect("nothing panics while it holds this");
        if let Some(flight) = running.get(&job.place).filter(|flight| flight.can_be_joined(job, &pulses)) {
            return Seat::Passenger(flight.outcome.clone());
        }
        let (sender, outcome) = watch::channel(None);
        let number = self.flights.begun.fetch_add(1, Ordering::Relaxed);
        let (broker, file) = (job.now.broker.clone(), job.file.clone());
        let flight = Flight { number, broker, file, template: job.template.clone(), began: pulses, outcome };
        running.insert(job.place.clone(), flight);
        Seat::Pilot(number, sender)
    }

    /// The current snapshot if nothing in it has changed, else a new one.
    async fn renewed(&self, job: &Job) -> Outcome {
        let current = self.nodes().current(&job.place).cloned();
        if let Some((node, snapshot)) = current
            && let Some(basis) = snapshot.basis(&job.template)
            && let Some(basis) = job.now.broker.recheck(&basis, Asker::Reader).await?
        {
            snapshot.rebase(basis);
            return Ok((node, snapshot));
        }
        self.render(job).await
    }

    fn land(&self, place: &Place, number: u64) {
        let mut running = self.flights.running.lock().expect("nothing panics while it holds this");
        // A later flight may have taken the place.
        if running.get(place).is_some_and(|flight| flight.number == number) {
            running.remove(place);
        }
    }

    async fn render(&self, job: &Job) -> Outcome {
        let rendering = job.now.broker.render(&job.grant, &job.template, job.reader.as_ref()).await?;
        Ok(self.install(job, rendering))
    }

    /// Makes the rendering the current one.
    pub(super) fn install(&self, job: &Job, rendering: Rendering) -> (NodeId, Arc<Snapshot>) {
        self.sets.learn(&rendering.pairs);
        let (node, snapshot, retired) = self.nodes().install(&job.place, self.snapshot_of(job, rendering));
        if let (Some(retired), Some(kernel)) = (retired, self.kernel.get()) {
            kernel.forget_content(retired);
        }
        (node, snapshot)
    }

    fn snapshot_of(&self, job: &Job, rendering: Rendering) -> Arc<Snapshot> {
        let snapshot = Snapshot::new(rendering, job.template.clone(), job.edited, job.file.spec.ownership);
        if self.ledger().keeps() {
            // Here, and not under the lock of the nodes.
            snapshot.fingerprint(self.ledger().key());
        }
        Arc::new(snapshot)
    }

    /// Keeps the rendering for who shall see an older one than the current.
    pub(super) fn put_aside(&self, job: &Job, rendering: Rendering) -> (NodeId, Arc<Snapshot>) {
        let snapshot = self.snapshot_of(job, rendering);
        (self.nodes().add(&job.place, &snapshot), snapshot)
    }
}

impl Job {
    /// Whether it may have another file too.
    pub(super) async fn judge(&self, file: &File, template: &Template) -> Judged {
        self.whom.judged(&self.now, file, template.keys()).await
    }
}

/// Does what may block in a thread that may, at once; what has to be waited for, in the pool.
fn work(task: impl Future<Output = ()> + Send + 'static) {
    tokio::task::spawn_blocking(move || {
        let mut task = Box::pin(task);
        let poll = || task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if leftover::wiped(poll).is_pending() {
            tokio::spawn(task);
        }
    });
}

fn log(file: &File, failure: &Failure) {
    tracing::warn!(file = %file.path.display(), errno = %failure.errno, reason = %failure.error, "cannot be rendered");
}

impl Flight {
    fn can_be_joined(&self, job: &Job, now: &[Pulse]) -> bool {
        Arc::ptr_eq(&self.template, &job.template)
            && Arc::ptr_eq(&self.file, &job.file)
            && Arc::ptr_eq(&self.broker, &job.now.broker)
            && self.began == now
            && !now.contains(&Pulse::Moving)
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
