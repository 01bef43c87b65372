//! The folder of a store while its rows go from one backend to another: what is switched, and where
//! the rows as they were are put. Uses `layout`.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use super::StoreError;
use super::backend::{BackendKind, PATIENCE};
use super::layout::Layout;
use super::passphrase;
use super::sequence::WriterLock;

impl Layout {
    /// Says from now on that the rows are kept in the way of this layout. The sequence is another
    /// file from then on, so that whoever has the store open opens it anew.
    pub(super) fn switch(&self, epoch: u64) -> Result<WriterLock, StoreError> {
        let (next, sequence) = (self.path("sequence.new"), self.sequence());
        let lock = WriterLock::acquire(&next, PATIENCE)?;
        lock.mark_quiet(epoch).map_err(StoreError::io("write", &next))?;
        self.replace("FORMAT", self.format().as_bytes())?;
        std::fs::rename(&next, &sequence).map_err(StoreError::io("replace", &sequence))?;
        self.sync()?;
        Ok(lock)
    }

    /// That there is no store yet where this one would be put aside.
    pub(super) fn check_aside(&self) -> Result<(), StoreError> {
        let aside = self.aside(self.backend());
        match aside.path("FORMAT").exists() {
            true => Err(StoreError::Aside(aside.dir().to_owned())),
            false => Ok(()),
        }
    }

    /// Moves what another backend has kept here to a folder of its own, a store by itself. `None` if
    /// there is nothing of it.
    pub(super) fn put_aside(&self, kind: BackendKind) -> Result<Option<PathBuf>, StoreError> {
        let aside = self.aside(kind);
        let is_begun = aside.dir().exists() && !aside.path("FORMAT").exists();
        if !is_begun && !self.kept_by(kind).rows().exists() {
            return Ok(None);
        }
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(aside.dir()).map_err(StoreError::io("make the folder", aside.dir()))?;
        let (rows, beside) = kind.files();
        for name in beside.iter().chain([&rows]) {
            match std::fs::rename(self.path(name), aside.path(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::io("move", &self.path(name))(error));
                }
                _ => {}
            }
        }
        // What is to be named has to be there.
        self.sync()?;
        aside.sync()?;
        if let Ok(text) = std::fs::read(self.path(passphrase::FILE)) {
            aside.replace(passphrase::FILE, &text)?;
        }
        aside.replace("FORMAT", aside.format().as_bytes())?;
        self.sync()?;
        Ok(Some(aside.dir().to_owned()))
    }

    /// Where the store is put once its rows are kept in another way.
    fn aside(&self, kind: BackendKind) -> Self {
        self.kept_by(kind).at(self.path(&format!("was-{}", kind.as_str())))
    }
}
