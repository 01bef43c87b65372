//! The filesystem without the kernel: lookup, getattr, open, read, release, readdir. Answers at
//! once or with a future for the pool; knows no `fuser` types. Uses the broker and below.

mod asking;
mod deadline;
mod edits;
pub mod errno;
pub mod explain;
pub mod fuse;
mod generation;
pub mod handle;
pub mod holders;
mod inherit;
mod janitor;
mod judging;
mod listing;
mod loading;
pub mod mountpoint;
pub mod mounts;
pub mod nodes;
mod open;
mod reading;
mod reasons;
pub mod render;
mod request;
mod returned;
pub mod session;
mod sets;
mod slices;
pub mod snapshot;
pub mod source;
pub mod tree;
pub mod unmount;
pub mod watch;
mod whom;
mod wire;
mod written;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::SystemTime;

use crate::broker::Broker;
use crate::caller::Caller;
use crate::ledger::Ledger;
use crate::policy::{Grant, Ownership};
use crate::provider::BoxFuture;
use crate::reactions::Reactions;
use crate::template::Template;
use deadline::Deadlines;
use edits::Edits;
use errno::Errno;
pub use generation::Change;
use generation::{Generation, Generations};
use handle::Handles;
use inherit::Agreed;
use listing::Listings;
use loading::Loading;
use nodes::{Content, FIRST_NODE, NodeId, Nodes, Place, View};
pub use reading::Told;
use reading::Watching;
pub use reasons::{REASON, STALE};
use render::Flights;
use returned::Returned;
use sets::Sets;
use snapshot::Snapshot;
use tree::{Entry, File, Layout};
use watch::Watch;

pub struct SecretFs {
    generations: Generations,
    /// Guards all bookkeeping of nodes; held for lookups in tables only.
    nodes: Mutex<Nodes>,
    handles: Handles,
    listings: Listings,
    flights: Flights,
    sets: Sets,
    returned: Returned,
    loading: Loading,
    deadlines: Deadlines,
    /// Held while a node takes another snapshot.
    adopting: tokio::sync::Mutex<()>,
    edits: Edits,
    watch: Watch,
    kernel: OnceLock<Box<dyn Kernel>>,
    ledger: OnceLock<Ledger>,
    /// Where it is mounted, if its readers are to be known.
    watched: OnceLock<(PathBuf, Arc<Reactions>)>,
    watching: OnceLock<Watching>,
    agreed: OnceLock<Agreed>,
}

/// What the filesystem tells the kernel without being asked. Calls may block: never from a thread
/// that serves requests.
pub trait Kernel: Send + Sync {
    /// Drops the pages and attributes of a node.
    fn forget_content(&self, node: NodeId);
    /// Makes the kernel believe in a size that grew: stores the last byte.
    fn store_last(&self, node: NodeId, size: u64, last: u8);
    /// Whether it has such a node. Drops the attributes.
    fn knows(&self, node: NodeId) -> bool;
}

/// An answer now, or one that needs the pool. A future ends within the deadline of its file.
pub enum Reply<T> {
    Now(Result<T, Errno>),
    Later(BoxFuture<'static, Result<T, Errno>>),
}

/// What `stat` shows.
#[derive(Clone, Copy, Debug)]
pub struct Attr {
    pub id: u64,
    pub is_dir: bool,
    pub size: u64,
    pub mtime: SystemTime,
    pub ownership: Ownership,
    /// Whether the kernel may keep it until it is told otherwise.
    pub lasts: bool,
}

impl SecretFs {
    pub fn new(broker: Arc<Broker>, layout: Layout) -> Result<Arc<Self>, tree::TreeError> {
        let fs = Arc::new(Self {
            generations: Generations::begin(broker, layout)?,
            nodes: Mutex::default(),
            handles: Handles::default(),
            listings: Listings::default(),
            flights: Flights::default(),
            sets: Sets::default(),
            returned: Returned::default(),
            loading: Loading::default(),
            deadlines: Deadlines::start(),
            adopting: tokio::sync::Mutex::default(),
            edits: Edits::default(),
            watch: Watch::start(),
            kernel: OnceLock::new(),
            ledger: OnceLock::new(),
            watched: OnceLock::new(),
            watching: OnceLock::new(),
            agreed: OnceLock::new(),
        });
        fs.watch_folders(&fs.now().tree);
        Ok(fs)
    }

    /// The way back to the kernel; known only once the mount exists.
    pub fn connect(&self, kernel: Box<dyn Kernel>) {
        // A second connection would mean two mounts on one filesystem; the first one stays.
        let _ = self.kernel.set(kernel);
    }

