//! Asking where no reader waits: in pieces, for which there is a part of the turns. Who reads meanwhile has the
//! others, and waits for no more than a piece. Uses `flight`, `turns` and `table`.

use std::sync::Arc;

use super::table::Told;
use super::{Inner, Need};
use crate::provider::{AsOf, ProviderError};
use crate::secret::SecretKey;
use crate::sys::uptime::Uptime;

impl Inner {
    /// As [`crate::provider::Provider::unchanged`]. What is not its turn yet is not under way either, so that a
    /// reader who wants to know asks by itself.
    pub(super) async fn unchanged_aside(
        self: &Arc<Self>,
        keys: &[SecretKey],
        since: u64,
    ) -> Result<Option<AsOf>, ProviderError> {
        if !self.table().knows_all(keys, since) {
            return Ok(None);
        }
        let began = Uptime::now();
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
        Ok(Some(self.as_of(keys, &told, began)))
    }

    fn known(&self, keys: &[SecretKey]) -> Option<Vec<Told>> {
        let (mut table, now) = (self.table(), Uptime::now());
        keys.iter().map(|key| table.fresh(key, Need::Changes, now)).collect()
    }
}
