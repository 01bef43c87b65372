//! OPEN: policy decides again, and the open gets the snapshot that it is to see. Also when the
//! kernel has no path to look up: a bound single file, `O_PATH`, `/proc/self/fd`. Uses `render`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use tracing::Instrument;

use super::deadline::{Deadline, Once};
use super::errno::Errno;
use super::handle::Handle;
use super::nodes::{Content, FIRST_NODE, NodeId, Nodes, Place, Reserved, Step};
use super::render::Wanted;
use super::sets::Sighting;
use super::snapshot::Snapshot;
use super::tree::File;
use super::whom::Whom;
use super::written::{Opener, Opening, known_keys};
use super::{Generation, Reply, SecretFs, asking, request, tree, view_of};
use crate::audit::{self, Audit};
use crate::broker::{Class, Error};
use crate::caller::Caller;
use crate::metrics;
use crate::policy::{Denial, Grant};
use crate::provider::unhurried;
use crate::template::Template;

/// What an OPEN is to be given, by a node that has it pinned.
struct Given {
    opener: Opener,
    node: NodeId,
    place: Place,
    grant: Grant,
    snapshot: Arc<Snapshot>,
    /// The current one, if this is an older one.
    current: Option<Arc<Snapshot>>,
}

/// What the log says of a snapshot that somebody else has kept open.
const OLDER: &str = "somebody has an older version open";
/// A little longer than the audit waits for its disk.
const PATIENCE: Duration = audit::BUDGET.saturating_add(Duration::from_millis(50));

impl SecretFs {
    /// Answers an OPEN whose line the disk does not take, in place of the thread that hangs in it.
    pub(super) fn watch_open(self: &Arc<Self>, answer: &Once<Result<u64, Errno>>) -> Option<Deadline> {
        let audit = self.now().broker.audit().clone();
        // For the tests, which have to find out that nobody answers.
        let is_off = cfg!(debug_assertions) && std::env::var_os("SECRETFS_TEST_AUDIT_UNWATCHED").is_some();
        let is_wanted = audit.is_on() && audit.config().is_required() && !is_off;
        is_wanted.then(|| self.watch_write(audit, answer.clone()))
    }

    fn watch_write(self: &Arc<Self>, audit: Arc<Audit>, answer: Once<Result<u64, Errno>>) -> Deadline {
        let this = Arc::downgrade(self);
        self.deadlines.within(PATIENCE, move || {
            if answer.is_given() {
                return;
            }
            // It may be the machine that is slow, and not the disk.
            if !audit.is_late() {
                this.upgrade().map(|this| this.watch_write(audit, answer));
            } else if let Some(answer) = answer.take() {
                metrics::get().deadline_hits.inc();
                audit.tell_late();
                answer(Err(Errno::IO));
            }
        })
    }

    /// OPEN: policy again, then the snapshot that this open is to see.
    pub fn open(self: &Arc<Self>, caller: Caller, id: u64) -> Reply<u64> {
        if id < FIRST_NODE {
            return Reply::Now(Err(Errno::ISDIR));
        }
        let (this, opening) = (self.clone(), Opening::begin(caller));
        if !self.nodes().has_step(caller.pid) {
            // A bound file has no LOOKUP that would do it.
            self.notice_edits();
        }
        match self.doubted(id) {
            None => this.open_loaded(opening, id),
            Some(file) => {
                let opened = async move {
                    let opening = opening.unwatched();
                    if let Err(error) = this.load_in_time(&file).await {
                        return Err(unhurried(|| this.fail(&this.now(), opening, &file, error)));
                    }
                    this.open_loaded(opening, id).finish().await
                };
                Reply::Later(Box::pin(opened.instrument(request::span(&caller))))
            }
        }
    }

    fn open_loaded(self: Arc<Self>, opening: Opening, id: NodeId) -> Reply<u64> {
        match self.open_ready(opening, id) {
            Some(outcome) => Reply::Now(outcome),
            None => {
                let (opening, span) = (opening.unwatched(), request::span(&opening.caller));
                Reply::Later(Box::pin(async move { self.open_anew(opening, id).await }.instrument(span)))
            }
        }
    }

