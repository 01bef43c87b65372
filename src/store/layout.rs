//! The store's folder: which files it has, who may own them, what its `FORMAT` says. Uses std.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::StoreError;

const FORMAT: &str = "secretfs store 1\nbackend sqlite\n";

/// The folder of a store, by its absolute path: the working directory may change. It is no store
/// until [`Layout::finish`].
pub(super) struct Layout(PathBuf);

/// Which files are there now: other numbers mean that the store was replaced.
pub(super) type Identity = [(u64, u64); 2];

impl Layout {
    /// Takes a folder that is empty or not there. Whoever comes second finds it no longer empty.
    pub(super) fn claim(dir: &Path) -> Result<Self, StoreError> {
        let layout = Self::at(dir)?;
        let dir = &layout.0;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(StoreError::io("make the folder", dir))?;
        layout.claim_empty()?;
        layout.write_new(".gitignore", b"*\n")?;
        Ok(layout)
    }

    /// SQLite gives its other files the mode of this one.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        self.write_new("store.db", b"")
    }

    /// Empties a folder that did not become a store after all.
    pub(super) fn discard(&self) {
        for name in ["FORMAT", "sequence", "store.db-shm", "store.db-wal", "store.db", ".gitignore"] {
            let _ = std::fs::remove_file(self.path(name));
        }
    }

    /// A folder that was there already has to be empty and ours.
    fn claim_empty(&self) -> Result<(), StoreError> {
        let dir = &self.0;
        if self.path("FORMAT").exists() {
            return Err(StoreError::Exists(dir.clone()));
        }
        let mut entries = dir.read_dir().map_err(StoreError::io("list", dir))?;
        if entries.next().is_some() {
            return Err(StoreError::NotAStore(dir.clone()));
        }
        let meta = dir.metadata().map_err(StoreError::io("look at", dir))?;
        check_owner(dir, &meta)?;
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700))
            .map_err(StoreError::io("change the mode of", dir))
    }

    pub(super) fn finish(&self) -> Result<(), StoreError> {
        self.write_new("FORMAT", FORMAT.as_bytes())?;
        File::open(&self.0).and_then(|dir| dir.sync_all()).map_err(StoreError::io("sync", &self.0))
    }

    /// The folder of a store that is there, with everything in it as it should be.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let layout = Self::at(dir)?;
        let dir = &layout.0;
        match dir.metadata() {
            Ok(meta) if !meta.is_dir() => return Err(StoreError::NotAStore(dir.clone())),
            Ok(meta) => {
                layout.check_presence()?;
                check_private(dir, &meta, "0700")?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(StoreError::NoStore(dir.clone()));
            }
            Err(error) => return Err(StoreError::io("look at", dir)(error)),
        }
        layout.check_format()?;
        for (name, is_needed) in
            [("store.db", true), ("store.db-wal", false), ("store.db-shm", false), ("sequence", false)]
        {
            layout.check_file(name, is_needed)?;
        }
        Ok(layout)
    }

    /// First of all: nobody shall be told to change the mode of a folder that is no store.
    fn check_presence(&self) -> Result<(), StoreError> {
        match self.path("FORMAT").symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let is_empty = self.0.read_dir().is_ok_and(|mut entries| entries.next().is_none());
                let at = self.0.clone();
                Err(if is_empty { StoreError::NoStore(at) } else { StoreError::NotAStore(at) })
            }
            _ => Ok(()),
        }
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let path = self.path("FORMAT");
        let mut text = String::new();
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        file.take(4096).read_to_string(&mut text).map_err(StoreError::io("read", &path))?;
        self.check_file("FORMAT", true)?;
        match text.as_str() {
            FORMAT => Ok(()),
            other if other.starts_with("secretfs store ") => {
                let what = format!("the format `{}`", other.trim_end().escape_debug());
                Err(StoreError::Newer { path: self.0.clone(), what })
            }
            _ => Err(StoreError::corrupt("its FORMAT file is not what was written")),
        }
    }

    fn check_file(&self, name: &str, is_needed: bool) -> Result<(), StoreError> {
        let path = self.path(name);
        match path.symlink_metadata() {
            Ok(meta) if !meta.is_file() => Err(StoreError::Unsafe {
                problem: "it is not a regular file".into(),
                mend: format!("look at {}, and restore the store from a backup", path.display()),
                path,
            }),
            Ok(meta) => check_private(&path, &meta, "0600"),
            Err(error) if error.kind() == ErrorKind::NotFound && !is_needed => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(StoreError::corrupt(format!("{} is gone", path.display())))
            }
            Err(error) => Err(StoreError::io("look at", &path)(error)),
        }
    }

    pub(super) fn identity(&self) -> std::io::Result<Identity> {
        let of = |path: PathBuf| path.symlink_metadata().map(|meta| (meta.dev(), meta.ino()));
        Ok([of(self.database())?, of(self.sequence()).unwrap_or_default()])
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path("store.db")
    }

    pub(super) fn sequence(&self) -> PathBuf {
        self.path("sequence")
    }

    fn at(dir: &Path) -> Result<Self, StoreError> {
        std::path::absolute(dir).map(Self).map_err(StoreError::io("find", dir))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write_new(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&path).map_err(StoreError::io("make", &path))?;
        let written = file.write_all(content).and_then(|()| file.sync_all());
        written.inspect_err(|_| drop(std::fs::remove_file(&path))).map_err(StoreError::io("write", &path))
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
