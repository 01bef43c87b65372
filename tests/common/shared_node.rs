//! A filesystem that does what ours must not: one node for every snapshot of its one file. Direct
//! I/O and no caching, so that plain reads look right. The control of the tests that need one.
//!
//! It runs in a process of its own: a process that reads a mapping of a mount that it serves
//! itself waits for itself.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    Request, Session, SessionACL,
};

/// Makes the content of one open from its uid.
pub type Content = Box<dyn Fn(u32) -> Vec<u8> + Send + Sync>;

/// The mount in its process; both end with this.
pub struct SharedNode {
    at: tempfile::TempDir,
    server: Child,
}

const PLACE: &str = "SECRETFS_TEST_CONTROL";

impl SharedNode {
    /// Starts this very test program once more, for the one test that calls [`serve`].
    pub fn start(serving_test: &str) -> Self {
        let at = tempfile::tempdir().expect("a folder");
        // Other users are to read it.
        std::fs::set_permissions(at.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("chmod");
        let mut server = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", serving_test, "--ignored", "--nocapture"])
            .env(PLACE, at.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines();
        lines
            .find(|line| line.as_ref().is_ok_and(|line| line.ends_with("control serves")))
            .expect("it serves")
            .expect("utf-8");
        Self { at, server }
    }

    pub fn file(&self) -> PathBuf {
        self.at.path().join("f")
    }
}

impl Drop for SharedNode {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = nix::mount::umount2(self.at.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

/// The other side of [`SharedNode::start`]: serves until it is killed.
pub fn serve(content: Content) {
    let at = std::env::var_os(PLACE).expect("only to be run by the test that needs it");
    let fs = Server { content, open: Mutex::default(), next: AtomicU64::new(1) };
    let mut config = Config::default();
    config.mount_options = vec![MountOption::RO, MountOption::FSName("control".into())];
    config.acl = SessionACL::All;
    config.n_threads = Some(2);
    let session = Session::new(fs, Path::new(&at), &config).expect("the control can be mounted");
    println!("control serves");
    let _ = session.run();
}

struct Server {
    content: Content,
    open: Mutex<HashMap<u64, Vec<u8>>>,
    next: AtomicU64,
}

impl Server {
    fn attr(&self, node: u64, uid: u32) -> FileAttr {
        let (kind, perm, size) = match node {
            1 => (FileType::Directory, 0o555, 0),
            _ => (FileType::RegularFile, 0o444, (self.content)(uid).len() as u64),
        };
        FileAttr {
            ino: INodeNo(node),
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
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let _ = config.add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP);
        Ok(())
    }

    fn lookup(&self, request: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == "f" {
            true => reply.entry(&Duration::ZERO, &self.attr(2, request.uid()), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, request: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::ZERO, &self.attr(node.0, request.uid()));
    }

    fn open(&self, request: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().unwrap().insert(handle, (self.content)(request.uid()));
        reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let open = self.open.lock().unwrap();
        let bytes = &open[&handle.0];
        let start = bytes.len().min(offset as usize);
        reply.data(&bytes[start..bytes.len().min(start + size as usize)]);
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
        self.open.lock().unwrap().remove(&handle.0);
        reply.ok();
    }
}