    /// The file of a filled node, if its template has to be looked at first.
    fn doubted(&self, id: NodeId) -> Option<Arc<File>> {
        let file = match &self.nodes().get(id)?.content {
            Content::Filled(place, _) => place.file,
            _ => return None,
        };
        self.now().file(file).ok().filter(|file| file.source.ready().is_none())
    }

    /// `None`: the node has to be given another snapshot first.
    fn open_ready(&self, opening: Opening, id: NodeId) -> Option<Result<u64, Errno>> {
        let caller = &opening.caller;
        let mut nodes = self.nodes();
        let step = nodes.last_step(caller.pid);
        let Some(node) = nodes.get(id) else { return Some(refuse(&mut nodes, id, caller)) };
        if step == Some(Step::Refused(id)) {
            return None;
        }
        // Refused elsewhere a moment ago: the same open, sent on. The node may have been looked up
        // by another thread, which this one waited for.
        let looked_again = matches!(step, Some(Step::LookedAgain | Step::Refused(_)));
        let just_looked = looked_again || step == Some(Step::Looked(id));
        // It would not be sent on a second time, if the process before has refused it.
        let is_unseen = step == Some(Step::Unseen);
        let (place, snapshot) = match &node.content {
            Content::Filled(place, snapshot) => (place.clone(), snapshot.clone()),
            Content::Failed(place, failure) if just_looked => {
                let (file, errno, class) = (place.file, failure.errno, failure.error.class());
                drop(nodes);
                return Some(Err(self.open_failed(opening, file, errno, class)));
            }
            Content::Bare(file) if just_looked => {
                let file = *file;
                drop(nodes);
                return self.open_bare(opening, id, file, looked_again);
            }
            _ if is_unseen => return None,
            _ => return Some(refuse(&mut nodes, id, caller)),
        };
        drop(nodes);
        let now = self.now();
        // What was looked up again is not refused once more because the config changed meanwhile.
        let looked_at = if looked_again { snapshot.template() } else { None };
        let (template, grant, opener) = match admit(&now, opening, place.file, looked_at) {
            Ok(admitted) => admitted,
            Err(Refusal::Unknown) if looked_again || is_unseen => return None,
            Err(Refusal::With(errno)) if errno != Errno::STALE => return Some(Err(errno)),
            Err(_) => return Some(refuse(&mut self.nodes(), id, caller)),
        };
        let own_view = place.view == view_of(caller, &template, &grant);
        let sighting =
            Sighting { now: &now, caller, place: &place, template: &template, snapshot: &snapshot };
        let is_right = own_view && self.may_see(&sighting, just_looked, looked_again);
        if !is_right || !is_allowed(&sighting) {
            return (!is_unseen).then(|| refuse(&mut self.nodes(), id, caller));
        }
        let pinned = self.nodes().pin(id, &snapshot);
        pinned.then(|| self.give(&now, Given { opener, node: id, place, grant, snapshot, current: None }))
    }

    /// OPEN of the node of who may not read: says why, unless other rules are in force since its
    /// LOOKUP.
    fn open_bare(
        &self,
        opening: Opening,
        id: NodeId,
        file: tree::FileId,
        looked_again: bool,
    ) -> Option<Result<u64, Errno>> {
        let now = self.now();
        let file = match now.file(file) {
            Ok(file) => file,
            Err(errno) => return Some(Err(errno)),
        };
        let opener = now.opener(opening, &file)?;
        match now.judge_opener(&opener, &file, &known_keys(&file)) {
            Err(denial) => now.write_denied(&opener, &file, &denial),
            Ok(_) if !looked_again => return Some(refuse(&mut self.nodes(), id, &opening.caller)),
            Ok(_) => {}
        }
        Some(Err(Errno::ACCES))
    }

    /// OPEN of a file that could not be rendered, perhaps before it was known who asks.
    fn open_failed(&self, opening: Opening, file: tree::FileId, errno: Errno, class: Class) -> Errno {
        let now = self.now();
        if let Ok(file) = now.file(file)
            && let Some(opener) = now.opener(opening, &file)
            && let Err(denial) = now.judge_opener(&opener, &file, &known_keys(&file))
        {
            now.write_denied(&opener, &file, &denial);
            return Errno::ACCES;
        }
        now.write_failure(opening, file, class);
        errno
    }

