//! Asking anew for all that is held (`secretfs sync --now`): what is known stays so until there is an answer.
//! Uses `flight` and `table`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::flight::Seat;
use super::{Inner, Need};
use crate::provider::{ProviderError, Refreshed};
use crate::secret::SecretKey;

/// Whoever has asked for it waits no longer.
const LONGEST: Duration = Duration::from_secs(120);

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
    fn piece(&self) -> usize {
        let turns =
            self.limits.per_second.map_or(self.limits.concurrency, |it| it.min(self.limits.concurrency));
        self.largest_question().saturating_mul((turns / 2).max(1))
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
