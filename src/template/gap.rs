//! A value that is not there, on its way through the engine: an object that only our filters know what to do
//! with, and that knows what to say if somebody needs it.

use std::sync::Arc;

use minijinja::Value;
use minijinja::value::Object;

use crate::secret::SecretKey;

use super::error::{Fault, Kind, Span};

#[derive(Clone, Debug)]
pub(super) enum Gap {
    /// Has to be fetched first.
    Needs(SecretKey),
    /// `default` and `fallback` can stand in for it, and nothing else.
    Missing(Fault),
    /// Nothing can: it has expired, or something has been made of what is missing.
    Firm(Fault),
}

impl Object for Gap {}

impl Gap {
    pub(super) fn of(value: &Value) -> Option<Arc<Self>> {
        value.downcast_object::<Self>()
    }

    /// Not even an environment variable or a part of a document, but not a secret that is missing.
    pub(super) fn undefined(span: Span, message: impl Into<String>) -> Self {
        Self::Missing(*Fault::new(Kind::Undefined, span, message).hint("`| default(\"…\")` to do without"))
    }

    /// What becomes of it in a filter.
    pub(super) fn firm(&self) -> Self {
        match self.clone() {
            Self::Missing(fault) => Self::Firm(fault),
            other => other,
        }
    }
}

impl From<Gap> for Value {
    fn from(gap: Gap) -> Self {
        Self::from_object(gap)
    }
}