    /// Whether this snapshot is what an OPEN is to see: the current one, or that of its process.
    fn may_see(&self, sighting: &Sighting<'_>, just_looked: bool, looked_again: bool) -> bool {
        let Sighting { now, place, snapshot, template, .. } = sighting;
        let seen = now.file(place.file).ok().and_then(|file| self.is_seen(&file, sighting, just_looked));
        seen.unwrap_or_else(|| looked_again || self.is_current(now, place, snapshot, template))
    }

    fn is_current(
        &self,
        now: &Generation,
        place: &Place,
        snapshot: &Arc<Snapshot>,
        template: &Arc<Template>,
    ) -> bool {
        self.nodes().is_current(place, snapshot)
            && snapshot.rests_on(template, |basis| now.broker.is_still(basis))
    }

    /// The handle for a snapshot that the node has pinned, once it is written down who gets it.
    fn give(&self, now: &Generation, given: Given) -> Result<u64, Errno> {
        let Given { opener, node, place, grant, snapshot, current } = given;
        let stale = current.is_some().then(|| OLDER.to_owned());
        let file = now.file(place.file).inspect_err(|_| self.nodes().closed(node))?;
        match now.write_given(&opener, &file, &grant, &snapshot, stale) {
            Ok(()) => {
                let caller = &opener.opening.caller;
                self.note_reader(now, caller, &place, (&snapshot, current.as_deref()));
                Ok(self.handle(now, caller, node, &place, snapshot))
            }
            Err(error) => {
                self.nodes().closed(node);
                Err(self.failed(&file, error).errno)
            }
        }
    }

    /// Writes down that nothing could be given, and answers with what.
    fn fail(&self, now: &Generation, opening: Opening, file: &Arc<File>, error: Error) -> Errno {
        now.write_failure(opening, file.id, error.class());
        self.failed(file, error).errno
    }

    /// The handle for a snapshot that the node has pinned.
    fn handle(
        &self,
        now: &Generation,
        caller: &Caller,
        node: NodeId,
        place: &Place,
        snapshot: Arc<Snapshot>,
    ) -> u64 {
        let (uid, generation) = (caller.uid, AtomicU64::new(now.number));
        let (thread, shows_real) = (AtomicU32::new(caller.pid), place.view.shows_real());
        let cut = AtomicU64::new(0);
        let handle = Handle { node, snapshot, uid, shows_real, generation, cut, thread, record: None };
        self.handles.insert(self.ledger(), handle)
    }

    /// OPEN without a LOOKUP just before, for the second time: there is no path to look up (a
    /// bound file, `O_PATH`, `/proc/self/fd`), so the node itself takes what its opener may see.
    async fn open_anew(self: Arc<Self>, opening: Opening, id: NodeId) -> Result<u64, Errno> {
        let caller = opening.caller;
        let file = self.nodes().get(id).ok_or(Errno::STALE)?.content.file();
        let now = self.now();
        let file = now.file(file)?;
        let failed = |error| unhurried(|| self.fail(&now, opening, &file, error));
        let limit = file.spec.deadline;
        let sighted = asking::in_time(limit, now.sight(&caller, &file)).await.map_err(failed)?;
        let opener = opening.by(&sighted);
        let denied = |denial: &Denial| {
            unhurried(|| now.write_denied(&opener, &file, denial));
            Errno::ACCES
        };
        let sighted = sighted.map_err(|it| denied(&Denial::refused(it)))?;
        let rendered = self.rendered_in_time(Whom::Caller(caller), now.clone(), file.clone()).await;
        let rendered = rendered.map_err(|(_, error)| failed(error))?.map_err(|denial| denied(&denial))?;
        if !asking::in_time(limit, sighted.is_still()).await.map_err(failed)? {
            return Err(Errno::IO);
        }
        let Wanted { place, snapshot: current, .. } = rendered;
        let snapshot = self.hand_over(id, &file, &place, current.clone()).await?;
        let current = Some(current).filter(|current| !Arc::ptr_eq(&snapshot, current));
        // It may be another than what the verdict was about.
        let judged = now.judge_sighted(&sighted, &file, &snapshot, place.view.shows_real());
        let grant = judged.map_err(|denial| {
            self.nodes().closed(id);
            denied(&denial)
        })?;
        unhurried(|| self.give(&now, Given { opener, node: id, place, grant, snapshot, current }))
    }

