//! Where secrets come from: the one small trait, and its contract in words.
//! Uses the words of `secret`; each provider is one file or folder below.

use std::future::Future;
use std::pin::Pin;

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::secret::{Answer, SecretKey};

mod constant;
mod env;
mod local;
mod nowhere;

pub use env::EnvProvider;
pub use local::LocalStore;
pub use nowhere::Nowhere;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A source of secrets. Shared by all threads; an answer may take as long as the network does,
/// and whoever asks puts a deadline on it. A future must not block the thread that polls it.
pub trait Provider: Send + Sync {
    /// Answers every key, in order, all as of one moment. `Err` means that the provider *failed*
    /// and nothing is known; that a secret is *absent* is an answer.
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>>;

    /// All names, for `list` and for "did you mean". Never on the path of an open that succeeds.
    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>>;

    /// Whether a fetch can be expected to succeed now.
    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>>;

    /// Where the provider stands: called at every lookup, so it costs next to nothing.
    fn pulse(&self) -> Pulse;

    /// Finds and mends what the pulse cannot see. Called each second by who keeps a provider.
    fn tend(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async { Ok(()) })
    }

    /// Whether any of these may have changed after `since`, the `as_of` of an earlier batch.
    /// Answers with the moment up to which it has looked, or `None` if there was a change.
    fn unchanged<'a>(
        &'a self,
        keys: &'a [SecretKey],
        since: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, ProviderError>>;
}

/// Does work that may take a while (the disk, a long rendering) without keeping a thread of the
/// pool from others: timers go on, so that every deadline is met. Without a pool it just does it.
pub fn unhurried<T>(work: impl FnOnce() -> T) -> T {
    let pool =
        Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if pool { tokio::task::block_in_place(work) } else { work() }
}

/// Answers to the keys of one fetch, in their order.
pub struct Batch {
    pub answers: Vec<Answer>,
    /// The moment that the answers belong to, in the provider's own counting.
    pub as_of: u64,
}

/// A provider's word on its own state. Two equal `Still` mean: nothing has changed between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    Still(u64),
    /// A write is under way, or the state is not known: ask.
    Moving,
}

/// The provider could not answer. The text names what to look at and never holds a value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProviderError {
    /// No key, or a wrong one: the store cannot be read until somebody acts.
    #[error("{0}")]
    Sealed(String),
    /// What is stored does not authenticate, or is not what was written.
    #[error("{0}")]
    Corrupt(String),
    #[error("{0}")]
    Unavailable(String),
}
