//! Notices edits of templates (inotify(7)), so that the next lookup sees them. Uses nix.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::tree::SUFFIX;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

pub struct Watch {
    inotify: Option<Inotify>,
    /// Guards the folders by their descriptor: one folder may be known by several paths.
    folders: Mutex<HashMap<WatchDescriptor, BTreeSet<Arc<Path>>>>,
    /// Guards the folders that cannot be watched, whose edits are looked for each second.
    unwatched: Mutex<BTreeSet<Arc<Path>>>,
}

/// What changed since the last look.
#[derive(Default)]
pub struct Changes {
    pub edited: BTreeSet<PathBuf>,
    /// Files came or went: the tree has to be read again.
    pub shape: bool,
    /// Events were lost: anything may have changed.
    pub lost: bool,
}

const INTEREST: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(SHAPE)
    .union(AddWatchFlags::IN_ONLYDIR);

const SHAPE: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

impl Watch {
    pub fn start() -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)
            .inspect_err(|errno| tracing::warn!(%errno, "no inotify: edits are seen within a second"))
            .ok();
        Self { inotify, folders: Mutex::default(), unwatched: Mutex::default() }
    }

    /// Watches this folder, too. Answers whether that is news: then what happened in it before is
    /// still to be looked for. A folder that is watched already stays as it is.
    pub fn add(&self, folder: &Arc<Path>) -> bool {
        let added = match &self.inotify {
            Some(inotify) => inotify.add_watch(&**folder, INTEREST),
            None => Err(Errno::ENOSYS),
        };
        match added {
            Ok(descriptor) => {
                if self.unwatched().remove(folder) {
                    tracing::warn!(folder = %folder.display(), "is watched again");
                }
                self.folders().entry(descriptor).or_default().insert(folder.clone())
            }
            Err(errno) => {
                if self.unwatched().insert(folder.clone()) && self.inotify.is_some() {
                    let hint =
                        if errno == Errno::ENOSPC { "; raise fs.inotify.max_user_watches" } else { "" };
                    tracing::warn!(folder = %folder.display(), %errno, "cannot be watched: edits are seen within a second{hint}");
                }
                false
            }
        }
    }

    /// The folders that cannot be watched for now.
    pub fn missed(&self) -> Vec<Arc<Path>> {
        self.unwatched().iter().cloned().collect()
    }

    /// What is no folder of templates any more need not be looked at.
    pub fn keep(&self, is_wanted: impl Fn(&Path) -> bool) {
        self.unwatched().retain(|folder| is_wanted(folder));
    }

    /// All that happened since the last call. One system call when nothing did.
    pub fn drain(&self) -> Changes {
        let mut changes = Changes::default();
        let Some(inotify) = &self.inotify else { return changes };
        loop {
            match inotify.read_events() {
                Ok(events) => events.into_iter().for_each(|event| self.note(event, &mut changes)),
                Err(Errno::EINTR) => {}
                Err(_) => return changes,
            }
        }
    }

    fn note(&self, event: InotifyEvent, changes: &mut Changes) {
        changes.lost |= event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
        let is_folder = event.mask.contains(AddWatchFlags::IN_ISDIR);
        let is_template =
            event.name.as_deref().is_none_or(|name| name.as_bytes().ends_with(SUFFIX.as_bytes()));
        changes.shape |= event.mask.intersects(SHAPE) && (is_folder || is_template);
        let mut folders = self.folders();
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            folders.remove(&event.wd);
        } else if let (Some(folder), Some(name)) = (folders.get(&event.wd), event.name) {
            changes.edited.extend(folder.iter().map(|folder| folder.join(&name)));
        }
    }

    fn folders(&self) -> MutexGuard<'_, HashMap<WatchDescriptor, BTreeSet<Arc<Path>>>> {
        self.folders.lock().expect("nothing panics while it holds this")
    }

    fn unwatched(&self) -> MutexGuard<'_, BTreeSet<Arc<Path>>> {
        self.unwatched.lock().expect("nothing panics while it holds this")
    }
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.edited.is_empty() && !self.shape && !self.lost
    }
}
