//! Providers whose answers never change while the process lives: they have no state to be asked
//! about, and cannot fail. Uses the trait only.

use super::{AsOf, Batch, BoxFuture, Changes, Provider, ProviderError, Pulse};
use crate::secret::{Answer, SecretKey};

pub(super) trait Constant: Send + Sync {
    fn answer(&self, key: &SecretKey) -> Answer;
    fn names(&self) -> Vec<String>;
}

impl<T: Constant> Provider for T {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        let answers = keys.iter().map(|key| self.answer(key)).collect();
        Box::pin(async { Ok(Batch { answers, as_of: AsOf::moment(0) }) })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        let names = Constant::names(self);
        Box::pin(async { Ok(names) })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async { Ok(()) })
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }
}

impl<T: Constant> Changes for T {
    fn pulse(&self) -> Pulse {
        Pulse::Still(0)
    }

    fn unchanged<'a>(
        &'a self,
        _keys: &'a [SecretKey],
        since: u64,
    ) -> BoxFuture<'a, Result<Option<AsOf>, ProviderError>> {
        Box::pin(async move { Ok(Some(AsOf::moment(since))) })
    }
}
