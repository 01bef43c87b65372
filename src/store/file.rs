//! The backend for places where SQLite cannot work: one JSON document, kept in memory and replaced
//! as a whole by each commit. A reader needs nothing but to open the file. Uses std, the rows of
//! `backend`, and the lock of `sequence`.

mod document;

use std::cell::RefCell;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::StoreError;
use super::backend::{
    Backend, EachHeader, HeaderRow, KeyRow, NamespaceRow, PATIENCE, Read, RootRow, SecretRow, Write,
};
use super::cipher::{Id, Mac};
use super::claim::sync_names;
use super::index::Range;
use super::sequence::WriterLock;
use crate::poison::EvenPoisoned;
use document::{Blob, Document, Fixed, Refusal, Secret, Space};

/// The most bytes of the document: a commit writes all of them, and each process holds them.
const LIMIT: u64 = 256 << 20;

pub(super) struct JsonFile {
    path: PathBuf,
    /// The document as it was read or written last.
    held: Mutex<Option<Held>>,
}

struct Held {
    document: Arc<Document>,
    mark: Mark,
    /// Open as long as the document is held: no other file can get the same number.
    _file: File,
}

/// What tells one state of the file from another.
#[derive(PartialEq, Eq)]
struct Mark {
    file: (u64, u64),
    length: u64,
    times: [(i64, i64); 2],
}

impl Mark {
    fn of(meta: &Metadata) -> Self {
        let times = [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())];
        Self { file: (meta.dev(), meta.ino()), length: meta.len(), times }
    }
}

impl JsonFile {
    /// Makes a document without rows where no file is.
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        let file = Self { path: path.to_owned(), held: Mutex::default() };
        file.replace(Arc::new(Document::empty()))?;
        Ok(file)
    }

    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = Self { path: path.to_owned(), held: Mutex::default() };
        file.current()?;
        Ok(file)
    }

    /// The document as it lies there now; read only if that is another one than before.
    fn current(&self) -> Result<Arc<Document>, StoreError> {
        let mut held = self.held.lock().even_poisoned();
        let meta = self.path.symlink_metadata().map_err(|error| self.unreadable(error))?;
        if let Some(held) = held.as_ref().filter(|held| held.mark == Mark::of(&meta)) {
            return Ok(held.document.clone());
        }
        let new = self.load()?;
        Ok(held.insert(new).document.clone())
    }

    fn load(&self) -> Result<Held, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = options.open(&self.path).map_err(|error| self.unreadable(error))?;
        let meta = file.metadata().map_err(|error| self.unreadable(error))?;
        if !meta.is_file() || meta.len() > LIMIT {
            return Err(StoreError::corrupt(format!("{} is no document of ours", self.path.display())));
        }
        if meta.len() == 0 {
            // Whatever emptied it: an empty store must not take its place.
            return Err(StoreError::corrupt(format!("{} is empty", self.path.display())));
        }
        let mut text = Vec::with_capacity(meta.len() as usize + 1);
        (&file).take(LIMIT).read_to_end(&mut text).map_err(|error| self.unreadable(error))?;
        let document = Document::decode(&text).map_err(|refusal| self.refused(refusal))?;
        Ok(Held { document: Arc::new(document), mark: Mark::of(&meta), _file: file })
    }

    fn unreadable(&self, error: std::io::Error) -> StoreError {
        match error.kind() {
            ErrorKind::NotFound => StoreError::corrupt(format!("{} is gone", self.path.display())),
            _ => StoreError::io("read", &self.path)(error),
        }
    }

    fn refused(&self, refusal: Refusal) -> StoreError {
        let path = self.path.display();
        match refusal {
            Refusal::Format(format) => {
                StoreError::Newer { path: self.path.clone(), what: format!("the format {format}") }
            }
            Refusal::Shape(line, column) => {
                StoreError::corrupt(format!("{path} is not what was written, at {line}:{column}"))
            }
        }
    }

    /// Puts this document in the place of the one before: all of it, and on the disk, or nothing.
    fn replace(&self, document: Arc<Document>) -> Result<(), StoreError> {
        let text = document.encode();
        if text.len() as u64 > LIMIT {
            let most = LIMIT >> 20;
            return Err(StoreError::Refused(format!(
                "a store in one file holds at most {most} MiB; one with the backend sqlite holds any number"
            )));
        }
        let new = self.beside("new");
        let written = write_new(&new, &text).and_then(|file| {
            std::fs::rename(&new, &self.path).map_err(StoreError::io("replace", &self.path))?;
            Ok(file)
        });
        let file = written.inspect_err(|_| drop(std::fs::remove_file(&new)))?;
        sync_names(&self.path)?;
        let mark = file.metadata().map(|meta| Mark::of(&meta));
        let mark = mark.map_err(StoreError::io("look at", &self.path))?;
        let mut held = self.held.lock().even_poisoned();
        *held = Some(Held { document, mark, _file: file });
        Ok(())
    }

    /// Keeps a document of an older format as it is before one of this format takes its place.
    fn keep(&self, format: u64) -> Result<(), StoreError> {
        let text = std::fs::read(&self.path).map_err(|error| self.unreadable(error))?;
        let kept = self.beside(&format!("format-{format}"));
        write_new(&kept, &text)?;
        sync_names(&kept)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.path.with_added_extension(ending)
    }
}

