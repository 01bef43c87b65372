//! The adapter between the kernel's requests and [`SecretFs`]: translates, replies, and decides
//! nothing. With `session` the only file that names `fuser` types.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use fuser::{
    AccessFlags, Errno as FuseErrno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, Notifier, OpenFlags, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr,
    Request,
};
use tokio::runtime::Handle;

use super::deadline::{Deadline, Once};
use super::errno::Errno;
use super::nodes::NodeId;
use super::wire::{self, Agreement, Notice, RESENT};
use super::{Attr, Kernel, REASON, Reply, STALE, SecretFs};
use crate::caller::Caller;
use crate::metrics::{self, Operation, Pace};

pub struct Adapter {
    fs: Arc<SecretFs>,
    pool: Handle,
}

/// Entries expire at once: each open and each `stat(path)` picks its node anew.
const NOW: Duration = Duration::ZERO;
/// Attributes of a filled node never change.
const ALWAYS: Duration = Duration::from_secs(u32::MAX as u64);

impl Adapter {
    pub fn new(fs: Arc<SecretFs>, pool: Handle) -> Self {
        Self { fs, pool }
    }

    /// Who asks. Whoever watches us sees that a request was taken up.
    fn begin(&self, request: &Request) -> Caller {
        self.fs.ledger().tick();
        Caller { uid: request.uid(), gid: request.gid(), pid: request.pid() }
    }

    /// Whether one process after the other has ended when it was asked this, so that nobody is any more.
    fn is_deadly(&self, request: &Request) -> bool {
        let number = request.unique().0;
        number & RESENT != 0 && self.fs.has_come_too_often(number & !RESENT)
    }

