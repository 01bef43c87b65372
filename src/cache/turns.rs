//! Whose turn it is to ask a provider: so many at once, and those who hang must not have all turns.
//! Who takes long gives its turn up and goes on; who has failed has only a part of the turns.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::config::Limits;

pub(super) struct Turns {
    turns: Semaphore,
    /// For those whose last question has failed.
    suspects: Semaphore,
    /// Bounds all, those included who have given their turn up.
    all: Semaphore,
    /// From then on a question takes long.
    long: Duration,
}

/// To be had until the question is answered.
pub(super) struct Turn<'a> {
    _all: SemaphorePermit<'a>,
    counted: (SemaphorePermit<'a>, Option<SemaphorePermit<'a>>),
    long: Duration,
}

/// What takes long is no more than three times as much as what does not.
const ALL: usize = 4;
/// The part of its time after which a question takes long.
const LONG: u32 = 4;

impl Turns {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            turns: Semaphore::new(limits.concurrency),
            suspects: Semaphore::new(limits.concurrency.div_ceil(2)),
            all: Semaphore::new(limits.concurrency * ALL),
            long: limits.timeout / LONG,
        }
    }

    pub(super) async fn take(&self, is_suspect: bool) -> Turn<'_> {
        let suspect = match is_suspect {
            true => Some(one_of(&self.suspects).await),
            false => None,
        };
        let counted = (one_of(&self.turns).await, suspect);
        Turn { _all: one_of(&self.all).await, counted, long: self.long }
    }
}

impl Turn<'_> {
    pub(super) async fn spend<T>(self, question: impl Future<Output = T>) -> T {
        let mut question = pin!(question);
        match timeout(self.long, &mut question).await {
            Ok(answer) => answer,
            Err(_) => {
                drop(self.counted);
                question.await
            }
        }
    }
}

async fn one_of(semaphore: &Semaphore) -> SemaphorePermit<'_> {
    semaphore.acquire().await.expect("it is never closed")
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;

    fn turns(concurrency: usize) -> Arc<Turns> {
        Arc::new(Turns::new(&Limits {
            timeout: Duration::from_millis(400),
            concurrency,
            ..Limits::default()
        }))
    }

    async fn hang(turns: &Arc<Turns>, number: usize, is_suspect: bool) {
        for _ in 0..number {
            let turns = turns.clone();
            tokio::spawn(async move { turns.take(is_suspect).await.spend(pending::<()>()).await });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    async fn has_turn(turns: &Turns, within: Duration) -> bool {
        timeout(within, turns.take(false)).await.is_ok()
    }

    #[tokio::test]
    async fn those_who_hang_give_their_turns_up_but_not_without_end() {
        let turns = turns(2);
        hang(&turns, 2, false).await;
        assert!(!has_turn(&turns, Duration::from_millis(20)).await, "the control: so many at once");
        assert!(has_turn(&turns, Duration::from_millis(300)).await);
        hang(&turns, 6, false).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!has_turn(&turns, Duration::from_millis(300)).await, "four times as many");
    }

    #[tokio::test]
    async fn those_who_failed_leave_turns_to_others() {
        let turns = turns(2);
        hang(&turns, 5, true).await;
        assert!(has_turn(&turns, Duration::from_millis(20)).await);
    }
}
