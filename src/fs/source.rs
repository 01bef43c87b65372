//! The template behind a file: opened without following links, judged by owner and mode, compiled
//! once and kept until it is edited. Uses `template`; the reading blocks, so it is for the pool.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::broker;
use crate::sys::lease;
use crate::template::{LARGEST_TEMPLATE, Options, Template};

pub struct Source {
    path: PathBuf,
    options: Options,
    /// Cleared when the file may have changed.
    checked: AtomicBool,
    /// Guards the last outcome.
    loaded: Mutex<Option<Loaded>>,
}

/// The outcome of loading: a template, or why there is none.
#[derive(Clone)]
pub struct Loaded {
    pub template: Result<Arc<Template>, broker::Error>,
    /// When the template was edited last.
    pub edited: SystemTime,
    stamp: Option<Stamp>,
}

/// Tells one state of a file from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// How long a template that somebody is writing is waited for.
const WRITER_PATIENCE: Duration = Duration::from_secs(1);

impl Source {
    pub fn new(path: PathBuf, options: Options) -> Self {
        Self { path, options, checked: AtomicBool::new(false), loaded: Mutex::new(None) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is loaded, if nothing hints that it changed. Never blocks on the disk.
    pub fn ready(&self) -> Option<Loaded> {
        if self.checked.load(Ordering::Acquire) { self.last() } else { None }
    }

    /// The file may have changed.
    pub fn doubt(&self) {
        self.checked.store(false, Ordering::Release);
    }

    /// Looks at the file, and compiles it anew if it is another. Blocks.
    pub fn load(&self) -> Loaded {
        // Set first: a doubt that comes while the file is read must not be lost.
        self.checked.store(true, Ordering::Release);
        let last = self.last();
        let loaded = self.read(last.as_ref());
        *self.loaded.lock().expect("nothing panics while it holds this") = Some(loaded.clone());
        loaded
    }

    fn last(&self) -> Option<Loaded> {
        self.loaded.lock().expect("nothing panics while it holds this").clone()
    }

    fn read(&self, last: Option<&Loaded>) -> Loaded {
        match self.open() {
            Ok((file, stamp, edited)) => match last {
                Some(last) if last.stamp == Some(stamp) => last.clone(),
                // Until the writer is done, what was there before is the template.
                Some(last) if last.template.is_ok() && matches!(lease::nobody_writes(&file), Ok(false)) => {
                    self.doubt();
                    last.clone()
                }
                _ => Loaded { template: self.compile(file), edited, stamp: Some(stamp) },
            },
            Err(error) => Loaded { template: Err(error), edited: SystemTime::UNIX_EPOCH, stamp: None },
        }
    }

    fn compile(&self, file: File) -> Result<Arc<Template>, broker::Error> {
        let text = read_whole(file).map_err(|error| self.refused(format!("cannot be read: {error}")))?;
        let name = self.path.to_string_lossy();
        let text = String::from_utf8(text).map_err(|_| self.refused("is not UTF-8"))?;
        Ok(Arc::new(Template::compile(&name, &text, self.options)?))
    }

    /// Opens the file if it may be trusted: whoever can edit a template decides what its readers get.
    fn open(&self) -> Result<(File, Stamp, SystemTime), broker::Error> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        let file = File::options().read(true).custom_flags(flags).open(&self.path).map_err(|error| {
            match error.raw_os_error() {
                Some(libc::ELOOP) => self.refused("is a link; templates are plain files"),
                _ => self.refused(format!("cannot be opened: {error}")),
            }
        })?;
        let meta = file.metadata().map_err(|error| self.refused(format!("cannot be looked at: {error}")))?;
        let kind = meta.file_type();
        if !kind.is_file() {
            let what = if kind.is_dir() {
                "folder"
            } else if kind.is_fifo() {
                "named pipe"
            } else {
                "device or socket"
            };
            return Err(self.refused(format!("is a {what}; templates are plain files")));
        }
        self.check_ownership(&meta)?;
        let edited = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Ok((file, Stamp::of(&meta), edited))
    }

    fn check_ownership(&self, meta: &std::fs::Metadata) -> Result<(), broker::Error> {
        let me = nix::unistd::geteuid().as_raw();
        let path = self.path.display();
        if meta.uid() != 0 && meta.uid() != me {
            return Err(self.refused(format!(
                "belongs to uid {}; it must belong to root or to uid {me}: chown {me} {path}",
                meta.uid()
            )));
        }
        // A user's own group is often shared with nobody, so only root is held to the group bit.
        let forbidden = if me == 0 { 0o022 } else { 0o002 };
        if meta.mode() & forbidden != 0 {
            return Err(self.refused(format!("can be written by others: chmod go-w {path}")));
        }
        if meta.nlink() > 1 {
            return Err(self.refused("has a second hard link, so that it could be edited elsewhere"));
        }
        if meta.size() > LARGEST_TEMPLATE as u64 {
            return Err(self.refused(format!("has {} bytes; {LARGEST_TEMPLATE} are the most", meta.size())));
        }
        Ok(())
    }

    fn refused(&self, why: impl std::fmt::Display) -> broker::Error {
        broker::Error::Source(format!("the template {} {why}", self.path.display()))
    }
}

/// Reads a file that nobody is writing: a half-written template must not be rendered.
fn read_whole(mut file: File) -> io::Result<Vec<u8>> {
    let start = Instant::now();
    while !lease::nobody_writes(&file)? {
        if start.elapsed() > WRITER_PATIENCE {
            return Err(io::Error::other("somebody has it open for writing"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut text = Vec::new();
    Read::by_ref(&mut file).take(LARGEST_TEMPLATE as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

impl Stamp {
    fn of(meta: &std::fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}