    pub fn files(&self) -> usize {
        self.now().tree.len()
    }

    /// Requests that could not be answered at once, and wait.
    pub fn unanswered(&self) -> usize {
        self.deadlines.count()
    }

    pub fn open_handles(&self) -> usize {
        self.handles.count()
    }

    /// Those that the kernel holds, and those that are ready for it.
    pub fn known_nodes(&self) -> usize {
        self.nodes().count()
    }

    /// LOOKUP: finds the caller's view and its current snapshot, so that the size is exact.
    /// Replies at once, or from the pool within the file's deadline.
    pub fn lookup(
        self: &Arc<Self>,
        caller: Caller,
        parent: u64,
        name: &OsStr,
        reply: impl FnOnce(Result<Attr, Errno>) + Send + 'static,
    ) {
        if self.notice_edits() && !self.is_settled(parent, name) {
            let (this, name) = (self.clone(), name.to_owned());
            self.rescan_in_time(move |is_done| match is_done || this.is_known(parent, &name) {
                true => this.lookup_in_tree(caller, parent, &name, reply),
                false => reply(Err(Errno::TIMEDOUT)),
            });
            return;
        }
        self.lookup_in_tree(caller, parent, name, reply);
    }

    fn is_known(&self, parent: u64, name: &OsStr) -> bool {
        self.now().tree.dir(parent).and_then(|dir| dir.entry(name)).is_some()
    }

    /// A file that nothing has happened to: it need not wait while many others are found.
    fn is_settled(&self, parent: u64, name: &OsStr) -> bool {
        let now = self.now();
        let entry = now.tree.dir(parent).and_then(|dir| dir.entry(name));
        let file =
            entry.and_then(|entry| if let Entry::File(id) = entry { now.tree.file(*id) } else { None });
        file.is_some_and(|file| file.source.ready().is_some())
    }

    fn lookup_in_tree(
        self: &Arc<Self>,
        caller: Caller,
        parent: u64,
        name: &OsStr,
        reply: impl FnOnce(Result<Attr, Errno>) + Send + 'static,
    ) {
        let now = self.now();
        let Some(dir) = now.tree.dir(parent) else { return reply(Err(Errno::NOENT)) };
        if !now.may_enter(&caller, 0o1) {
            return reply(Err(Errno::ACCES));
        }
        let file = match dir.entry(name) {
            None => return reply(Err(Errno::NOENT)),
            Some(Entry::Dir(id)) => return reply(now.dir_attr(*id)),
            Some(Entry::File(id)) => now.file(*id),
        };
        let Ok(file) = file else { return reply(Err(Errno::NOENT)) };
        match self.lookup_ready(&now, &caller, &file) {
            Some(attr) => reply(Ok(attr)),
            None => self.lookup_rendered(caller, now, file, move |attr| reply(Ok(attr))),
        }
    }

    /// The answer if nothing has to be loaded or rendered.
    fn lookup_ready(&self, now: &Generation, caller: &Caller, file: &File) -> Option<Attr> {
        let loaded = file.source.ready()?;
        let template = loaded.template.as_ref().ok()?;
        let place = match now.judge_at_once(caller, file, template.keys())? {
            Ok(grant) => Place { file: file.id, view: view_of(caller, template, &grant) },
            Err(_) => return Some(self.looked_bare(caller, file)),
        };
        let sets = self.sets.of(file, template);
        if !sets.is_empty() {
            return self.lookup_in_set(now, caller, &place, template, &sets);
        }
        let (node, snapshot) = self.nodes().current(&place)?.clone();
        if !snapshot.rests_on(template, |basis| now.broker.is_still(basis)) {
            return None;
        }
        let node = self.nodes().hand_out(node, &place, &snapshot, caller.pid);
        Some(filled(node, &snapshot))
    }

    fn looked_bare(&self, caller: &Caller, file: &File) -> Attr {
        let mut nodes = self.nodes();
        let node = nodes.bare(file.id);
        nodes.looked(node, caller.pid);
        empty(node, file)
    }