/// Writes a new file to the disk, in the place of one that a dead writer has left.
fn write_new(path: &Path, text: &[u8]) -> Result<File, StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(StoreError::io("remove", path)(error));
        }
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(path).map_err(StoreError::io("make", path))?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(StoreError::io("write", path))?;
    Ok(file)
}

impl Backend for JsonFile {
    fn read(&self) -> Result<Box<dyn Read + '_>, StoreError> {
        Ok(Box::new(Transaction { document: RefCell::new(self.current()?), writer: None }))
    }

    fn write(&self) -> Result<Box<dyn Write + '_>, StoreError> {
        let lock = WriterLock::acquire(&self.beside("lock"), PATIENCE)?;
        let document = RefCell::new(self.current()?);
        Ok(Box::new(Transaction { document, writer: Some((self, lock)) }))
    }
}

/// A document as one commit left it, and what a writer makes of it.
struct Transaction<'a> {
    document: RefCell<Arc<Document>>,
    /// `None` for who only reads.
    writer: Option<(&'a JsonFile, WriterLock)>,
}

impl Transaction<'_> {
    fn document(&self) -> Arc<Document> {
        self.document.borrow().clone()
    }

    /// The first change copies the document: readers hold the one before.
    fn edit(&self, change: impl FnOnce(&mut Document)) {
        change(Arc::make_mut(&mut self.document.borrow_mut()));
    }

    fn edit_space(&self, namespace: &Id, change: impl FnOnce(&mut Space)) -> Result<(), StoreError> {
        let mut document = self.document.borrow_mut();
        let space = Arc::make_mut(&mut document).namespaces.get_mut(&Fixed(*namespace));
        space.map(change).ok_or_else(|| StoreError::corrupt("a row is of a namespace that is not there"))
    }
}

/// Looks into one namespace; what is asked of one that is not there is not there.
fn within<T: Default>(document: &Document, namespace: &Id, look: impl FnOnce(&Space) -> T) -> T {
    document.namespaces.get(&Fixed(*namespace)).map(look).unwrap_or_default()
}