    /// The snapshot that an opener of this node gets: the current one, unless somebody has the
    /// node open; then theirs, if it is the same view. One at a time, so that nobody reads before
    /// the kernel knows the size: it does not ask between an OPEN and a `sendfile`.
    async fn hand_over(
        &self,
        id: NodeId,
        file: &File,
        place: &Place,
        snapshot: Arc<Snapshot>,
    ) -> Result<Arc<Snapshot>, Errno> {
        let _turn = self.adopting.lock().await;
        let reserved = self.nodes().reserve(id, place, &snapshot).ok_or(Errno::ACCES)?;
        match reserved {
            Reserved::Held(held) => {
                if Arc::ptr_eq(&held, &snapshot) {
                    return Ok(held);
                }
                if self.sets.has(file) {
                    self.nodes().closed(id);
                    tracing::warn!(file = %file.path.display(), "open elsewhere, in another version than the rest of its set");
                    return Err(Errno::STALE);
                }
                held.count_like(&snapshot);
                metrics::get().stale_handles.inc();
                tracing::info!(file = %file.path.display(), "open elsewhere: serves the snapshot of the open handle");
                Ok(held)
            }
            Reserved::Changed => {
                self.settle(id, &snapshot);
                Ok(snapshot)
            }
        }
    }

    /// What `hand_over` does for an OPEN, for a node that nobody has open. No means that somebody has by now.
    pub(super) async fn adopt(&self, id: NodeId, place: &Place, snapshot: &Arc<Snapshot>) -> bool {
        let _turn = self.adopting.lock().await;
        let adopted = self.nodes().adopt(id, place, snapshot);
        if adopted {
            self.settle(id, snapshot);
        }
        adopted
    }

    fn settle(&self, id: NodeId, snapshot: &Snapshot) {
        unhurried(|| self.tell_size(id, snapshot));
        self.nodes().settled(id);
    }

    fn tell_size(&self, id: NodeId, snapshot: &Snapshot) {
        let Some(kernel) = self.kernel.get() else { return };
        kernel.forget_content(id);
        if let Some(&last) = snapshot.bytes.expose().last() {
            kernel.store_last(id, snapshot.size(), last);
        }
    }
}

/// The file's template as it was loaded last, or this one, with the proof that the opener may have
/// the file.
fn admit(
    now: &Generation,
    opening: Opening,
    file: tree::FileId,
    looked_at: Option<Arc<Template>>,
) -> Result<(Arc<Template>, Grant, Opener), Refusal> {
    let file = now.file(file)?;
    let template = match file.source.last() {
        Some(loaded) => loaded.template.clone().map_err(|error| Errno::from(error.class()))?,
        None => looked_at.ok_or(Errno::STALE)?,
    };
    let opener = now.opener(opening, &file).ok_or(Refusal::Unknown)?;
    match now.judge_opener(&opener, &file, template.keys()) {
        Ok(grant) => Ok((template, grant, opener)),
        Err(denial) => {
            now.write_denied(&opener, &file, &denial);
            Err(Refusal::With(Errno::ACCES))
        }
    }
}

/// Why an OPEN is given nothing at once.
enum Refusal {
    /// Who it is cannot be had at once. A LOOKUP waits for that, but is not always remembered: then
    /// the pool does.
    Unknown,
    With(Errno),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::With(errno)
    }
}

/// Whether the caller may have the snapshot itself, too: it may be of another template.
fn is_allowed(sighting: &Sighting<'_>) -> bool {
    let Sighting { now, caller, place, template, snapshot } = sighting;
    if snapshot.keys().as_deref() == Some(template.keys()) {
        return true;
    }
    let judge = |file: Arc<File>| now.judge_shown_at_once(caller, &file, snapshot, place.view.shows_real());
    now.file(place.file).ok().and_then(judge).is_some_and(|judged| judged.is_ok())
}

/// First ESTALE: the kernel looks the path up again, if there is one.
fn refuse(nodes: &mut Nodes, id: NodeId, caller: &Caller) -> Result<u64, Errno> {
    nodes.refused(id, caller.pid);
    Err(Errno::STALE)
}
