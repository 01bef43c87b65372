//! The values that a rendering works with. Whatever may hold a secret is borrowed from where it lives or
//! wiped when dropped. Uses zeroize and `error`.

use std::rc::Rc;

use serde_json::Number;
use zeroize::Zeroizing;

use super::error::Fault;

#[derive(Clone)]
pub(super) enum Value<'v> {
    /// Nothing there, with what is said if somebody needs it. Only `default`, `fallback` and
    /// `is defined` may pass over it.
    Absent(Rc<Fault>),
    Null,
    Bool(bool),
    Number(Number),
    Text(Text<'v>),
    /// From `tojson`: stands at a value's place of a JSON file as it is.
    Json(Text<'v>),
    List(Rc<Vec<Value<'v>>>),
    Map(Rc<Vec<(Text<'v>, Value<'v>)>>),
}

#[derive(Clone)]
pub(super) enum Text<'v> {
    Borrowed(&'v [u8]),
    Owned(Rc<Zeroizing<Vec<u8>>>),
}

impl Text<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl From<Zeroizing<Vec<u8>>> for Text<'_> {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self::Owned(Rc::new(bytes))
    }
}

impl Value<'_> {
    pub(super) fn text(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Text(Zeroizing::new(bytes.into()).into())
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Absent(_) | Self::Null => false,
            Self::Bool(yes) => *yes,
            Self::Number(number) => number.as_f64() != Some(0.0),
            Self::Text(text) | Self::Json(text) => !text.bytes().is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(entries) => !entries.is_empty(),
        }
    }

    /// What it is, for an error.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Absent(_) => "nothing",
            Self::Null => "null",
            Self::Bool(_) => "a true or false",
            Self::Number(_) => "a number",
            Self::Text(_) | Self::Json(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b || a.as_f64() == b.as_f64(),
            (Self::Text(a) | Self::Json(a), Self::Text(b) | Self::Json(b)) => a.bytes() == b.bytes(),
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b.iter()).all(|(a, b)| a.0.bytes() == b.0.bytes() && a.1 == b.1)
            }
            _ => false,
        }
    }
}
