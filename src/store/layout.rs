//! The store's folder: which files it has, who may own them, what its `FORMAT` says. Uses std.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::StoreError;
use super::backend::BackendKind;
use super::change::hex;
use super::cipher::Id;
use super::passphrase;

/// What `FORMAT` says before it names the backend.
const FORMAT: &str = "secretfs store 1\nbackend ";

/// Its name until everything that it speaks of is there.
pub(super) const UNFINISHED: &str = "UNFINISHED";

/// Files that a store can have, whatever its backend is.
const MAYBE: [&str; 4] = ["sequence", "uses", "uses.new", passphrase::FILE];

/// The folder of a store, by its absolute path: the working directory may change. It is no store
/// without a `FORMAT`.
#[derive(Clone)]
pub(super) struct Layout {
    dir: PathBuf,
    /// How its rows are kept: chosen when it is made, read from `FORMAT` ever after.
    backend: BackendKind,
    /// The store's identity: `FORMAT` has it, too, for a store whose root is damaged. Believed by
    /// nobody else.
    id: Id,
}

/// Which files are there now: other numbers mean that the store was replaced.
pub(super) type Identity = [(u64, u64); 3];

impl Layout {
    /// Of a folder that is not looked at yet.
    pub(super) fn new(dir: &Path, backend: BackendKind, id: Id) -> Result<Self, StoreError> {
        Ok(Self { dir: absolute(dir)?, backend, id })
    }

    /// SQLite gives its other files the mode of this one.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        match self.backend {
            BackendKind::Sqlite => self.write_new("store.db", b""),
            BackendKind::File => Ok(()),
        }
    }

    /// Empties a folder that did not become a store after all.
    pub(super) fn clear(&self) {
        self.clear_but(UNFINISHED);
        let _ = std::fs::remove_file(self.path(UNFINISHED));
    }

    /// Whoever has that file open may go on to use the folder.
    pub(super) fn clear_but(&self, kept: &str) {
        for name in all_files().filter(|name| *name != kept) {
            let _ = std::fs::remove_file(self.path(name));
        }
    }

    /// That a folder is ours and no store. From now on it is for us alone.
    pub(super) fn check_unused(&self) -> Result<(), StoreError> {
        let dir = &self.dir;
        if self.path("FORMAT").symlink_metadata().is_ok() {
            return Err(StoreError::Exists(dir.clone()));
        }
        self.check_only_ours()?;
        let meta = dir.metadata().map_err(StoreError::io("look at", dir))?;
        check_owner(dir, &meta)?;
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700))
            .map_err(StoreError::io("change the mode of", dir))
    }

    /// That there is nothing in it, or nothing but what somebody has begun. Which of the two?
    pub(super) fn check_only_ours(&self) -> Result<bool, StoreError> {
        let is_begun = self.path(UNFINISHED).symlink_metadata().is_ok();
        for entry in self.dir.read_dir().map_err(StoreError::io("list", &self.dir))? {
            let name = entry.map_err(StoreError::io("list", &self.dir))?.file_name();
            if !is_begun || !all_files().any(|ours| *ours == name) {
                return Err(StoreError::NotAStore(self.dir.clone()));
            }
        }
        Ok(is_begun)
    }

    /// What its `FORMAT` says.
    pub(super) fn format(&self) -> String {
        format!("{FORMAT}{}\nid {}\n", self.backend.as_str(), hex(&self.id))
    }

    /// The same folder, with its rows kept in another way.
    pub(super) fn kept_by(&self, backend: BackendKind) -> Self {
        Self { backend, ..self.clone() }
    }

    /// The same in another folder.
    pub(super) fn at(&self, dir: PathBuf) -> Self {
        Self { dir, ..self.clone() }
    }

    /// Removes the files of this backend, and what lies beside them.
    pub(super) fn remove_rows(&self) {
        let (rows, beside) = self.backend.files();
        for name in beside.iter().chain([&rows]) {
            let _ = std::fs::remove_file(self.path(name));
        }
    }

    /// The folder of a store that is there, with everything in it as it should be.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let dir = absolute(dir)?;
        match dir.metadata() {
            Ok(meta) if !meta.is_dir() => return Err(StoreError::NotAStore(dir)),
            Ok(meta) => {
                check_presence(&dir)?;
                check_private(&dir, &meta, "0700")?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(StoreError::NoStore(dir)),
            Err(error) => return Err(StoreError::io("look at", &dir)(error)),
        }
        let (backend, id) = read_format(&dir)?;
        let (rows, beside) = backend.files();
        check_file(&dir.join(rows), true)?;
        for name in beside.iter().chain(&MAYBE) {
            check_file(&dir.join(name), false)?;
        }
        Ok(Self { dir, backend, id })
    }

    pub(super) fn backend(&self) -> BackendKind {
        self.backend
    }

    pub(super) fn id(&self) -> &Id {
        &self.id
    }

    pub(super) fn identity(&self) -> std::io::Result<Identity> {
        let of = |path: PathBuf| path.symlink_metadata().map(|meta| (meta.dev(), meta.ino()));
        let format = of(self.path("FORMAT"))?;
        let rows = match self.backend {
            BackendKind::Sqlite => of(self.rows())?,
            // It is another one after each commit.
            BackendKind::File => format,
        };
        Ok([format, rows, of(self.sequence()).unwrap_or_default()])
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that the backend keeps the rows in.
    pub(super) fn rows(&self) -> PathBuf {
        self.path(self.backend.files().0)
    }

    pub(super) fn sequence(&self) -> PathBuf {
        self.path("sequence")
    }

    /// Where it is counted how often each secret was used.
    pub(super) fn uses(&self) -> PathBuf {
        self.path("uses")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Puts a file in the place of another: the old one or the new one is there, whatever happens.
    pub(super) fn replace(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let new = format!("{name}.new");
        let _ = std::fs::remove_file(self.path(&new));
        self.write_new(&new, content)?;
        let path = self.path(name);
        std::fs::rename(self.path(&new), &path).map_err(StoreError::io("replace", &path))?;
        self.sync()
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        self.sync()
    }

    /// Until then a power cut could undo what was made, renamed or removed here.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(StoreError::io("sync", &self.dir))
    }

    pub(super) fn write_new(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&path).map_err(StoreError::io("make", &path))?;
        let written = file.write_all(content).and_then(|()| file.sync_all());
        written.inspect_err(|_| drop(std::fs::remove_file(&path))).map_err(StoreError::io("write", &path))
    }
}

