//! Asking anew for all that is held (`secretfs sync --now`): what is known stays so until there is an answer.
//! Uses `flight` and `table`.

use std::sync::Arc;

use super::flight::Seat;
use super::{Inner, Need};
use crate::provider::{ProviderError, Refreshed};
use crate::secret::SecretKey;

impl Inner {
    pub(super) async fn refresh(self: &Arc<Self>) -> Refreshed {
        let (keys, changed): (Vec<SecretKey>, Vec<u64>) = self.table().held().into_iter().unzip();
        self.await_flights(&keys).await;
        let mut refreshed = Refreshed { asked: keys.len(), ..Refreshed::default() };
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
                Err(error) => {
                    refreshed.failed += 1;
                    refreshed.error.get_or_insert(error);
                }
            }
        }
        refreshed
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
