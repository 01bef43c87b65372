//! The yardstick: a `fuser` filesystem that does nothing. One 4 KiB file from memory, nothing kept
//! by the kernel (TTL 0), as many threads and the same open flags as the real one.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, Request, SessionACL,
};

pub(crate) const NAME: &str = "file";
const THREADS: usize = 3;
const FILE: INodeNo = INodeNo(2);

struct Idle(Vec<u8>);

/// Serves until it is unmounted or killed; says on stdout when it answers.
pub(crate) fn serve(mountpoint: &Path) {
    let mut config = Config::default();
    config.n_threads = Some(THREADS);
    config.acl = SessionACL::All;
    config.mount_options =
        vec![MountOption::RO, MountOption::NoSuid, MountOption::NoDev, MountOption::NoExec];
    let content = vec![b'x'; super::reads::SIZE];
    let session = fuser::Session::new(Idle(content), mountpoint, &config).expect("a mount");
    println!("ready");
    std::io::stdout().flush().expect("stdout");
    session.run().expect("served");
}

impl Filesystem for Idle {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == NAME {
            true => reply.entry(&Duration::ZERO, &self.attr(FILE), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::ZERO, &self.attr(node));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH);
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
        let start = self.0.len().min(offset as usize);
        let end = self.0.len().min(start + size as usize);
        reply.data(&self.0[start..end]);
    }
}

impl Idle {
    fn attr(&self, node: INodeNo) -> FileAttr {
        let is_file = node == FILE;
        FileAttr {
            ino: node,
            size: if is_file { self.0.len() as u64 } else { 0 },
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o444 } else { 0o555 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}
