//! OPEN: policy decides again, and the open gets the snapshot that it is to see. Also when the
//! kernel has no path to look up: a bound single file, `O_PATH`, `/proc/self/fd`. Uses `render`.

use std::sync::Arc;

use super::errno::Errno;
use super::handle::Handle;
use super::nodes::{Content, FIRST_NODE, NodeId, Nodes, Place, Step};
use super::snapshot::Snapshot;
use super::{Reply, SecretFs, tree, view_of};
use crate::caller::Caller;
use crate::policy::Grant;
use crate::template::Template;

impl SecretFs {
    /// OPEN: policy again, then the snapshot that this open is to see.
    pub fn open(self: &Arc<Self>, caller: Caller, id: u64) -> Reply<u64> {
        if id < FIRST_NODE {
            return Reply::Now(Err(Errno::ISDIR));
        }
        match self.open_ready(&caller, id) {
            Some(outcome) => Reply::Now(outcome),
            None => {
                let this = self.clone();
                Reply::Later(Box::pin(async move { this.open_anew(caller, id).await }))
            }
        }
    }

    /// `None`: the node has to be given another snapshot first.
    fn open_ready(&self, caller: &Caller, id: NodeId) -> Option<Result<u64, Errno>> {
        let mut nodes = self.nodes();
        let step = nodes.last_step(caller.pid);
        let Some(node) = nodes.get(id) else { return Some(Err(Errno::STALE)) };
        if step == Some(Step::Refused(id)) {
            return None;
        }
        let just_looked = step == Some(Step::Looked(id));
        let (place, snapshot) = match &node.content {
            Content::Filled(place, snapshot) => (place.clone(), snapshot.clone()),
            Content::Failed(_, failure) if just_looked => return Some(Err(failure.errno)),
            Content::Bare(_) if just_looked => return Some(Err(Errno::ACCES)),
            _ => return Some(refuse(&mut nodes, id, caller)),
        };
        drop(nodes);
        let (grant, template) = match self.admit(caller, place.file) {
            Ok(admitted) => admitted,
            Err(errno) => return Some(Err(errno)),
        };
        let own_view = place.view == view_of(caller, &template);
        if own_view && (just_looked || self.is_current(&place, &snapshot, &template)) {
            return Some(Ok(self.pin(caller, id, snapshot, &grant)));
        }
        Some(refuse(&mut self.nodes(), id, caller))
    }

    fn is_current(&self, place: &Place, snapshot: &Arc<Snapshot>, template: &Arc<Template>) -> bool {
        self.nodes().is_current(place, snapshot)
            && snapshot.rests_on(template, |basis| self.broker.is_still(basis))
    }

    /// Whether the caller may open the file, by the template as it was loaded last.
    fn admit(&self, caller: &Caller, file: tree::FileId) -> Result<(Grant, Arc<Template>), Errno> {
        let file = self.file(file)?;
        let loaded = file.source.ready().unwrap_or_else(|| file.source.load());
        let template = loaded.template.map_err(|error| Errno::from(error.class()))?;
        match self.judge(caller, &file, &template) {
            Ok(grant) => Ok((grant, template)),
            Err(denial) => {
                tracing::info!(file = %file.path.display(), uid = caller.uid, pid = caller.pid, reason = denial.reason, "denied");
                Err(Errno::ACCES)
            }
        }
    }

    fn pin(&self, caller: &Caller, node: NodeId, snapshot: Arc<Snapshot>, grant: &Grant) -> u64 {
        self.nodes().opened(node);
        self.handles.insert(Handle { node, snapshot, uid: caller.uid, generation: grant.generation() })
    }

    /// OPEN without a LOOKUP just before, for the second time: there is no path to look up (a
    /// bound file, `O_PATH`, `/proc/self/fd`), so the node itself takes what its opener may see.
    async fn open_anew(self: Arc<Self>, caller: Caller, id: NodeId) -> Result<u64, Errno> {
        let file = self.nodes().get(id).ok_or(Errno::STALE)?.content.file();
        let file = self.file(file)?;
        let job = match self.prepare(&caller, &file).await {
            Ok(Some(job)) => job,
            Ok(None) => return Err(Errno::ACCES),
            Err(error) => return Err(self.log_failure(&file, error).errno),
        };
        let rendered = self.snapshot_in_time(&job).await;
        let (_, snapshot) = rendered.map_err(|error| self.log_failure(&file, error).errno)?;
        let snapshot = self.hand_over(id, &job.place, snapshot)?;
        Ok(self.pin(&caller, id, snapshot, &job.grant))
    }

    /// The snapshot that an opener of this node gets: the current one, unless somebody has the
    /// node open; then theirs, if it is the same view.
    fn hand_over(&self, id: NodeId, place: &Place, snapshot: Arc<Snapshot>) -> Result<Arc<Snapshot>, Errno> {
        let pinned = {
            let nodes = self.nodes();
            match nodes.get(id).map(|node| &node.content) {
                Some(Content::Filled(_, held)) if Arc::ptr_eq(held, &snapshot) => return Ok(snapshot),
                Some(Content::Filled(held, pinned)) if !nodes.is_idle(id) => {
                    Some((*held == *place).then(|| pinned.clone()))
                }
                Some(Content::Bare(_)) | None => return Err(Errno::ACCES),
                _ => None,
            }
        };
        match pinned {
            Some(Some(stale)) => {
                tracing::info!(node = id, "open elsewhere: serves the snapshot of the open handle");
                Ok(stale)
            }
            Some(None) => Err(Errno::ACCES),
            None => self.adopt(id, place, snapshot),
        }
    }

    /// The kernel learns the new size before anybody reads: it does not ask between an OPEN and
    /// a `sendfile`. Blocks for the length of two system calls.
    fn adopt(&self, id: NodeId, place: &Place, snapshot: Arc<Snapshot>) -> Result<Arc<Snapshot>, Errno> {
        if let Some(kernel) = self.kernel.get() {
            kernel.forget_content(id);
            if let Some(&last) = snapshot.bytes.expose().last() {
                kernel.store_last(id, snapshot.size(), last);
            }
        }
        if self.nodes().adopt(id, place, &snapshot) { Ok(snapshot) } else { Err(Errno::STALE) }
    }
}

/// First ESTALE: the kernel looks the path up again, if there is one.
fn refuse(nodes: &mut Nodes, id: NodeId, caller: &Caller) -> Result<u64, Errno> {
    nodes.refused(id, caller.pid);
    Err(Errno::STALE)
}