    /// Replies at once, or from the pool.
    fn answer<T: Send + 'static>(
        &self,
        reply: Reply<T>,
        send: impl FnOnce(Result<T, Errno>) + Send + 'static,
    ) {
        match reply {
            Reply::Now(outcome) => send(outcome),
            Reply::Later(future) => drop(self.pool.spawn(async move { send(future.await) })),
        }
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Each flag where the kernel has it; without them mmap(MAP_SHARED) fails (before 6.6) and
        // lookups in one folder wait for each other.
        for flag in
            [InitFlags::FUSE_PARALLEL_DIROPS, InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP, InitFlags::FUSE_ASYNC_DIO]
        {
            let _ = config.add_capabilities(flag);
        }
        let version = (config.kernel_abi().0, config.kernel_abi().1);
        self.fs.agree(Agreement { version, flags: config.capabilities().bits() });
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if self.is_deadly(request) {
            return reply.error(Errno::IO.into());
        }
        let _pool = self.pool.enter();
        let timed = Timed::begin(Operation::Lookup);
        self.fs.lookup(self.begin(request), parent.0, name, move |outcome| {
            timed.answered(&outcome);
            match outcome {
                Ok(attr) => reply.entry_with_ttls(&ttl(&attr), &NOW, &file_attr(&attr), Generation(0)),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn forget(&self, _: &Request, node: INodeNo, count: u64) {
        self.fs.forget(node.0, count);
    }

    fn getattr(&self, request: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if self.is_deadly(request) {
            return reply.error(Errno::IO.into());
        }
        self.answer(self.fs.getattr(self.begin(request), node.0), move |outcome| {
            count(Operation::Getattr, &outcome);
            match outcome {
                Ok(attr) => reply.attr(&ttl(&attr), &file_attr(&attr)),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn open(&self, request: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let number = request.unique().0 & !RESENT;
        if request.unique().0 & RESENT != 0 {
            self.fs.resent(number);
        }
        if self.is_deadly(request) {
            return reply.error(Errno::IO.into());
        }
        let timed = Timed::begin(Operation::Open);
        let (fs, own) = (self.fs.clone(), self.fs.clone());
        let answer = Once::new(move |outcome: Result<u64, Errno>| {
            timed.answered(&outcome);
            match outcome {
                Ok(handle) => fs.answer_open(handle, number, || {
                    reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH);
                }),
                Err(errno) => reply.error(errno.into()),
            }
        });
        let watch = own.watch_open(&answer);
        let opened = own.open(self.begin(request), node.0);
        watch.into_iter().for_each(Deadline::met);
        self.answer(opened, move |outcome| {
            if let Some(Ok(handle)) = answer.give(outcome) {
                own.release(handle);
            }
        });
    }

    fn read(
        &self,
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _pool = self.pool.enter();
        self.fs.read(self.begin(request), handle.0, offset, size, move |outcome| {
            count(Operation::Read, &outcome);
            match outcome {
                Ok(bytes) => reply.data(bytes),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.fs.release(handle.0);
        reply.ok();
    }

    fn lseek(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        match self.fs.seek(handle.0, offset, whence) {
            Ok(offset) => reply.offset(offset),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn opendir(&self, request: &Request, dir: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let _pool = self.pool.enter();
        let opened = self.fs.open_dir(self.begin(request), dir.0);
        self.answer(opened, move |outcome| {
            count(Operation::Opendir, &outcome);
            match outcome {
                Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn readdir(&self, _: &Request, dir: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.fs.list(handle.0, dir.0, offset, |entry, next| {
            let kind = if entry.is_dir { FileType::Directory } else { FileType::RegularFile };
            reply.add(INodeNo(entry.id), next, kind, entry.name)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.fs.close_dir(handle.0);
        reply.ok();
    }

    fn access(&self, request: &Request, node: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        match self.fs.access(&self.begin(request), node.0, mask.bits()) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn getxattr(&self, request: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let value = match name.to_str() {
            Some(REASON) => self.fs.reason(&self.begin(request), node.0),
            Some(STALE) => self.fs.staleness(node.0),
            _ => Err(Errno::NODATA),
        };
        answer_xattr(value.map(String::into_bytes), size, reply);
    }

    fn listxattr(&self, request: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        let reason = self.fs.reason(&self.begin(request), node.0);
        let there = [(REASON, reason), (STALE, self.fs.staleness(node.0))];
        let names = there.iter().filter(|(_, text)| text.is_ok()).map(|(name, _)| format!("{name}\0"));
        answer_xattr(Ok(names.collect::<String>().into_bytes()), size, reply);
    }

    /// Never ENOSYS, which would switch the call off for the whole mount.
    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::NOTTY.into());
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(0, 0, 0, self.fs.files() as u64, 0, 4096, 255, 4096);
    }
}

/// What goes back to the kernel on our own account.
pub struct Told {
    pub notifier: Notifier,
    pub device: OwnedFd,
}

impl Kernel for Told {
    fn forget_content(&self, node: NodeId) {
        // The kernel may have forgotten the node already; then there is nothing to drop.
        let _ = self.notifier.inval_inode(INodeNo(node), 0, 0);
    }

    fn store_last(&self, node: NodeId, size: u64, last: u8) {
        let _ = self.notifier.store(INodeNo(node), size - 1, &[last]);
    }

    /// fuser's own call does not tell.
    fn knows(&self, node: NodeId) -> bool {
        wire::notify(self.device.as_fd(), Notice::DropAttributes(node)).unwrap_or(true)
    }
}

/// A request whose time to the answer is told.
struct Timed {
    operation: Operation,
    since: Instant,
    thread: ThreadId,
}

impl Timed {
    fn begin(operation: Operation) -> Self {
        Self { operation, since: Instant::now(), thread: thread::current().id() }
    }

    fn answered<T>(&self, outcome: &Result<T, Errno>) {
        count(self.operation, outcome);
        // Who serves answers at once, or lets others do it.
        let pace = if thread::current().id() == self.thread { Pace::Ready } else { Pace::Waited };
        metrics::get().took(self.operation, pace, self.since);
    }
}

fn count<T>(operation: Operation, outcome: &Result<T, Errno>) {
    metrics::get().answered(operation, outcome.as_ref().err().map_or(0, |errno| errno.0));
}

fn answer_xattr(value: Result<Vec<u8>, Errno>, size: u32, reply: ReplyXattr) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() <= size as usize => reply.data(&value),
        Ok(_) => reply.error(Errno::RANGE.into()),
        Err(errno) => reply.error(errno.into()),
    }
}

fn ttl(attr: &Attr) -> Duration {
    if attr.lasts { ALWAYS } else { NOW }
}

fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.id),
        size: attr.size,
        blocks: attr.size.div_ceil(512),
        atime: attr.mtime,
        mtime: attr.mtime,
        ctime: attr.mtime,
        crtime: attr.mtime,
        kind: if attr.is_dir { FileType::Directory } else { FileType::RegularFile },
        perm: attr.ownership.mode,
        nlink: if attr.is_dir { 2 } else { 1 },
        uid: attr.ownership.uid,
        gid: attr.ownership.gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl From<Errno> for FuseErrno {
    fn from(errno: Errno) -> Self {
        Self::from_i32(errno.0)
    }
}
