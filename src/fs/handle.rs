//! What an open handle pins: a snapshot, for the uid that opened it, under the rules that let it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::nodes::NodeId;
use super::snapshot::Snapshot;

pub struct Handle {
    pub node: NodeId,
    pub snapshot: Arc<Snapshot>,
    pub uid: u32,
    /// The policy generation of the grant.
    pub generation: u64,
}

#[derive(Default)]
pub struct Handles {
    next: AtomicU64,
    /// Guards the table only; a handle itself never changes.
    open: Mutex<HashMap<u64, Arc<Handle>>>,
}

impl Handles {
    pub fn insert(&self, handle: Handle) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.table().insert(id, Arc::new(handle));
        id
    }

    pub fn get(&self, id: u64) -> Option<Arc<Handle>> {
        self.table().get(&id).cloned()
    }

    pub fn remove(&self, id: u64) -> Option<Arc<Handle>> {
        self.table().remove(&id)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, Arc<Handle>>> {
        self.open.lock().expect("nothing panics while it holds this")
    }
}
