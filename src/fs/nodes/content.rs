//! What a node is of, and what it holds. Uses `snapshot`.

use std::sync::Arc;

use super::super::snapshot::{Failure, Fingerprint, Snapshot};
use super::super::tree::FileId;

/// Whose rendering it is: everybody's, or that of one class of callers (`reader.*`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum View {
    Real,
    Reader(Arc<str>),
}

/// One file as one view sees it: has at most one current snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub file: FileId,
    pub view: View,
}

pub enum Content {
    /// What a caller sees who may not read: never filled.
    Bare(FileId),
    Failed(Place, Arc<Failure>),
    Filled(Place, Arc<Snapshot>),
    /// Was filled; the bytes are wiped.
    Wiped(Place, Fingerprint),
}

impl Content {
    pub fn file(&self) -> FileId {
        match self {
            Self::Bare(file) => *file,
            Self::Failed(place, _) | Self::Filled(place, _) | Self::Wiped(place, _) => place.file,
        }
    }

    pub(super) fn holds(&self, snapshot: &Arc<Snapshot>) -> bool {
        matches!(self, Self::Filled(_, held) if Arc::ptr_eq(held, snapshot))
    }
}
