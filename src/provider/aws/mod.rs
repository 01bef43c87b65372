//! What AWS wants of who asks it: keys (`keys`), and a signature made with them (`sign`). Uses `net` and own secrets.

mod keys;
mod sign;

pub(super) use keys::{KeySource, Keys};
pub(super) use sign::{Scope, ToSign};
