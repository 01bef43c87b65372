//! What is served, and by which rules: the outcome of one config. A reload makes the next one, which
//! takes the place of this one at once or not at all; each request takes one at its start and uses
//! it to its end. Uses the broker and `tree`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, RwLock};

use super::errno::Errno;
use super::tree::{DirId, File, FileId, Layout, Tree, TreeError};
use super::{Attr, SecretFs};
use crate::broker::Broker;
use crate::caller::Caller;
use crate::provider::Given;
use crate::sys::peer;

/// Never changes. One tree takes the place of another within the same generation when templates
/// come or go.
#[derive(Clone)]
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) broker: Arc<Broker>,
    pub(super) layout: Arc<Layout>,
    pub(super) tree: Arc<Tree>,
}

/// The one that is in force.
pub(super) struct Generations {
    current: RwLock<Arc<Generation>>,
    /// Its number, for who asks at every READ.
    number: AtomicU64,
}

/// A generation that is ready to take over; nothing has changed yet, and nothing of the tree does
/// until it is committed or dropped.
pub struct Change<'a> {
    fs: &'a SecretFs,
    next: Generation,
    /// The edits that its tree has seen.
    seen: u64,
    _scanning: MutexGuard<'a, ()>,
}

impl Generation {
    pub(super) fn file(&self, id: FileId) -> Result<Arc<File>, Errno> {
        self.tree.file(id).cloned().ok_or(Errno::NOENT)
    }

    /// What a directory shows of itself.
    pub(super) fn dir_attr(&self, id: DirId) -> Result<Attr, Errno> {
        let dir = self.tree.dir(id).ok_or(Errno::NOENT)?;
        Ok(Attr { id, is_dir: true, size: 0, mtime: dir.mtime, ownership: self.layout.folders, lasts: false })
    }

    pub(super) fn may_enter(&self, caller: &Caller, bits: u16) -> bool {
        self.layout.folders.allows(caller, &|gid| peer::in_group(caller, gid), bits)
    }
}

impl Generations {
    pub(super) fn begin(broker: Arc<Broker>, layout: Layout) -> Result<Self, TreeError> {
        let tree = Arc::new(Tree::scan(&layout, None)?);
        let first = Generation { number: 1, broker, layout: Arc::new(layout), tree };
        Ok(Self { number: AtomicU64::new(first.number), current: RwLock::new(Arc::new(first)) })
    }

    pub(super) fn now(&self) -> Arc<Generation> {
        self.current.read().expect("nothing panics while it holds this").clone()
    }

    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Answers with the one before. Only for who holds the scanning lock: each builds on the last.
    pub(super) fn replace(&self, next: Generation) -> Arc<Generation> {
        let number = next.number;
        let mut current = self.current.write().expect("nothing panics while it holds this");
        let before = std::mem::replace(&mut *current, Arc::new(next));
        self.number.store(number, Ordering::Release);
        before
    }
}

impl SecretFs {
    /// Judges what would be served by this broker and layout. Reads the folder of templates.
    pub fn prepare(&self, broker: Arc<Broker>, layout: Layout) -> Result<Change<'_>, TreeError> {
        let scanning = self.hold_scans();
        let now = self.now();
        let number = now.number + 1;
        if layout == *now.layout {
            let next = Generation { broker, number, ..(*now).clone() };
            return Ok(Change { fs: self, next, seen: self.scans_done(), _scanning: scanning });
        }
        let seen = self.scans_wanted();
        let tree = Tree::scan(&layout, Some(&now.tree))?;
        let next = Generation { number, broker, layout: Arc::new(layout), tree: Arc::new(tree) };
        Ok(Change { fs: self, next, seen, _scanning: scanning })
    }

    /// From here on nothing is served, and what is open is cut off.
    pub fn withdraw(&self) {
        let now = self.now();
        let nothing = Layout { templates: None, files: BTreeMap::new(), ..(*now.layout).clone() };
        match self.prepare(now.broker.clone(), nothing) {
            Ok(change) => change.commit(),
            Err(error) => tracing::error!(%error, "nothing was to be read, and it failed"),
        }
    }

    pub(super) fn now(&self) -> Arc<Generation> {
        self.generations.now()
    }

    /// At the orderly end, for good: gives back what was lent, and writes down what only this process knows.
    pub fn end(&self) {
        let broker = self.now().broker.clone();
        broker.give_back_now(Given::Over);
        broker.flush();
    }
}

impl Change<'_> {
    /// Whether anything is different from what is in force.
    pub fn is_change(&self) -> bool {
        !Arc::ptr_eq(&self.fs.now().broker, &self.next.broker) || self.is_of_files()
    }

    /// Whether other files are served, or in another way.
    pub fn is_of_files(&self) -> bool {
        !Arc::ptr_eq(&self.fs.now().tree, &self.next.tree)
    }

    /// How many there will be.
    pub fn files(&self) -> usize {
        self.next.tree.len()
    }

    /// From here on every request sees the next generation. What the kernel keeps of files that
    /// are not what they were is dropped: may block.
    pub fn commit(self) {
        if self.is_change() {
            self.fs.take_over(self.next, self.seen);
        }
    }
}
