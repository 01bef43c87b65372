//! The node table: a node is one snapshot of one file for one view, because `fstat`, `mmap` and
//! `sendfile` know the node and not the handle. Pure bookkeeping under one lock, which is held
//! for no call and no copy. Uses `snapshot`.

mod content;
mod kept;
mod steps;
mod sweep;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::snapshot::{Failure, Snapshot};
use super::tree::FileId;
use crate::ledger::{Ledger, Record};
pub use content::{Content, Place, View};
pub use steps::Step;
use steps::Steps;
pub use sweep::Sweep;
use sweep::{PAGES_AGE, Visits, snapshot_age};

/// How a node is named to the kernel. Never used for anything else while the mount lives.
pub type NodeId = u64;

/// Node ids start above all ids of folders, and stay below what JavaScript can count.
pub const FIRST_NODE: NodeId = 1 << 52;

pub struct Node {
    pub content: Content,
    /// References that the kernel holds (LOOKUP and FORGET), as far as this process gave them.
    lookups: u64,
    /// The kernel may hold it by references that a process before gave.
    is_inherited: bool,
    pub handles: u32,
    last_use: Instant,
    /// Closed since its pages were last dropped.
    has_pages: bool,
    /// It took another snapshot, and the kernel does not know the size yet.
    settling: bool,
    /// When a sweep looks at it next, if ever.
    visit: Option<Instant>,
    /// For the next process.
    record: Option<Record>,
}

/// The outcome of asking a node to hold a snapshot for one more handle, which is counted.
pub enum Reserved {
    /// It holds this one, for this view.
    Held(Arc<Snapshot>),
    /// It has taken the new one: the kernel has to be told before anybody reads.
    Changed,
}

#[derive(Default)]
pub struct Nodes {
    nodes: HashMap<NodeId, Node>,
    /// In an order, so that it can be walked piece by piece.
    current: BTreeMap<Place, (NodeId, Arc<Snapshot>)>,
    /// The node that a place had last and the kernel holds: filled again if the same bytes come back.
    wiped: HashMap<Place, NodeId>,
    failed: HashMap<Place, NodeId>,
    bare: HashMap<FileId, NodeId>,
    steps: Steps,
    visits: Visits,
    /// Inherited nodes that the kernel may have forgotten: asked by the next sweep, or the one
    /// after, since it says so before it has.
    doubted: Vec<NodeId>,
    doubted_later: Vec<NodeId>,
    ledger: Ledger,
}

impl Nodes {
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub fn current(&self, place: &Place) -> Option<&(NodeId, Arc<Snapshot>)> {
        self.current.get(place)
    }

    pub fn is_current(&self, place: &Place, snapshot: &Arc<Snapshot>) -> bool {
        self.current.get(place).is_some_and(|(_, current)| Arc::ptr_eq(current, snapshot))
    }

    /// Makes the snapshot the current one of its place. The same content keeps its node. Answers
    /// with the node, the snapshot to serve, and the node that retires.
    pub fn install(
        &mut self,
        place: &Place,
        snapshot: Arc<Snapshot>,
    ) -> (NodeId, Arc<Snapshot>, Option<NodeId>) {
        if let Some((node, current)) = self.current.get(place)
            && current.same_content(&snapshot)
        {
            current.renew(&snapshot);
            return (*node, current.clone(), None);
        }
        let node = self
            .refill(place, &snapshot)
            .unwrap_or_else(|| self.make(Content::Filled(place.clone(), snapshot.clone())));
        let retired = self.current.insert(place.clone(), (node, snapshot.clone())).map(|(old, _)| old);
        (node, snapshot, retired.filter(|&old| self.is_idle(old)))
    }

    /// The node whose wiped bytes were these.
    fn refill(&mut self, place: &Place, snapshot: &Arc<Snapshot>) -> Option<NodeId> {
        let id = self.wiped.remove(place)?;
        let node = self.nodes.get(&id)?;
        match &node.content {
            Content::Wiped(_, print) if snapshot.fingerprint(self.ledger.key()) == *print => {
                self.fill(id, place, snapshot);
                Some(id)
            }
            _ => None,
        }
    }

    /// A node for a snapshot that is not current, for who shall see that.
    pub fn add(&mut self, place: &Place, snapshot: &Arc<Snapshot>) -> NodeId {
        self.make(Content::Filled(place.clone(), snapshot.clone()))
    }

