//! The node table: a node is one snapshot of one file for one view, because `fstat`, `mmap` and
//! `sendfile` know the node and not the handle. Pure bookkeeping under one lock, which is held
//! for no call and no copy. Uses `snapshot`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::snapshot::{Failure, Fingerprint, Snapshot};
use super::tree::FileId;

/// How a node is named to the kernel. Never used for anything else while the mount lives.
pub type NodeId = u64;

/// Node ids start above all ids of folders.
pub const FIRST_NODE: NodeId = 1 << 32;

/// Whose rendering it is: everybody's, or that of one class of callers (`reader.*`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum View {
    Real,
    Reader(Arc<str>),
}

/// One file as one view sees it: has at most one current snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub file: FileId,
    pub view: View,
}

pub enum Content {
    /// What a caller sees who may not read: never filled.
    Bare(FileId),
    Failed(Place, Arc<Failure>),
    Filled(Place, Arc<Snapshot>),
    /// Was filled; the bytes are wiped.
    Wiped(Place, Fingerprint),
}

impl Content {
    fn holds(&self, snapshot: &Arc<Snapshot>) -> bool {
        matches!(self, Self::Filled(_, held) if Arc::ptr_eq(held, snapshot))
    }
}

pub struct Node {
    pub content: Content,
    /// References that the kernel holds (LOOKUP and FORGET).
    lookups: u64,
    pub handles: u32,
    last_use: Instant,
    /// Closed since its pages were last dropped.
    has_pages: bool,
    /// It took another snapshot, and the kernel does not know the size yet.
    settling: bool,
}

/// What a thread did last. An OPEN after ESTALE without a LOOKUP between has no path to look up;
/// one after ESTALE and LOOKUP is as of that LOOKUP, since it would not be repeated once more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Looked(NodeId),
    LookedAgain,
    Refused(NodeId),
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
    current: HashMap<Place, (NodeId, Arc<Snapshot>)>,
    /// The node that a place had last: filled again if the same bytes come back.
    wiped: HashMap<Place, NodeId>,
    failed: HashMap<Place, NodeId>,
    bare: HashMap<FileId, NodeId>,
    steps: HashMap<u32, (Step, Instant)>,
    made: u64,
}

/// What is to be done about nodes after a sweep, outside the lock.
#[derive(Default)]
pub struct Sweep {
    pub drop_pages: Vec<NodeId>,
    /// Freed at the end of the sweep, so that the wiping happens outside the lock.
    pub wiped: Vec<Arc<Snapshot>>,
}

const STEP_AGE: Duration = Duration::from_secs(1);
const PAGES_AGE: Duration = Duration::from_secs(1);
const SNAPSHOT_AGE: Duration = Duration::from_secs(60);