impl Read for Transaction<'_> {
    fn root(&self) -> Result<RootRow, StoreError> {
        let root = self.document().root.as_ref().map(|root| root.row());
        root.ok_or_else(|| StoreError::corrupt("its root is gone"))
    }

    fn namespaces(&self) -> Result<Vec<NamespaceRow>, StoreError> {
        Ok(self.document().namespaces.iter().map(|(id, space)| space.row(id)).collect())
    }

    fn keys(&self, namespace: &Id) -> Result<Vec<KeyRow>, StoreError> {
        Ok(within(&self.document(), namespace, |space| {
            space.keys.iter().map(|(kid, key)| key.row(namespace, kid)).collect()
        }))
    }

    fn header(&self, namespace: &Id, name: &Mac) -> Result<Option<HeaderRow>, StoreError> {
        Ok(within(&self.document(), namespace, |space| {
            space.secrets.get(&Fixed(*name)).map(|secret| secret.row(name))
        }))
    }

    fn secret(
        &self,
        namespace: &Id,
        name: &Mac,
        version: Option<u64>,
    ) -> Result<Option<SecretRow>, StoreError> {
        Ok(within(&self.document(), namespace, |space| {
            let Secret { active, header, records } = space.secrets.get(&Fixed(*name))?;
            let version = version.unwrap_or(*active);
            let record = records.get(&version).map(|record| (version, record.0.clone()));
            Some(SecretRow { active: *active, header: header.0.clone(), record })
        }))
    }

    fn headers(
        &self,
        namespace: &Id,
        &(first, last): &Range,
        each: &mut EachHeader,
    ) -> Result<(), StoreError> {
        let document = self.document();
        let Some(space) = document.namespaces.get(&Fixed(*namespace)) else { return Ok(()) };
        let mut secrets = space.secrets.range(Fixed(first)..=Fixed(last));
        secrets.try_for_each(|(name, secret)| each(secret.row(&name.0)))
    }

    fn records(&self, namespace: &Id, name: &Mac) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        Ok(within(&self.document(), namespace, |space| {
            let secret = space.secrets.get(&Fixed(*name));
            let records = secret.into_iter().flat_map(|secret| &secret.records);
            records.map(|(version, record)| (*version, record.0.clone())).collect()
        }))
    }

    fn node(&self, namespace: &Id, number: u8) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(within(&self.document(), namespace, |space| space.nodes.get(&number).map(|seal| seal.0.clone())))
    }
}

impl Write for Transaction<'_> {
    fn put_root(&self, root: &RootRow) -> Result<(), StoreError> {
        self.edit(|document| document.root = Some(root.into()));
        Ok(())
    }

    fn put_namespace(&self, row: &NamespaceRow) -> Result<(), StoreError> {
        self.edit(|document| {
            let space = document.namespaces.entry(Fixed(row.id)).or_insert_with(|| Space::new(row));
            (space.name_mac, space.name) = (Fixed(row.name_mac), Blob(row.name.clone()));
        });
        Ok(())
    }

    fn put_key(&self, row: &KeyRow) -> Result<(), StoreError> {
        self.edit_space(&row.namespace, |space| drop(space.keys.insert(Fixed(row.kid), row.into())))
    }

    fn put_header(&self, namespace: &Id, row: &HeaderRow) -> Result<(), StoreError> {
        self.edit_space(namespace, |space| {
            let secret = space.secrets.entry(Fixed(row.name)).or_default();
            (secret.active, secret.header) = (row.active, Blob(row.header.clone()));
        })
    }

    fn put_record(&self, namespace: &Id, name: &Mac, version: u64, record: &[u8]) -> Result<(), StoreError> {
        let mut is_in = false;
        self.edit_space(namespace, |space| {
            if let Some(secret) = space.secrets.get_mut(&Fixed(*name)) {
                secret.records.insert(version, Blob(record.to_vec()));
                is_in = true;
            }
        })?;
        is_in.then_some(()).ok_or_else(|| StoreError::corrupt("a record is of a secret that is not there"))
    }

    fn put_node(&self, namespace: &Id, number: u8, sealed: &[u8]) -> Result<(), StoreError> {
        self.edit_space(namespace, |space| drop(space.nodes.insert(number, Blob(sealed.to_vec()))))
    }

    fn remove_secret(&self, namespace: &Id, name: &Mac) -> Result<(), StoreError> {
        self.edit_space(namespace, |space| drop(space.secrets.remove(&Fixed(*name))))
    }

    fn remove_record(&self, namespace: &Id, name: &Mac, version: u64) -> Result<(), StoreError> {
        self.edit_space(namespace, |space| {
            space.secrets.get_mut(&Fixed(*name)).map(|secret| secret.records.remove(&version));
        })
    }

    fn remove_key(&self, namespace: &Id, kid: &Id) -> Result<(), StoreError> {
        self.edit_space(namespace, |space| drop(space.keys.remove(&Fixed(*kid))))
    }

    fn remove_namespace(&self, namespace: &Id) -> Result<(), StoreError> {
        self.edit(|document| drop(document.namespaces.remove(&Fixed(*namespace))));
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let (home, _lock) = self.writer.as_ref().expect("only a writer is asked to commit");
        let mut document = self.document();
        if let Some(format) = document.older_format() {
            home.keep(format)?;
            Arc::make_mut(&mut document).renew();
        }
        home.replace(document)
    }
}

#[cfg(test)]
mod tests;
