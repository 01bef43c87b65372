//! Providers that are left: each gives back what was lent to it, within a time. One that goes on behind another memory
//! is not left. Uses `provider`.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Resolver;
use crate::provider::{Given, Memory, Provider};

/// The time for all providers together to say goodbye.
const FAREWELL: Duration = Duration::from_secs(2);

/// Who has to say goodbye, and what becomes of what was lent.
pub struct Left(Vec<(Arc<dyn Provider>, Given)>);

impl Resolver {
    /// All of them.
    pub fn left(&self, given: Given) -> Left {
        Left(self.each().map(|(_, provider)| (provider.clone(), given)).collect())
    }

    /// Those that the next one does without. What came from one that has another in its place may be in use.
    pub fn left_by(&self, next: &Self) -> Left {
        let goes_on = |provider: &Arc<dyn Provider>| {
            let source = source(provider);
            next.each().any(|(_, other)| is_same(&source, &self::source(other)))
        };
        let gone = self.each().filter(|(_, provider)| !goes_on(provider));
        let given = |name: &str| match next.each().any(|(other, _)| other == name) {
            true => Given::InUse,
            false => Given::Over,
        };
        Left(gone.map(|(name, provider)| (provider.clone(), given(name))).collect())
    }
}

/// Several as one: all of them are asked at once.
impl FromIterator<Left> for Left {
    fn from_iter<I: IntoIterator<Item = Left>>(all: I) -> Self {
        Self(all.into_iter().flat_map(|left| left.0).collect())
    }
}

impl Resolver {
    /// This one is in force: who goes on behind another memory keeps to the time that this one gives.
    pub fn begin(&self) {
        for (_, provider) in self.each() {
            if let Some(memory) = provider.memory() {
                memory.behind().allow(memory.time());
            }
        }
    }
}

impl Left {
    pub fn is_nobody(&self) -> bool {
        self.0.is_empty()
    }

    /// The last that they are asked.
    pub async fn give_back(self) {
        let mut left: JoinSet<()> = JoinSet::new();
        for (provider, given) in self.0 {
            left.spawn(async move { provider.give_back(given).await });
        }
        let all = async { while left.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FAREWELL, all).await;
    }

    /// The same for who waits in a thread of its own.
    pub fn give_back_now(self) {
        if self.is_nobody() {
            return;
        }
        // Connections of another runtime, which may be gone, are replaced.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            runtime.block_on(self.give_back());
        }
    }
}

/// What holds the login, behind whatever keeps its answers.
fn source(provider: &Arc<dyn Provider>) -> Arc<dyn Provider> {
    provider.memory().map_or_else(|| provider.clone(), Memory::behind)
}

fn is_same(one: &Arc<dyn Provider>, other: &Arc<dyn Provider>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}
