//! Asking where no reader waits: in pieces, for which there is a part of the turns. Who reads meanwhile has the
//! others, and waits for no more than a piece. Uses `flight`, `turns` and `table`.

use std::sync::Arc;

use super::table::Told;
use super::{Inner, Need};
use crate::provider::{AsOf, ProviderError};
use crate::secret::SecretKey;
use crate::sys::uptime::Uptime;

impl Inner {
    /// As [`crate::provider::Changes::unchanged`]. What is not its turn yet is not under way either, so that a
    /// reader who wants to know asks by itself.
    pub(super) async fn unchanged_aside(
        self: &Arc<Self>,
        keys: &[SecretKey],
        since: u64,
    ) -> Result<Option<AsOf>, ProviderError> {
        if !self.table().knows_all(keys, since) {
            return Ok(None);
        }
        let mut told = Vec::with_capacity(keys.len());
        for piece in keys.chunks(self.piece()) {
            let news = match self.known(piece) {
                Some(known) => known,
                None => {
                    let questions = piece.len().div_ceil(self.largest_question());
                    self.turns.aside(questions, self.tell(piece, Need::Changes)).await?
                }
            };
            if news.iter().any(|told| told.changed > since) {
                return Ok(None);
            }
            // Values are kept by the table, and not for as long as this takes.
            told.extend(news.into_iter().map(|told| Told { answer: None, ..told }));
        }
        // Nobody has waited for it, who would have more of it for that.
        Ok(Some(self.as_of(keys, &told, Uptime::now())))
    }

    fn known(&self, keys: &[SecretKey]) -> Option<Vec<Told>> {
        let (mut table, now) = (self.table(), Uptime::now());
        keys.iter().map(|key| table.fresh(key, Need::Changes, now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::Semaphore;
    use tokio::time::sleep;

    use super::super::Cache;
    use super::super::refresh::tests::Gated;
    use super::*;
    use crate::config::{Keeping, Limits};
    use crate::provider::{Changes, Provider};

    const TTL: Duration = Duration::from_millis(10);

    /// Of many files at once, as they are looked after each second. The control asks as readers do.
    #[tokio::test]
    async fn what_nobody_waits_for_leaves_turns_to_readers() {
        for is_aside in [true, false] {
            let upstream = Arc::new(Gated(Semaphore::new(1_000), AtomicUsize::new(0)));
            let limits = Limits { batch: Some(1), concurrency: 4, ..Limits::default() };
            let keeping = Keeping { ttl: TTL, negative_ttl: TTL, ..Keeping::default() };
            let cache = Cache::new("p", upstream.clone(), limits, keeping);
            let keys: Vec<_> = (0..40).map(|number| SecretKey::named(&number.to_string())).collect();
            let moment = cache.fetch(&keys).await.unwrap().as_of.moment;
            upstream.0.acquire_many(1_000).await.unwrap().forget();
            sleep(TTL * 2).await;
            let of_file = |keys: &[SecretKey]| {
                let (inner, keys) = (cache.0.clone(), keys.to_vec());
                tokio::spawn(async move {
                    match is_aside {
                        true => inner.unchanged_aside(&keys, moment).await,
                        false => Cache(inner).unchanged(&keys, moment).await,
                    }
                })
            };
            let files: Vec<_> = keys.chunks(10).map(of_file).collect();
            sleep(Duration::from_millis(100)).await;
            let taken = upstream.1.load(Ordering::SeqCst) - 40;
            assert_eq!(taken, if is_aside { 2 } else { 4 });
            let reader = cache.0.board(&[SecretKey::named("cold")], Need::Values);
            sleep(Duration::from_millis(100)).await;
            assert_eq!(upstream.1.load(Ordering::SeqCst) - 40 - taken, usize::from(is_aside));
            drop(reader);
            upstream.0.add_permits(1_000);
            for file in files {
                assert!(file.await.unwrap().unwrap().is_some(), "nothing has changed");
            }
        }
    }
}
