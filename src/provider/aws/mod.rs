//! What AWS wants of who asks it: keys (`keys`), and a signature made with them (`sign`). Uses `net` and own secrets.

mod keys;
#[cfg(feature = "aws")]
mod provider;
mod sign;

pub(super) use keys::{KeySource, Keys};
#[cfg(feature = "aws")]
pub use provider::AwsProvider;
pub(super) use sign::{Scope, ToSign};