    /// The place's snapshot is not current any more. Answers with its node if nobody has it open.
    pub fn retire(&mut self, place: &Place) -> Option<NodeId> {
        let (node, _) = self.current.remove(place)?;
        self.is_idle(node).then_some(node)
    }

    /// The node of a place that could not be rendered; and whether that is news.
    pub fn fail(&mut self, place: &Place, failure: Arc<Failure>) -> (NodeId, bool) {
        let known = self.failed.get(place).copied();
        if let Some(id) = known
            && let Some(node) = self.nodes.get_mut(&id)
            // An adopted node has become another thing; then the place needs a new one.
            && matches!(node.content, Content::Failed(..))
        {
            let is_news = !matches!(&node.content, Content::Failed(_, last) if last.is_like(&failure));
            node.content = Content::Failed(place.clone(), failure);
            return (id, is_news);
        }
        let id = self.make(Content::Failed(place.clone(), failure));
        self.failed.insert(place.clone(), id);
        (id, true)
    }

    pub fn bare(&mut self, file: FileId) -> NodeId {
        if let Some(&id) = self.bare.get(&file) {
            return id;
        }
        let id = self.make(Content::Bare(file));
        self.bare.insert(file, id);
        id
    }

    /// Counts a handle on a node that holds this snapshot. No means that it holds another by now.
    pub fn pin(&mut self, id: NodeId, snapshot: &Arc<Snapshot>) -> bool {
        match self.nodes.get_mut(&id) {
            Some(node) if !node.settling && node.content.holds(snapshot) => {
                node.handles += 1;
                true
            }
            _ => false,
        }
    }

    /// Counts a handle on a node without a path to look up. If nobody has it open it takes the
    /// snapshot that its opener should see; else its own is for those of the same view. `None`:
    /// it is open for another view, or may never be filled.
    pub fn reserve(&mut self, id: NodeId, place: &Place, snapshot: &Arc<Snapshot>) -> Option<Reserved> {
        let node = self.nodes.get_mut(&id)?;
        let reserved = match &node.content {
            Content::Bare(_) => return None,
            Content::Filled(_, held) if Arc::ptr_eq(held, snapshot) => Reserved::Held(held.clone()),
            Content::Filled(held_place, held) if node.handles > 0 => {
                if held_place != place {
                    return None;
                }
                Reserved::Held(held.clone())
            }
            _ => Reserved::Changed,
        };
        node.handles += 1;
        if matches!(reserved, Reserved::Changed) {
            node.settling = true;
            self.fill(id, place, snapshot);
        }
        Some(reserved)
    }

