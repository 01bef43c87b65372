//! Asking anew for all that is held (`secretfs sync --now`): what is known stays so until there is an answer.
//! Uses `flight` and `table`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::flight::Seat;
use super::{Inner, Need};
use crate::provider::{ProviderError, Refreshed};
use crate::secret::SecretKey;

/// Whoever has asked for it waits two minutes, and the last piece takes its time.
const LONGEST: Duration = Duration::from_secs(100);

impl Inner {
    /// In pieces, so that who reads meanwhile waits for a turn no longer than usual.
    pub(super) async fn refresh(self: &Arc<Self>) -> Refreshed {
        let held = self.table().held();
        let mut refreshed = Refreshed { asked: held.len(), ..Refreshed::default() };
        let end = Instant::now() + LONGEST;
        for piece in held.chunks(self.piece()) {
            if Instant::now() >= end {
                refreshed.fail(piece.len(), || {
                    ProviderError::Timeout(format!("no time was left after {LONGEST:?}"))
                });
                continue;
            }
            self.refresh_some(piece, &mut refreshed).await;
        }
        refreshed
    }

    async fn refresh_some(self: &Arc<Self>, held: &[(SecretKey, u64)], refreshed: &mut Refreshed) {
        let (keys, changed): (Vec<SecretKey>, Vec<u64>) = held.iter().cloned().unzip();
        self.await_flights(&keys).await;
        for (seat, changed) in self.board(&keys, Need::Anew).into_iter().zip(changed) {
            let told = match seat {
                Seat::None(told) => Ok(told),
                Seat::Aboard { mut landing, .. } => match landing.wait_for(Option::is_some).await {
                    Ok(landed) => landed.clone().expect("waited until it is there"),
                    Err(_) => Err(ProviderError::Unavailable("the question was lost".to_owned())),
                },
            };
            match told {
                Ok(told) => refreshed.changed += usize::from(told.changed != changed),
                Err(error) => refreshed.fail(1, || error),
            }
        }
    }

    /// So many secrets take half of the turns that there are.
    pub(super) fn piece(&self) -> usize {
        self.largest_question().saturating_mul((self.limits.at_once() / 2).max(1))
    }

    /// What is under way may bring an answer from before.
    async fn await_flights(&self, keys: &[SecretKey]) {
        let flights: Vec<_> = keys
            .iter()
            .filter_map(|key| self.table().flights.get(key).map(|it| it.landing.clone()))
            .collect();
        for mut landing in flights {
            let _ = landing.wait_for(Option::is_some).await;
        }
    }
}

impl Refreshed {
    fn fail(&mut self, many: usize, why: impl FnOnce() -> ProviderError) {
        self.failed += many;
        self.error.get_or_insert_with(why);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;
    use tokio::time::sleep;

    use super::super::Cache;
    use super::*;
    use crate::config::{Keeping, Limits};
    use crate::provider::{AsOf, Batch, BoxFuture, Provider};
    use crate::secret::Absent;

    /// Answers while there are permits.
    pub(in crate::cache) struct Gated(pub Semaphore, pub AtomicUsize);

    impl Provider for Gated {
        fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
            Box::pin(async {
                self.1.fetch_add(1, Ordering::SeqCst);
                self.0.acquire().await.unwrap().forget();
                self.0.add_permits(1);
                let answers = keys.iter().map(|_| Err(Absent::Missing)).collect();
                Ok(Batch { answers, as_of: AsOf::moment(0) })
            })
        }

        fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
            Box::pin(async { Ok(()) })
        }
    }

    /// Who asks for another one meanwhile has a turn at once. The control boards all, which takes all turns.
    #[tokio::test]
    async fn what_is_asked_for_anew_leaves_turns_to_readers() {
        for in_pieces in [true, false] {
            let upstream = Arc::new(Gated(Semaphore::new(1_000), AtomicUsize::new(0)));
            let limits = Limits { batch: Some(1), concurrency: 4, ..Limits::default() };
            let cache = Cache::new("p", upstream.clone(), limits, Keeping::default());
            let keys: Vec<_> = (0..40).map(|number| SecretKey::named(&number.to_string())).collect();
            cache.fetch(&keys).await.unwrap();
            upstream.0.acquire_many(1_000).await.unwrap().forget();
            let inner = cache.0.clone();
            let all = keys.clone();
            let anew = tokio::spawn(async move {
                match in_pieces {
                    true => inner.refresh().await,
                    false => {
                        inner.board(&all, Need::Anew);
                        Refreshed::default()
                    }
                }
            });
            sleep(Duration::from_millis(100)).await;
            let taken = upstream.1.load(Ordering::SeqCst) - 40;
            assert_eq!(taken, if in_pieces { 2 } else { 4 });
            let reader = cache.0.board(&[SecretKey::named("cold")], Need::Values);
            sleep(Duration::from_millis(100)).await;
            assert_eq!(upstream.1.load(Ordering::SeqCst) - 40 - taken, usize::from(in_pieces));
            drop(reader);
            upstream.0.add_permits(1_000);
            let refreshed = anew.await.unwrap();
            if in_pieces {
                assert_eq!((refreshed.asked, refreshed.failed), (40, 0));
                assert!(upstream.1.load(Ordering::SeqCst) >= 80, "all of them");
            }
        }
    }
}