impl Nodes {
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
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
        let node = self.nodes.get_mut(&id)?;
        match &node.content {
            Content::Wiped(_, print) if snapshot.has(print) => {
                node.content = Content::Filled(place.clone(), snapshot.clone());
                node.last_use = Instant::now();
                Some(id)
            }
            _ => None,
        }
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
            _ => {
                node.content = Content::Filled(place.clone(), snapshot.clone());
                node.settling = true;
                Reserved::Changed
            }
        };
        node.handles += 1;
        Some(reserved)
    }

    /// The kernel knows the size of what the node holds.
    pub fn settled(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.settling = false;
        }
    }

    /// Lets a node that nobody has open follow its file.
    pub fn adopt(&mut self, id: NodeId, place: &Place, snapshot: &Arc<Snapshot>) -> bool {
        match self.nodes.get_mut(&id) {
            Some(node) if node.handles == 0 && !matches!(node.content, Content::Bare(_)) => {
                node.content = Content::Filled(place.clone(), snapshot.clone());
                node.last_use = Instant::now();
                true
            }
            _ => false,
        }
    }

    fn make(&mut self, content: Content) -> NodeId {
        let id = FIRST_NODE + self.made;
        self.made += 1;
        let node = Node {
            content,
            lookups: 0,
            handles: 0,
            last_use: Instant::now(),
            has_pages: false,
            settling: false,
        };
        self.nodes.insert(id, node);
        id
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
            // A node that changed costs the kernel a second LOOKUP for the same open.
            let again = self.steps.get(&thread).is_some_and(|(step, at)| {
                matches!(step, Step::Refused(_) | Step::LookedAgain) && at.elapsed() < STEP_AGE
            });
            let step = if again { Step::LookedAgain } else { Step::Looked(id) };
            self.steps.insert(thread, (step, now));
        }
    }

    pub fn refused(&mut self, id: NodeId, thread: u32) {
        self.steps.insert(thread, (Step::Refused(id), Instant::now()));
    }

    /// What this thread did just before, once.
    pub fn last_step(&mut self, thread: u32) -> Option<Step> {
        let (step, at) = self.steps.remove(&thread)?;
        (at.elapsed() < STEP_AGE).then_some(step)
    }

    pub fn forget(&mut self, id: NodeId, count: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.lookups = node.lookups.saturating_sub(count);
            self.drop_if_unused(id);
        }
    }

    pub fn closed(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.handles = node.handles.saturating_sub(1);
            node.last_use = Instant::now();
            node.has_pages = true;
            self.drop_if_unused(id);
        }
    }

    /// Known to the kernel, and open nowhere: such a node is told when its content changes.
    pub fn is_idle(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.handles == 0 && node.lookups > 0)
    }

    /// A node that neither kernel nor table needs. The current snapshot of a place stays, warm,
    /// until it is wiped.
    fn drop_if_unused(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(&id) else { return };
        if node.lookups > 0 || node.handles > 0 {
            return;
        }
        match &node.content {
            Content::Filled(place, _)
                if self.current.get(place).is_some_and(|(current, _)| *current == id) =>
            {
                return;
            }
            Content::Wiped(place, _) if self.wiped.get(place) == Some(&id) => return,
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

    /// The places that have a current snapshot.
    pub fn places(&self) -> Vec<(Place, Arc<Snapshot>)> {
        self.current.iter().map(|(place, (_, snapshot))| (place.clone(), snapshot.clone())).collect()
    }

    /// Once a second: forgets old steps, finds pages to drop, wipes what nobody used for a minute.
    pub fn sweep(&mut self, now: Instant) -> Sweep {
        self.steps.retain(|_, (_, at)| now.duration_since(*at) < STEP_AGE);
        let mut sweep = Sweep::default();
        for (&id, node) in &mut self.nodes {
            let idle =
                if node.handles == 0 { now.saturating_duration_since(node.last_use) } else { Duration::ZERO };
            if node.has_pages && idle >= PAGES_AGE {
                node.has_pages = false;
                sweep.drop_pages.push(id);
            }
            if idle >= SNAPSHOT_AGE {
                wipe(id, node, &mut self.current, &mut self.wiped, &mut sweep);
            }
        }
        // A node that was made a moment ago may be on its way to the kernel.
        let is_old = |node: &Node| now.saturating_duration_since(node.last_use) >= PAGES_AGE;
        let unused = self.nodes.iter().filter(|(_, node)| node.lookups == 0 && is_old(node));
        let unused: Vec<NodeId> = unused.map(|(&id, _)| id).collect();
        for id in unused {
            self.drop_if_unused(id);
        }
        sweep
    }
}

fn wipe(
    id: NodeId,
    node: &mut Node,
    current: &mut HashMap<Place, (NodeId, Arc<Snapshot>)>,
    wiped: &mut HashMap<Place, NodeId>,
    sweep: &mut Sweep,
) {
    let Content::Filled(place, snapshot) = &node.content else { return };
    let (place, snapshot) = (place.clone(), snapshot.clone());
    if current.get(&place).is_some_and(|(node, _)| *node == id) {
        current.remove(&place);
        wiped.insert(place.clone(), id);
    }
    node.content = Content::Wiped(place, snapshot.fingerprint());
    sweep.wiped.push(snapshot);
}
