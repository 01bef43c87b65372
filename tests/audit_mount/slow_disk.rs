//! A disk that can be stopped: a filesystem with one file, whose writes wait for as long as a test
//! wants. Stopped, it is what a network that is gone makes of a disk.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyWrite, Request, TimeOrNow, WriteFlags, spawn_mount,
};

/// Its file is `audit.log`, and empty at first.
pub(crate) struct SlowDisk {
    at: PathBuf,
    state: Arc<Mutex<State>>,
    session: Option<BackgroundSession>,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    is_stopped: bool,
    waiting: Vec<(usize, Vec<u8>, ReplyWrite)>,
}

pub(crate) const LONG: Duration = Duration::from_secs(4);
const FILE: INodeNo = INodeNo(2);

impl SlowDisk {
    pub(crate) fn mount(at: &Path) -> Self {
        std::fs::create_dir(at).expect("a folder");
        let state = Arc::<Mutex<State>>::default();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("slow".into()), MountOption::DefaultPermissions];
        let session = spawn_mount(Server(state.clone()), at, &config).expect("it can be mounted");
        Self { at: at.to_owned(), state, session: Some(session) }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.state().bytes.clone()).unwrap()
    }

    /// From now on a write does not come back, for so long that a test fails, and no longer.
    pub(crate) fn stop(&self) {
        self.state().is_stopped = true;
        let state = Arc::downgrade(&self.state);
        thread::spawn(move || {
            thread::sleep(LONG);
            if let Some(state) = state.upgrade() {
                go_on(&state);
            }
        });
    }

    /// How many do not come back.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// What has waited is written, in its order.
    pub(crate) fn go_on(&self) {
        go_on(&self.state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        self.go_on();
        let _ = nix::mount::umount2(&self.at, nix::mount::MntFlags::MNT_DETACH);
        drop(self.session.take());
    }
}

impl State {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.bytes.resize(self.bytes.len().max(at + bytes.len()), 0);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

fn go_on(state: &Mutex<State>) {
    let mut state = state.lock().unwrap();
    state.is_stopped = false;
    for (at, bytes, reply) in std::mem::take(&mut state.waiting) {
        state.write(at, &bytes);
        reply.written(bytes.len() as u32);
    }
}

struct Server(Arc<Mutex<State>>);

impl Server {
    fn attr(&self, node: INodeNo) -> FileAttr {
        let (kind, perm, size) = match node {
            FILE => (FileType::RegularFile, 0o600, self.0.lock().unwrap().bytes.len() as u64),
            _ => (FileType::Directory, 0o700, 0),
        };
        FileAttr {
            ino: node,
            size,
            blocks: 1,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == "audit.log" {
            true => reply.entry(&Duration::ZERO, &self.attr(FILE), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::ZERO, &self.attr(node));
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let Some(size) = size {
            self.0.lock().unwrap().bytes.truncate(size as usize);
        }
        reply.attr(&Duration::ZERO, &self.attr(node));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.0.lock().unwrap();
        let start = state.bytes.len().min(offset as usize);
        reply.data(&state.bytes[start..state.bytes.len().min(start + size as usize)]);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: fuser::ReplyOpen) {
        reply.opened(FileHandle(1), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.0.lock().unwrap();
        if state.is_stopped {
            state.waiting.push((offset as usize, data.to_vec(), reply));
            return;
        }
        state.write(offset as usize, data);
        reply.written(data.len() as u32);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }
}
