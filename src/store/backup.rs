//! All of a store in one file, sealed as it is in the store, and a MAC over it; and a store made of
//! it again: the same one, with the same key. Uses `stream` for the format.

mod restore;
mod stream;

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, PosixFadviseAdvice, RenameFlags, posix_fadvise, renameat2};

use super::backend::Read;
use super::cipher::Id;
use super::claim::sync_names;
use super::index::{FANOUT, range_of};
use super::keyring::Masters;
use super::passphrase::Stretch;
use super::salvage::{Inspection, inspect};
use super::view::View;
use super::{Store, StoreError};
pub use restore::Restored;
use stream::{Beginning, Fault, Head, Row, Writer};

impl Store {
    /// Writes all that the store holds, as of one commit, into a file that is not there yet, and
    /// reads it back. What is damaged is not backed up as if it were sound. `on_secrets` is told how
    /// many have been written.
    pub fn back_up(&self, path: &Path, on_secrets: &mut dyn FnMut(usize)) -> Result<Inspection, StoreError> {
        let path = std::path::absolute(path).map_err(StoreError::io("find", path))?;
        refuse_existing(&path)?;
        self.read(|view, opened| {
            let found = inspect(view, None, &mut |_, _| Ok(()))?;
            if let Some(damage) = found.damages.into_iter().next() {
                return Err(StoreError::corrupt(damage.problem));
            }
            let stretch = Stretch::of_store(self.dir(), &view.root.key)?;
            let head = Head { backend: opened.layout.backend(), root: view.root.clone(), stretch };
            write_whole(&path, |file, at| write((file, at), view, &head, on_secrets), &opened.masters)?;
            Ok(Inspection { damages: Vec::new(), ..found })
        })
    }
}

fn refuse_existing(path: &Path) -> Result<(), StoreError> {
    match path.symlink_metadata() {
        Ok(_) => Err(StoreError::FileExists(path.to_owned())),
        Err(_) => Ok(()),
    }
}

/// The file is there when it is complete, on the disk, and was read back from it.
fn write_whole(
    path: &Path,
    write: impl FnOnce(&File, &Path) -> Result<(), StoreError>,
    masters: &Masters,
) -> Result<(), StoreError> {
    let new = path.with_added_extension("new");
    let file = make(&new)?;
    let written = write(&file, &new)
        .and_then(|()| file.sync_all().map_err(StoreError::io("write", &new)))
        .and_then(|()| read_back(&new, &file, masters))
        .and_then(|()| put_in_place(&new, path));
    written.inspect_err(|_| drop(std::fs::remove_file(&new)))
}

/// Makes the file that is renamed in the end, in the place of one that a dead process has left: a
/// living one holds a lock on its own.
fn make(new: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let busy = || StoreError::FileExists(new.to_owned());
    if let Ok(left) = options.open(new) {
        left.try_lock().map_err(|_| busy())?;
        std::fs::remove_file(new).map_err(StoreError::io("remove", new))?;
    }
    options.write(true).create_new(true).mode(0o600);
    let file = options.open(new).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => busy(),
        _ => StoreError::io("make", new)(error),
    })?;
    file.try_lock().map_err(|_| busy())?;
    let at = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata().map(at), new.symlink_metadata().map(at)) {
        (Ok(ours), Ok(there)) if ours == there => Ok(file),
        _ => Err(busy()),
    }
}

fn write(
    (file, at): (&File, &Path),
    view: &View<'_>,
    head: &Head,
    on_secrets: &mut dyn FnMut(usize),
) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("write", at)(error);
    let mut writer = Writer::begin(BufWriter::new(file), &view.masters.backup, head).map_err(failed)?;
    each_row(view.rows, &mut |row| writer.row(&row).map_err(failed), on_secrets)?;
    writer.end().and_then(|mut to| to.flush()).map_err(failed)
}

/// All rows but the root, each after those that it belongs to.
fn each_row(
    rows: &dyn Read,
    each: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    on_secrets: &mut dyn FnMut(usize),
) -> Result<(), StoreError> {
    for namespace in rows.namespaces()? {
        let id = namespace.id;
        each(Row::Namespace(namespace))?;
        rows.keys(&id)?.into_iter().try_for_each(|key| each(Row::Key(key)))?;
        rows.nodes(&id)?.into_iter().try_for_each(|(number, sealed)| each(Row::Node(id, number, sealed)))?;
        for node in 0..FANOUT {
            on_secrets(each_secret(rows, &id, node, each)?);
        }
    }
    Ok(())
}

fn each_secret(
    rows: &dyn Read,
    namespace: &Id,
    node: u8,
    each: &mut dyn FnMut(Row) -> Result<(), StoreError>,
) -> Result<usize, StoreError> {
    let headers = rows.header_rows(namespace, &range_of(node))?;
    let count = headers.len();
    for header in headers {
        let name = header.name;
        each(Row::Header(*namespace, header))?;
        for (version, record) in rows.records(namespace, &name)? {
            each(Row::Record(*namespace, name, version, record))?;
        }
    }
    Ok(count)
}

/// Not what the kernel remembers of it, if it lets go of that.
fn read_back(path: &Path, file: &File, masters: &Masters) -> Result<(), StoreError> {
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    let file = File::open(path).map_err(StoreError::io("read", path))?;
    let fault = |fault| unusable(path, fault);
    let mut rows = Beginning::read(BufReader::new(file)).map_err(fault)?.check_with(&masters.backup);
    while rows.row().map_err(fault)?.is_some() {}
    Ok(())
}

/// In nobody's place, on filesystems that can promise that.
fn put_in_place(new: &Path, path: &Path) -> Result<(), StoreError> {
    match renameat2(AT_FDCWD, new, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE) {
        Err(Errno::EEXIST) => return Err(StoreError::FileExists(path.to_owned())),
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            refuse_existing(path)?;
            std::fs::rename(new, path)
        }
        outcome => outcome.map_err(io::Error::from),
    }
    .map_err(StoreError::io("make", path))?;
    sync_names(path)
}

fn unusable(path: &Path, fault: Fault) -> StoreError {
    let problem = match fault {
        Fault::Other => "it is no backup of secretfs",
        Fault::Newer => "it is of a version of secretfs that this one does not know",
        Fault::CutShort => "it is cut short",
        Fault::Changed => "it is not as it was written",
        Fault::Io(error) => return StoreError::io("read", path)(error),
    };
    StoreError::Backup { path: path.to_owned(), problem }
}
