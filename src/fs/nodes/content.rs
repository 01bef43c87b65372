//! What a node is of, and what it holds. Uses `snapshot`.

use std::sync::Arc;

use super::super::snapshot::{Failure, Fingerprint, Snapshot};
use super::super::tree::FileId;

/// Whose rendering it is: everybody's, that of one class of callers (`reader.*`), or, of either,
/// that of who gets harmless values in place of the real ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum View {
    Real,
    Reader(Arc<str>),
    /// Of the class; of nobody in particular if it is empty.
    Placeholder(Arc<str>),
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

/// How the name of a placeholder view begins. That of a class begins with a number.
const PLACEHOLDER: &str = "placeholder";

impl View {
    /// That of this class of callers, if the template asks for one.
    pub fn of(class: Option<Arc<str>>, shows_real: bool) -> Self {
        match (class, shows_real) {
            (None, true) => Self::Real,
            (Some(class), true) => Self::Reader(class),
            (class, false) => Self::Placeholder(class.unwrap_or_else(|| "".into())),
        }
    }

    /// Whether it is the same for all who may have it.
    pub fn is_common(&self) -> bool {
        match self {
            Self::Real => true,
            Self::Reader(_) => false,
            Self::Placeholder(class) => class.is_empty(),
        }
    }

    pub fn shows_real(&self) -> bool {
        !matches!(self, Self::Placeholder(_))
    }

    /// What [`Self::named`] makes it of again.
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Real => "".into(),
            Self::Reader(class) => class.clone(),
            Self::Placeholder(class) => format!("{PLACEHOLDER}{class}").into(),
        }
    }

    pub fn named(name: &Arc<str>) -> Self {
        match name.strip_prefix(PLACEHOLDER) {
            Some(class) => Self::Placeholder(class.into()),
            None if name.is_empty() => Self::Real,
            None => Self::Reader(name.clone()),
        }
    }
}

impl Content {
    pub fn file(&self) -> FileId {
        match self {
            Self::Bare(file) => *file,
            Self::Failed(place, _) | Self::Filled(place, _) | Self::Wiped(place, _) => place.file,
        }
    }

    /// Whether there may be real values in it.
    pub fn shows_real(&self) -> bool {
        match self {
            Self::Bare(_) => false,
            Self::Failed(place, _) | Self::Filled(place, _) | Self::Wiped(place, _) => {
                place.view.shows_real()
            }
        }
    }

    pub(super) fn is_at(&self, place: &Place) -> bool {
        match self {
            Self::Bare(_) => false,
            Self::Failed(own, _) | Self::Filled(own, _) | Self::Wiped(own, _) => own == place,
        }
    }

    pub(super) fn holds(&self, snapshot: &Arc<Snapshot>) -> bool {
        matches!(self, Self::Filled(_, held) if Arc::ptr_eq(held, snapshot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_has_one_name() {
        for class in [None, Some("7\x007\x00None".into())] {
            for shows_real in [true, false] {
                let view = View::of(class.clone(), shows_real);
                assert_eq!(View::named(&view.name()), view);
                assert_eq!((view.is_common(), view.shows_real()), (class.is_none(), shows_real));
            }
        }
    }
}