    /// GETATTR of a node. A node that nobody has open follows its file, so that who polls `stat`
    /// on a bound file sees a change.
    pub fn getattr(self: &Arc<Self>, caller: Caller, id: u64) -> Reply<Attr> {
        if id < FIRST_NODE {
            return Reply::Now(self.now().dir_attr(id));
        }
        let nodes = self.nodes();
        let Some(node) = nodes.get(id) else { return Reply::Now(Err(Errno::STALE)) };
        let place = match &node.content {
            Content::Filled(place, snapshot) if node.handles > 0 || nodes.is_current(place, snapshot) => {
                return Reply::Now(Ok(filled(id, snapshot)));
            }
            Content::Bare(file) => return Reply::Now(self.now().file(*file).map(|file| empty(id, &file))),
            Content::Failed(place, _) => {
                return Reply::Now(self.now().file(place.file).map(|file| empty(id, &file)));
            }
            Content::Filled(place, _) | Content::Wiped(place, _) => place.clone(),
        };
        drop(nodes);
        if let Some(attr) = self.denied_attr(&caller, id, &place) {
            return Reply::Now(attr);
        }
        let this = self.clone();
        Reply::Later(Box::pin(async move { this.follow(caller, id, place).await }))
    }

    /// Who is denied a file has nothing rendered or fetched, not even for its size.
    fn denied_attr(&self, caller: &Caller, id: NodeId, place: &Place) -> Option<Result<Attr, Errno>> {
        let now = self.now();
        let file = now.file(place.file).ok()?;
        now.judge_at_once(caller, &file, &written::known_keys(&file))?.err()?;
        let nodes = self.nodes();
        Some(Ok(match &nodes.get(id)?.content {
            Content::Filled(_, snapshot) => Attr { lasts: false, ..filled(id, snapshot) },
            _ => empty(id, &file),
        }))
    }

    /// SEEK_DATA and SEEK_HOLE: the whole file is data, with a hole at its end (lseek(2)).
    pub fn seek(&self, handle: u64, offset: i64, whence: i32) -> Result<i64, Errno> {
        let handle = self.handles.get(handle).ok_or(Errno::BADF)?;
        let size = handle.snapshot.size() as i64;
        match whence {
            libc::SEEK_DATA | libc::SEEK_HOLE if offset < 0 || offset >= size => Err(Errno::NXIO),
            libc::SEEK_DATA => Ok(offset),
            libc::SEEK_HOLE => Ok(size),
            _ => Err(Errno::INVAL),
        }
    }

    pub fn release(&self, handle: u64) {
        if let Some(handle) = self.handles.remove(handle) {
            self.nodes().closed(handle.node);
        }
    }

    pub fn forget(&self, node: u64, count: u64) {
        if node >= FIRST_NODE {
            self.nodes().forget(node, count);
        }
    }

    /// ACCESS: the verdict, without rendering. `bits` as in access(2).
    pub fn access(&self, caller: &Caller, id: u64, bits: i32) -> Result<(), Errno> {
        if bits & libc::W_OK != 0 {
            return Err(Errno::ROFS);
        }
        if id < FIRST_NODE {
            return if self.now().may_enter(caller, bits as u16) { Ok(()) } else { Err(Errno::ACCES) };
        }
        if bits & libc::X_OK != 0 {
            return Err(Errno::ACCES);
        }
        let (now, file) = (self.now(), self.nodes().get(id).ok_or(Errno::STALE)?.content.file());
        let file = now.file(file)?;
        let template = file.source.last().and_then(|loaded| loaded.template.clone().ok());
        let keys = template.as_ref().map_or(&[][..], |template| template.keys());
        // What would have to be waited for, the open says.
        let readable = || now.judge_at_once(caller, &file, keys).is_none_or(|it| it.is_ok());
        if bits & libc::R_OK == 0 || readable() { Ok(()) } else { Err(Errno::ACCES) }
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().expect("nothing panics while it holds this")
    }
}

impl<T: Send + 'static> Reply<T> {
    /// The outcome, however it comes.
    pub async fn finish(self) -> Result<T, Errno> {
        match self {
            Self::Now(outcome) => outcome,
            Self::Later(future) => future.await,
        }
    }
}

fn filled(id: NodeId, snapshot: &Snapshot) -> Attr {
    Attr {
        id,
        is_dir: false,
        size: snapshot.size(),
        mtime: snapshot.mtime,
        ownership: snapshot.ownership,
        lasts: true,
    }
}

/// A node without content: what a caller sees who may not read, or a file that failed.
fn empty(id: NodeId, file: &File) -> Attr {
    Attr {
        id,
        is_dir: false,
        size: 0,
        mtime: SystemTime::UNIX_EPOCH,
        ownership: file.spec.ownership,
        lasts: false,
    }
}

/// All who get the real values share one view, and all who do not; unless the template asks who
/// reads.
fn view_of(caller: &Caller, template: &Template, grant: &Grant) -> View {
    let reader = render::reader_of(caller, template);
    View::of(reader.as_ref().map(render::view_key), grant.shows_real())
}