    /// The kernel knows the size of what the node holds.
    pub fn settled(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.settling = false;
            node.record = kept::keep(&self.ledger, id, node);
        }
    }

    /// Lets a node that nobody has open follow its file. The kernel has to be told before anybody reads.
    pub fn adopt(&mut self, id: NodeId, place: &Place, snapshot: &Arc<Snapshot>) -> bool {
        match self.nodes.get_mut(&id) {
            // Meanwhile it may have become another's.
            Some(node) if node.handles == 0 && node.content.is_at(place) => {
                node.settling = true;
                self.fill(id, place, snapshot);
                true
            }
            _ => false,
        }
    }

    fn make(&mut self, content: Content) -> NodeId {
        let id = FIRST_NODE + self.ledger.number();
        let now = Instant::now();
        let mut node = Node::new(content, now);
        node.record = kept::keep(&self.ledger, id, &node);
        self.nodes.insert(id, node);
        self.plan(id, now + PAGES_AGE);
        id
    }

    fn fill(&mut self, id: NodeId, place: &Place, snapshot: &Arc<Snapshot>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let now = Instant::now();
        node.content = Content::Filled(place.clone(), snapshot.clone());
        node.record = kept::keep(&self.ledger, id, node);
        node.last_use = now;
        self.plan(id, now + snapshot_age());
    }

    /// Gives the kernel a node with this snapshot, by a LOOKUP of this thread: the one that was
    /// found, or another if that was forgotten or took another snapshot meanwhile.
    pub fn hand_out(
        &mut self,
        found: NodeId,
        place: &Place,
        snapshot: &Arc<Snapshot>,
        thread: u32,
    ) -> NodeId {
        let is_found = self.nodes.get(&found).is_some_and(|node| node.content.holds(snapshot));
        let id = if is_found { found } else { self.make(Content::Filled(place.clone(), snapshot.clone())) };
        self.looked(id, thread);
        id
    }

    /// The kernel was given the node by a LOOKUP of this thread.
    pub fn looked(&mut self, id: NodeId, thread: u32) {
        if let Some(node) = self.nodes.get_mut(&id) {
            let now = Instant::now();
            node.lookups += 1;
            node.last_use = now;
            let is_unwatched = node.visit.is_none();
            self.steps.looked(id, thread, now);
            if is_unwatched {
                self.plan(id, now + snapshot_age());
            }
        }
    }

    /// A LOOKUP of this thread will be answered within that time.
    pub fn looking(&mut self, thread: u32, time: Duration) {
        self.steps.looking(thread, time, Instant::now());
    }

    pub fn refused(&mut self, id: NodeId, thread: u32) {
        self.steps.refused(id, thread);
    }

    /// Whether this thread did anything just before.
    pub fn has_step(&self, thread: u32) -> bool {
        self.steps.has(thread)
    }

    /// What this thread did just before, once.
    pub fn last_step(&mut self, thread: u32) -> Option<Step> {
        self.steps.take(thread)
    }

    pub fn forget(&mut self, id: NodeId, count: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.lookups = node.lookups.saturating_sub(count);
            if node.is_inherited {
                self.doubted_later.push(id);
            }
            self.drop_if_unused(id);
        }
    }

    pub fn closed(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            let now = Instant::now();
            node.handles = node.handles.saturating_sub(1);
            node.last_use = now;
            node.has_pages = true;
            self.plan(id, now + PAGES_AGE);
            self.drop_if_unused(id);
        }
    }

    /// Known to the kernel, and open nowhere: such a node is told when its content changes.
    pub fn is_idle(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.handles == 0 && node.is_held())
    }

    /// A node that neither kernel nor table needs. The current snapshot of a place stays, warm,
    /// until it is wiped.
    fn drop_if_unused(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(&id) else { return };
        if node.is_held() || node.handles > 0 {
            return;
        }
        match &node.content {
            Content::Filled(place, _)
                if self.current.get(place).is_some_and(|(current, _)| *current == id) =>
            {
                return;
            }
            // A sweep is to come by, for the template's sake.
            Content::Failed(..) | Content::Bare(_) if node.last_use.elapsed() < snapshot_age() => return,
            Content::Wiped(place, _) if self.wiped.get(place) == Some(&id) => {
                self.wiped.remove(place);
            }
            Content::Failed(place, _) if self.failed.get(place) == Some(&id) => {
                self.failed.remove(place);
            }
            Content::Bare(file) if self.bare.get(file) == Some(&id) => {
                self.bare.remove(file);
            }
            _ => {}
        }
        self.nodes.remove(&id);
    }

    /// Up to so many places with a current snapshot, from the one after this on.
    pub fn places_after(&self, last: Option<&Place>, count: usize) -> Vec<(Place, Arc<Snapshot>)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let places = self.current.range::<Place, _>((from, Bound::Unbounded)).take(count);
        places.map(|(place, (_, snapshot))| (place.clone(), snapshot.clone())).collect()
    }

    /// The current snapshots of one file.
    pub fn places_of(&self, file: FileId) -> Vec<(Place, Arc<Snapshot>)> {
        let places = self.current.range(Place { file, view: View::Real }..);
        let places = places.take_while(|(place, _)| place.file == file);
        places.map(|(place, (_, snapshot))| (place.clone(), snapshot.clone())).collect()
    }

    /// The nodes of these files that somebody has open.
    pub fn open_of(&self, is_wanted: impl Fn(FileId) -> bool) -> Vec<NodeId> {
        let open = self.nodes.iter().filter(|(_, node)| node.handles > 0);
        open.filter(|(_, node)| is_wanted(node.content.file())).map(|(id, _)| *id).collect()
    }
}

impl Node {
    fn new(content: Content, now: Instant) -> Self {
        Self {
            content,
            lookups: 0,
            is_inherited: false,
            handles: 0,
            last_use: now,
            has_pages: false,
            settling: false,
            visit: None,
            record: None,
        }
    }

    /// By the kernel.
    fn is_held(&self) -> bool {
        self.lookups > 0 || self.is_inherited
    }

    fn is_filled(&self) -> bool {
        matches!(self.content, Content::Filled(..))
    }

    /// Stays for a while after its last use.
    fn ages(&self) -> bool {
        matches!(self.content, Content::Filled(..) | Content::Failed(..) | Content::Bare(_))
    }
}
