//! Which mount has which device number. The kernel gives a number again as soon as its mount is
//! gone, which its server hears a little later. Uses `fs::mountpoint`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::mounts::forget;
use crate::fs::mountpoint;
use crate::poison::EvenPoisoned;
use crate::sys::link::Link;

#[derive(Default)]
pub(super) struct Numbers(Mutex<Given>);

#[derive(Default)]
pub(super) struct Given {
    which: BTreeMap<String, u64>,
    count: u64,
}

/// A mount of this worker, once and for all.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    pub(super) number: String,
    at: PathBuf,
    which: u64,
}

/// What the end of its serving means.
pub(super) enum End {
    /// Nothing is left of it, and its number is another's already.
    Forgotten,
    /// It is where it was, without a connection.
    Dead,
    Gone,
}

impl Numbers {
    /// As long as this is held no number is another's than it was.
    pub(super) fn lock(&self) -> MutexGuard<'_, Given> {
        self.0.lock().even_poisoned()
    }

    /// It is not served any more. If it is gone, the holder does not keep it either.
    pub(super) fn end(&self, mount: &Numbered, link: &Link) -> End {
        let mut given = self.lock();
        if given.which.get(&mount.number) != Some(&mount.which) {
            return End::Forgotten;
        }
        if mountpoint::has_ours_with(&mount.at, &mount.number) {
            return End::Dead;
        }
        given.which.remove(&mount.number);
        forget(link, &mount.number);
        End::Gone
    }
}

impl Given {
    pub(super) fn give(&mut self, number: &str, at: &Path) -> Numbered {
        self.count += 1;
        self.which.insert(number.to_owned(), self.count);
        Numbered { number: number.to_owned(), at: at.to_owned(), which: self.count }
    }
}
