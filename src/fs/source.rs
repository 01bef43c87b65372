//! The template behind a file: opened without following links, judged by owner and mode, compiled
//! once and kept until it is edited. Uses `template`; the reading blocks, so it is for the pool.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use crate::broker;
use crate::poison::EvenPoisoned;
use crate::sys::lease;
use crate::template::{LARGEST_TEMPLATE, Options, Template};

pub struct Source {
    place: Trusted,
    options: Options,
    /// There is no file.
    is_fixed: bool,
    /// How often something hinted that the file may have changed.
    doubts: AtomicU64,
    /// Held while the file is looked at: one who asks compiles it for all.
    loading: Mutex<()>,
    /// Waited for before that, without a thread.
    turn: tokio::sync::Mutex<()>,
    /// Guards the last outcome, and how many doubts there were when it was looked for.
    loaded: Mutex<Option<(u64, Arc<Loaded>)>>,
}

/// Where a template lies, and the folder from which on nobody else may write.
#[derive(PartialEq)]
pub struct Trusted {
    path: Box<Path>,
    from: Arc<Path>,
}

/// The outcome of loading: a template, or why there is none.
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

impl Trusted {
    /// `from` is the template's folder or one above it.
    pub fn new(path: &Path, from: Arc<Path>) -> Self {
        Self { path: path.into(), from }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Source {
    pub fn new(place: Trusted, options: Options) -> Self {
        Self {
            place,
            options,
            is_fixed: false,
            doubts: AtomicU64::new(0),
            loading: Mutex::new(()),
            turn: tokio::sync::Mutex::default(),
            loaded: Mutex::new(None),
        }
    }

    /// One that lies nowhere and never changes.
    pub fn fixed(name: &str, text: &str) -> Self {
        let source = Self::new(Trusted::new(Path::new(name), Path::new("").into()), Options::default());
        let template =
            Template::compile(name, text, source.options).map(Arc::new).map_err(broker::Error::from);
        let loaded = Loaded { template, edited: SystemTime::now(), stamp: None };
        *source.last_place() = Some((0, Arc::new(loaded)));
        Self { is_fixed: true, ..source }
    }

    pub fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    pub fn path(&self) -> &Path {
        &self.place.path
    }

    pub fn place(&self) -> &Trusted {
        &self.place
    }

    /// The folder from which on the template is trusted.
    pub fn folder(&self) -> &Arc<Path> {
        &self.place.from
    }

    /// For who is about to load it and would wait for others who do.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// What is loaded, if nothing hints that it changed. Never blocks on the disk.
    pub fn ready(&self) -> Option<Arc<Loaded>> {
        let last = self.last_place();
        let (doubts, loaded) = last.as_ref()?;
        (*doubts == self.doubts.load(Ordering::Acquire)).then(|| loaded.clone())
    }

    /// The file may have changed.
    pub fn doubt(&self) {
        if self.is_fixed {
            return;
        }
        self.doubts.fetch_add(1, Ordering::AcqRel);
    }

    /// Looks at the file, and compiles it anew if it is another. Blocks.
    pub fn load(&self) -> Arc<Loaded> {
        if let Some(loaded) = self.last().filter(|_| self.is_fixed) {
            return loaded;
        }
        let _one = self.loading.lock().even_poisoned();
        // Counted first: a doubt that comes while the file is read must not be lost, and until it
        // is read nobody may take what was there before for current.
        let doubts = self.doubts.load(Ordering::Acquire);
        let loaded = self.read(self.last());
        *self.last_place() = Some((doubts, loaded.clone()));
        if loaded.stamp.is_none() {
            // Nothing tells when the cause is gone, so the next lookup looks again.
            self.doubt();
        }
        loaded
    }

    /// Whether its text has this word, as far as it can be read now.
    pub fn mentions(&self, word: &str) -> bool {
        let text = self.open().ok().and_then(|(file, ..)| read_whole(file).ok());
        text.is_some_and(|text| text.windows(word.len()).any(|window| window == word.as_bytes()))
    }

    /// Gives the memory back until somebody asks again.
    pub fn unload(&self) {
        if self.is_fixed {
            return;
        }
        *self.last_place() = None;
    }

    /// What was loaded last, whatever happened since.
    pub fn last(&self) -> Option<Arc<Loaded>> {
        self.last_place().as_ref().map(|(_, loaded)| loaded.clone())
    }

    fn last_place(&self) -> MutexGuard<'_, Option<(u64, Arc<Loaded>)>> {
        self.loaded.lock().expect("nothing panics while it holds this")
    }

    fn read(&self, last: Option<Arc<Loaded>>) -> Arc<Loaded> {
        let opened = self.open();
        Arc::new(match (opened, last) {
            (Ok((_, stamp, _)), Some(last)) if last.stamp == Some(stamp) => return last,
            // Until the writer is done, what was there before is the template.
            (Ok((file, ..)), Some(last))
                if last.template.is_ok() && matches!(lease::nobody_writes(&file), Ok(false)) =>
            {
                self.doubt();
                return last;
            }
            (Ok((file, stamp, edited)), _) => {
                Loaded { template: self.compile(file), edited, stamp: Some(stamp) }
            }
            (Err(error), _) => Loaded { template: Err(error), edited: SystemTime::UNIX_EPOCH, stamp: None },
        })
    }

    fn compile(&self, file: File) -> Result<Arc<Template>, broker::Error> {
        let text = read_whole(file).map_err(|error| self.refused(format!("cannot be read: {error}")))?;
        let name = self.path().to_string_lossy();
        let text = String::from_utf8(text).map_err(|_| self.refused("is not UTF-8"))?;
        Ok(Arc::new(Template::compile(&name, &text, self.options)?))
    }

    /// Opens the file if it may be trusted: whoever can edit a template decides what its readers get.
    fn open(&self) -> Result<(File, Stamp, SystemTime), broker::Error> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        let file =
            File::options().read(true).custom_flags(flags).open(self.path()).map_err(|error| match error
                .raw_os_error()
            {
                Some(libc::ELOOP) => self.refused("is a link; templates are plain files"),
                Some(libc::EACCES | libc::EPERM | libc::ENOENT | libc::ENXIO) => {
                    self.refused(format!("cannot be opened: {error}"))
                }
                _ => broker::Error::Disk(format!(
                    "the template {} cannot be opened: {error}",
                    self.path().display()
                )),
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
        Ok((file, Stamp::of(&meta), edited(&meta)))
    }

    fn check_ownership(&self, meta: &Metadata) -> Result<(), broker::Error> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (path, from) = (absolute(self.path()), absolute(&self.place.from));
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(&from)) {
            let meta =
                fs::metadata(folder).map_err(|error| self.refused(format!("cannot be reached: {error}")))?;
            // In a sticky folder nobody can replace what belongs to another (inode(7)).
            if meta.mode() & libc::S_ISVTX == 0 {
                check_writers(&meta).map_err(|why| {
                    self.refused(format!("lies in {}, which {why} {}", folder.display(), folder.display()))
                })?;
            }
        }
        check_writers(meta).map_err(|why| self.refused(format!("{why} {}", self.path().display())))?;
        if meta.nlink() > 1 {
            return Err(self.refused("has a second hard link, so that it could be edited elsewhere"));
        }
        if meta.size() > LARGEST_TEMPLATE as u64 {
            return Err(self.refused(format!("has {} bytes; {LARGEST_TEMPLATE} are the most", meta.size())));
        }
        Ok(())
    }

    fn refused(&self, why: impl std::fmt::Display) -> broker::Error {
        broker::Error::Source(format!("the template {} {why}", self.path().display()))
    }
}

/// When it was edited. A date in the future is none: it would hide every later change.
fn edited(meta: &Metadata) -> SystemTime {
    let changed = Duration::new(meta.ctime().max(0) as u64, meta.ctime_nsec() as u32);
    let changed = SystemTime::UNIX_EPOCH + changed;
    meta.modified().map_or(changed, |modified| modified.min(changed))
}

/// Only root and we may write it. Says what is wrong, ending with the command that mends it, to
/// be completed by the path.
fn check_writers(meta: &Metadata) -> Result<(), String> {
    let me = nix::unistd::geteuid().as_raw();
    if meta.uid() != 0 && meta.uid() != me {
        let owner = meta.uid();
        return Err(format!("belongs to uid {owner}; it must belong to root or to uid {me}: chown {me}"));
    }
    // A user's own group is often shared with nobody, so only root is held to the group bit.
    let forbidden = if me == 0 { 0o022 } else { 0o002 };
    match meta.mode() & forbidden {
        0 => Ok(()),
        _ => Err("can be written by others: chmod go-w".to_owned()),
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
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}
