//! What some providers are besides: they count their changes, lend what they take back, or remember what another one
//! answers. Who asks any provider asks it here, and hears what is so of most. Uses the trait only.

use std::sync::Arc;
use std::time::Duration;

use super::{AsOf, Batch, BoxFuture, Given, Provider, ProviderError, Pulse, Refreshed};
use crate::secret::SecretKey;
use crate::sys::uptime::Uptime;

/// Knows of its changes without being asked for values.
pub trait Changes: Send + Sync {
    /// Where the provider stands: called at every lookup, so it costs next to nothing.
    fn pulse(&self) -> Pulse;

    /// Whether any of these may have changed after `since`, the `as_of` of an earlier batch.
    /// Answers with the moment up to which it has looked, or `None` if there was a change.
    fn unchanged<'a>(
        &'a self,
        keys: &'a [SecretKey],
        since: u64,
    ) -> BoxFuture<'a, Result<Option<AsOf>, ProviderError>>;

    /// The same where no reader waits for it: leaves their turns to those who do.
    fn unchanged_aside<'a>(
        &'a self,
        keys: &'a [SecretKey],
        since: u64,
    ) -> BoxFuture<'a, Result<Option<AsOf>, ProviderError>> {
        self.unchanged(keys, since)
    }
}

/// Makes secrets for who asks, and takes them back.
pub trait Lender: Send + Sync {
    /// What it has of these already: lent, and not at its end. Asked where it must be left alone. Never waits.
    fn at_hand(&self, keys: &[SecretKey]) -> Option<Batch>;

    /// From now on nothing is made at the source for who asks: that it could be is all that is looked into.
    fn rehearse(&self);

    /// Whether this has to be made at the source: nothing is known of it before. Never waits.
    fn makes(&self, path: &str) -> bool;

    /// Gives back what was lent to it: logins, credentials that are ours alone. The last that it is asked.
    fn give_back(&self, given: Given) -> BoxFuture<'_, ()>;
}

/// Stands before another provider, and keeps its answers for a while.
pub trait Memory: Send + Sync {
    /// Whom it stands before: that one goes on if this one is replaced.
    fn behind(&self) -> Arc<dyn Provider>;

    /// How long an answer may take.
    fn time(&self) -> Duration;

    /// Whether it has an answer to any of these, and its provider does not fail: who waits gets no older answer.
    fn is_known_for(&self, keys: &[SecretKey]) -> bool;

    /// Asks anew for all that is held, whatever its age.
    fn refresh(&self) -> BoxFuture<'_, Refreshed>;

    /// Since when nobody has confirmed the oldest of the answers that are served in place of newer ones.
    fn stale_since(&self) -> Option<Uptime>;
}

impl dyn Provider + '_ {
    /// As [`Changes::pulse`]. Of most, nothing is known without a question.
    pub fn pulse(&self) -> Pulse {
        self.changes().map_or(Pulse::Moving, Changes::pulse)
    }

    /// As [`Changes::unchanged`]. A provider that does not count its changes cannot tell.
    pub async fn unchanged(&self, keys: &[SecretKey], since: u64) -> Result<Option<AsOf>, ProviderError> {
        match self.changes() {
            Some(changes) => changes.unchanged(keys, since).await,
            None => Ok(None),
        }
    }

    /// As [`Changes::unchanged_aside`].
    pub async fn unchanged_aside(
        &self,
        keys: &[SecretKey],
        since: u64,
    ) -> Result<Option<AsOf>, ProviderError> {
        match self.changes() {
            Some(changes) => changes.unchanged_aside(keys, since).await,
            None => Ok(None),
        }
    }

    /// As [`Lender::give_back`]. Most have nothing to give back.
    pub async fn give_back(&self, given: Given) {
        if let Some(lender) = self.lender() {
            lender.give_back(given).await;
        }
    }
}
