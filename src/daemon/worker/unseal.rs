//! A daemon whose store has no key yet serves what needs none; this notices when the key comes.
//! Uses `provider` and `store`.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::Event;
use crate::daemon::assemble::{Choice, STORE};
use crate::daemon::reload::Reloader;
use crate::provider::{ProviderError, unhurried};
use crate::store::Access;

const PERIOD: Duration = Duration::from_secs(1);

/// Ends when the store is not sealed, or could be opened: then a successor opens it.
pub(super) async fn wait_for_key(reloader: Arc<Reloader>, choice: Choice, tell: Sender<Event>) {
    loop {
        let current = reloader.current();
        let Some(store) = current.broker.provider(STORE) else { return };
        if !matches!(store.health().await, Err(ProviderError::Sealed(_))) {
            return;
        }
        if unhurried(|| choice.open_store(&current.config.store, Access::Read)).is_ok() {
            let _ = tell.send(Event::KeyFound);
            return;
        }
        tokio::time::sleep(PERIOD).await;
    }
}
