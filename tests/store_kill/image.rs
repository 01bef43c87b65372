//! A folder as it lies on a disk, held in memory: taken, and put back over whatever is there. Uses std.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Folders and files by their paths below it.
#[derive(Clone, Default)]
pub(crate) struct Image {
    pub(crate) folders: BTreeMap<PathBuf, u32>,
    pub(crate) files: BTreeMap<PathBuf, (u32, Vec<u8>)>,
}

impl Image {
    pub(crate) fn take(folder: &Path) -> Self {
        let mut image = Self::default();
        image.add(folder, folder);
        image
    }

    fn add(&mut self, top: &Path, folder: &Path) {
        for entry in folder.read_dir().expect("a folder") {
            let path = entry.expect("an entry").path();
            let meta = path.symlink_metadata().expect("it is there");
            let (below, mode) =
                (path.strip_prefix(top).expect("below").to_owned(), meta.permissions().mode());
            if meta.is_dir() {
                self.folders.insert(below, mode);
                self.add(top, &path);
            } else {
                self.files.insert(below, (mode, fs::read(&path).expect("a file")));
            }
        }
    }

    /// Makes the folder hold this and nothing else.
    pub(crate) fn put(&self, folder: &Path) {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
            _ => make(folder, 0o755),
        }
        self.folders.iter().for_each(|(below, mode)| make(&folder.join(below), *mode));
        for (below, (mode, bytes)) in &self.files {
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(*mode).open(folder.join(below));
            file.and_then(|mut file| file.write_all(bytes)).expect("a file");
        }
    }
}

fn make(folder: &Path, mode: u32) {
    DirBuilder::new().mode(mode & 0o7777).create(folder).expect("a folder");
}
