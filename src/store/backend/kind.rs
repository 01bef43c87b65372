//! Which backends there are, and what each is called and made by. The only match on them.
//! Uses `sqlite` and `file`.

use std::path::Path;

use super::super::file::JsonFile;
use super::super::sqlite::Sqlite;
use super::super::{Access, StoreError};
use super::Backend;

/// How the rows of a store are kept. Chosen when it is made, and written down in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// A database: for any number of secrets.
    Sqlite,
    /// One JSON document, rewritten with each change: where SQLite cannot work.
    File,
}

impl BackendKind {
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::File];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::File => "file",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The file with the rows, and those that may lie beside it.
    pub(in crate::store) fn files(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Sqlite => {
                ("store.db", &["store.db-wal", "store.db-shm", "store.db-journal", "store.db.lock"])
            }
            Self::File => ("store.json", &["store.json.new", "store.json.lock"]),
        }
    }

    /// Makes an empty one; `path` is the file with the rows, and not there yet.
    pub(in crate::store) fn create(self, path: &Path) -> Result<Box<dyn Backend>, StoreError> {
        Ok(match self {
            Self::Sqlite => Box::new(Sqlite::create(path)?),
            Self::File => Box::new(JsonFile::create(path)?),
        })
    }

    pub(in crate::store) fn open(self, path: &Path, access: Access) -> Result<Box<dyn Backend>, StoreError> {
        Ok(match self {
            Self::Sqlite => Box::new(Sqlite::open(path, access)?),
            Self::File => Box::new(JsonFile::open(path)?),
        })
    }
}