/// Does what opens a store; anew if it was moved to another backend meanwhile.
pub(super) fn steadily<T>(dir: &Path, open: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let format =
        || dir.join("FORMAT").symlink_metadata().map(|it| (it.ino(), it.ctime(), it.ctime_nsec())).ok();
    loop {
        let before = format();
        match open() {
            Err(_) if format() != before => {}
            outcome => return outcome,
        }
    }
}

/// All that a store can consist of.
fn all_files() -> impl Iterator<Item = &'static str> {
    let rows = BackendKind::ALL.into_iter().map(BackendKind::files);
    let rows = rows.flat_map(|(rows, beside)| beside.iter().copied().chain([rows]));
    ["FORMAT", UNFINISHED, ".gitignore", "passphrase.new"].into_iter().chain(MAYBE).chain(rows)
}

fn absolute(dir: &Path) -> Result<PathBuf, StoreError> {
    std::path::absolute(dir).map_err(StoreError::io("find", dir))
}

/// First of all: nobody shall be told to change the mode of a folder that is no store.
fn check_presence(dir: &Path) -> Result<(), StoreError> {
    match dir.join("FORMAT").symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if dir.join(UNFINISHED).symlink_metadata().is_ok() {
                return Err(StoreError::Unfinished(dir.to_owned()));
            }
            let is_empty = dir.read_dir().is_ok_and(|mut entries| entries.next().is_none());
            let at = dir.to_owned();
            Err(if is_empty { StoreError::NoStore(at) } else { StoreError::NotAStore(at) })
        }
        _ => Ok(()),
    }
}

fn read_format(dir: &Path) -> Result<(BackendKind, Id), StoreError> {
    let path = dir.join("FORMAT");
    check_file(&path, true)?;
    let mut text = String::new();
    let file = File::open(&path).map_err(StoreError::io("open", &path))?;
    file.take(4096).read_to_string(&mut text).map_err(StoreError::io("read", &path))?;
    match parse_format(&text) {
        Some(format) => Ok(format),
        None if text.starts_with("secretfs store ") => {
            let what = format!("the format `{}`", text.trim_end().escape_debug());
            Err(StoreError::Newer { path: dir.to_owned(), what })
        }
        None => Err(StoreError::corrupt("its FORMAT file is not what was written")),
    }
}

fn parse_format(text: &str) -> Option<(BackendKind, Id)> {
    let (backend, id) = text.strip_prefix(FORMAT)?.strip_suffix('\n')?.split_once("\nid ")?;
    Some((BackendKind::parse(backend)?, parse_id(id)?))
}

fn parse_id(text: &str) -> Option<Id> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|it| it as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    bytes.try_into().ok().filter(|_| digits.len().is_multiple_of(2))
}

fn check_file(path: &Path, is_needed: bool) -> Result<(), StoreError> {
    match path.symlink_metadata() {
        Ok(meta) if !meta.is_file() => Err(StoreError::Unsafe {
            problem: "it is not a regular file".into(),
            mend: format!("look at {}, and restore the store from a backup", path.display()),
            path: path.to_owned(),
        }),
        Ok(meta) => check_private(path, &meta, "0600"),
        Err(error) if error.kind() == ErrorKind::NotFound && !is_needed => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(StoreError::corrupt(format!("{} is gone", path.display())))
        }
        Err(error) => Err(StoreError::io("look at", path)(error)),
    }
}

fn check_private(path: &Path, meta: &Metadata, mode: &str) -> Result<(), StoreError> {
    check_owner(path, meta)?;
    match meta.mode() & 0o077 {
        0 => Ok(()),
        _ => Err(StoreError::Unsafe {
            problem: format!("its mode {:04o} lets others in", meta.mode() & 0o7777),
            mend: format!("chmod {mode} {}", path.display()),
            path: path.to_owned(),
        }),
    }
}

fn check_owner(path: &Path, meta: &Metadata) -> Result<(), StoreError> {
    let us = nix::unistd::geteuid().as_raw();
    if meta.uid() == us {
        return Ok(());
    }
    Err(StoreError::Unsafe {
        problem: format!("it belongs to uid {}, and this is uid {us}", meta.uid()),
        mend: format!("run secretfs as uid {}, or chown -R {us} {}", meta.uid(), path.display()),
        path: path.to_owned(),
    })
}
