//! READDIR: a folder is listed as it was when it was opened, page by page, so that a change between
//! two pages neither repeats nor drops an entry. Uses `tree`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use super::errno::Errno;
use super::nodes::FIRST_NODE;
use super::tree::{Dir, DirId, Entry, Tree};
use super::{Reply, SecretFs};
use crate::caller::Caller;

/// One entry of a folder's listing.
pub struct Listed<'a> {
    pub id: u64,
    pub is_dir: bool,
    pub name: &'a OsStr,
}

/// Folders that are open for listing.
#[derive(Default)]
pub(super) struct Listings {
    /// Guards the table only; a tree itself never changes.
    open: Mutex<HashMap<u64, (DirId, Arc<Tree>)>>,
}

impl SecretFs {
    /// OPENDIR: who may list is decided here; everything is listed, also what may not be read.
    pub fn open_dir(self: &Arc<Self>, caller: Caller, dir: DirId) -> Reply<u64> {
        if !self.notice_edits() {
            return Reply::Now(self.opened_dir(&caller, dir));
        }
        let (tell, told) = oneshot::channel();
        self.rescan_in_time(|_| {
            let _ = tell.send(());
        });
        let this = self.clone();
        Reply::Later(Box::pin(async move {
            // What was known before is listed if the disk does not answer.
            let _ = told.await;
            this.opened_dir(&caller, dir)
        }))
    }

    fn opened_dir(&self, caller: &Caller, dir: DirId) -> Result<u64, Errno> {
        let now = self.now();
        if !now.may_enter(caller, 0o4) {
            return Err(Errno::ACCES);
        }
        now.tree.dir(dir).ok_or(Errno::NOTDIR)?;
        let handle = self.ledger().number();
        self.listings.table().insert(handle, (dir, now.tree.clone()));
        Ok(handle)
    }

    /// READDIR: hands out entries from `offset` on, each with the offset of the next, until `take`
    /// has enough. A handle that another process gave out lists what there is now.
    pub fn list(
        &self,
        handle: u64,
        dir: DirId,
        offset: u64,
        mut take: impl FnMut(Listed<'_>, u64) -> bool,
    ) -> Result<(), Errno> {
        let (id, tree) = self.listings.get_or(handle, || (dir, self.now().tree.clone()));
        // From the start again (rewinddir): what there is now.
        let tree = if offset == 0 { self.listings.renew(handle, self.now().tree.clone()) } else { tree };
        let dir = tree.dir(id).ok_or(Errno::NOTDIR)?;
        for position in usize::try_from(offset).unwrap_or(usize::MAX)..dir.entries.len() + 2 {
            if take(listed(id, dir, position), position as u64 + 1) {
                break;
            }
        }
        Ok(())
    }

    pub fn close_dir(&self, handle: u64) {
        self.listings.table().remove(&handle);
    }
}

/// The entry at a position: the folder itself, the one above, then its own.
fn listed(id: DirId, dir: &Dir, position: usize) -> Listed<'_> {
    match position {
        0 => Listed { id, is_dir: true, name: OsStr::new(".") },
        1 => Listed { id: dir.parent, is_dir: true, name: OsStr::new("..") },
        _ => match &dir.entries[position - 2] {
            (name, Entry::Dir(id)) => Listed { id: *id, is_dir: true, name },
            (name, Entry::File(id)) => Listed { id: FIRST_NODE + (*id >> 12), is_dir: false, name },
        },
    }
}

impl Listings {
    fn get_or(&self, handle: u64, new: impl FnOnce() -> (DirId, Arc<Tree>)) -> (DirId, Arc<Tree>) {
        self.table().entry(handle).or_insert_with(new).clone()
    }

    fn renew(&self, handle: u64, tree: Arc<Tree>) -> Arc<Tree> {
        if let Some((_, held)) = self.table().get_mut(&handle) {
            *held = tree.clone();
        }
        tree
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, (DirId, Arc<Tree>)>> {
        self.open.lock().expect("nothing panics while it holds this")
    }
}
