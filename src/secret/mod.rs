//! The words for secrets: values, names, references, versions. Uses std, zeroize and jiff only.
//! A value lives in [`SecretBytes`] from the byte it arrives to the byte it leaves.

mod kind;
mod name;
mod reference;
mod selector;
mod uses;
mod value;
mod version;

pub use kind::SecretType;
pub use name::{FieldName, NameError, Namespace, SecretName};
pub use reference::{Reference, ReferenceError, SecretKey};
pub use selector::Selector;
pub use uses::Uses;
pub use value::SecretBytes;
pub use version::{Absent, Answer, SecretVersion};
