//! What comes of a node with time: pages are dropped, bytes are wiped, and what nobody needs goes.
//! A sweep costs what is due, however many nodes there are. Uses `nodes`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Content, NodeId, Nodes, Place};
use crate::fs::snapshot::Snapshot;
use crate::fs::tree::FileId;
use crate::sys::weakness::{self, Weakness};

/// Which nodes are looked at next, and when.
pub(super) type Visits = BinaryHeap<Reverse<(Instant, NodeId)>>;

/// What is to be done about nodes after a sweep, outside the lock.
#[derive(Default)]
pub struct Sweep {
    pub drop_pages: Vec<NodeId>,
    /// The kernel is to be asked whether it knows them.
    pub doubted: Vec<NodeId>,
    /// Freed at the end of the sweep, so that the wiping happens outside the lock.
    pub wiped: Vec<(Place, Arc<Snapshot>)>,
    /// The files of all nodes that nobody has used for so long.
    pub unused: Vec<FileId>,
}

pub(super) const PAGES_AGE: Duration = Duration::from_secs(1);

/// After its last use.
pub(super) fn snapshot_age() -> Duration {
    Duration::from_secs(if weakness::has(Weakness::Hasty) { 1 } else { 60 })
}

impl Nodes {
    /// Once a second: forgets old steps, finds pages to drop, wipes what nobody used for a minute.
    pub fn sweep(&mut self, now: Instant) -> Sweep {
        self.steps.forget_old(now);
        let later = std::mem::take(&mut self.doubted_later);
        let doubted = std::mem::replace(&mut self.doubted, later);
        let mut sweep = Sweep { doubted, ..Sweep::default() };
        while let Some(&Reverse((at, id))) = self.visits.peek()
            && at <= now
        {
            self.visits.pop();
            if self.nodes.get(&id).is_some_and(|node| node.visit == Some(at)) {
                self.visit(id, now, &mut sweep);
            }
        }
        sweep
    }

    fn visit(&mut self, id: NodeId, now: Instant, sweep: &mut Sweep) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.visit = None;
        let last_use = if node.handles == 0 { node.last_use } else { now };
        if node.has_pages && now >= last_use + PAGES_AGE {
            node.has_pages = false;
            sweep.drop_pages.push(id);
        }
        if now >= last_use + snapshot_age() {
            sweep.unused.push(node.content.file());
            self.wipe(id, sweep);
        }
        // A node that was made a moment ago may be on its way to the kernel.
        if now >= last_use + PAGES_AGE {
            self.drop_if_unused(id);
        }
        match self.nodes.get(&id) {
            Some(node) if node.has_pages || (!node.is_held() && node.handles == 0 && !node.ages()) => {
                self.plan(id, last_use + PAGES_AGE);
            }
            Some(node) if node.is_filled() || now < last_use + snapshot_age() => {
                self.plan(id, last_use + snapshot_age());
            }
            _ => {}
        }
    }

    fn wipe(&mut self, id: NodeId, sweep: &mut Sweep) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Content::Filled(place, snapshot) = &node.content else { return };
        let (place, snapshot) = (place.clone(), snapshot.clone());
        node.content = Content::Wiped(place.clone(), snapshot.fingerprint(self.ledger.key()));
        if self.current.get(&place).is_some_and(|(current, _)| *current == id) {
            self.current.remove(&place);
            self.wiped.insert(place.clone(), id);
        }
        sweep.wiped.push((place, snapshot));
    }

    /// Has a sweep look at the node then, if none does before.
    pub(super) fn plan(&mut self, id: NodeId, at: Instant) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.visit.is_none_or(|visit| at < visit) {
            node.visit = Some(at);
            self.visits.push(Reverse((at, id)));
        }
    }
}
