//! What an open handle pins: a snapshot, for the uid that opened it, under the rules that let it.
//! Each is kept for the next process, with how far its OPEN has come. Uses `ledger`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard};

use super::nodes::NodeId;
use super::snapshot::Snapshot;
use crate::ledger::{Kept, Kind, Ledger, Record};

pub struct Handle {
    pub node: NodeId,
    pub snapshot: Arc<Snapshot>,
    pub uid: u32,
    pub shows_real: bool,
    /// The generation that let the reader go on last.
    pub generation: AtomicU64,
    /// The generation that cut it off, as the log has it.
    pub cut: AtomicU64,
    /// The thread that was last seen to read with credentials of its own; 0 is none.
    pub thread: AtomicU32,
    /// For the next process.
    pub record: Option<Record>,
}

#[derive(Default)]
pub struct Handles {
    /// Guards the table only; what a handle reads never changes.
    open: Mutex<HashMap<u64, Arc<Handle>>>,
    /// Guards those of which nobody knows whether the kernel heard of them, by the request that
    /// the process before was answering when it died.
    uncertain: Mutex<HashMap<u64, u64>>,
}

/// A handle that another process has opened.
pub struct Inherited {
    pub id: u64,
    pub node: NodeId,
    pub snapshot: u64,
    pub uid: u32,
    request: u64,
    pub record: Record,
}

/// Where a record says how far the OPEN has come: the kernel knows of none (not answered yet, or closed
/// again), or the number of the request that is being answered, or answered.
const PROGRESS: usize = 3;
const UNKNOWN: u64 = 0;
const ANSWERED: u64 = u64::MAX;

impl Handles {
    pub fn insert(&self, ledger: &Ledger, mut handle: Handle) -> u64 {
        let id = ledger.number();
        if ledger.keeps() {
            handle.record = handle.snapshot.keep(ledger).and_then(|snapshot| {
                ledger.keep(Kind::Handle, id, &[handle.node, snapshot, handle.uid.into(), UNKNOWN], &[])
            });
        }
        self.table().insert(id, Arc::new(handle));
        id
    }

    pub fn count(&self) -> usize {
        self.table().len()
    }

    pub fn get(&self, id: u64) -> Option<Arc<Handle>> {
        self.table().get(&id).cloned()
    }

    /// Who still answers by it does not keep it for the next process: nothing would ever close it there.
    pub fn remove(&self, id: u64) -> Option<Arc<Handle>> {
        let handle = self.table().remove(&id)?;
        handle.record.iter().for_each(|record| record.set(PROGRESS, UNKNOWN));
        Some(handle)
    }

    /// The answer to this request is about to tell the kernel of the handle.
    pub fn answering(&self, id: u64, request: u64) {
        self.progress(id, request);
    }

    pub fn answered(&self, id: u64) {
        self.progress(id, ANSWERED);
    }

    fn progress(&self, id: u64, progress: u64) {
        if let Some(record) = self.table().get(&id).and_then(|handle| handle.record.as_ref()) {
            record.set(PROGRESS, progress);
        }
    }

    /// This request has come again: the kernel never heard of the handle that was to answer it.
    pub fn unheard(&self, request: u64) -> Option<u64> {
        self.uncertain().remove(&request)
    }

    pub fn restore(&self, inherited: Inherited, snapshot: Arc<Snapshot>, shows_real: bool) {
        let Inherited { id, node, uid, request, record, .. } = inherited;
        if request != ANSWERED {
            self.uncertain().insert(request, id);
        }
        // Its reader is judged by the rules of this process first.
        let (generation, thread) = (AtomicU64::new(0), AtomicU32::new(0));
        let (cut, record) = (AtomicU64::new(0), Some(record));
        let handle = Handle { node, snapshot, uid, shows_real, generation, cut, thread, record };
        self.table().insert(id, Arc::new(handle));
    }

    /// The kernel has forgotten the node, and so every handle of it.
    pub fn remove_of(&self, node: NodeId) {
        self.table().retain(|_, handle| handle.node != node);
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, Arc<Handle>>> {
        self.open.lock().expect("nothing panics while it holds this")
    }

    fn uncertain(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.uncertain.lock().expect("nothing panics while it holds this")
    }
}

impl Inherited {
    /// What another process has kept. One that the kernel does not know of is none.
    pub fn of(kept: Kept) -> Option<Self> {
        let [node, snapshot, uid, request] = *kept.words else { return None };
        let uid = u32::try_from(uid).ok()?;
        (request != UNKNOWN).then_some(Self {
            id: kept.id,
            node,
            snapshot,
            uid,
            request,
            record: kept.record,
        })
    }
}
