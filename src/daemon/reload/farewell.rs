//! What a reload leaves behind gives back what was lent to it. Uses `resolver`.

use std::thread;
use std::time::Duration;

use crate::resolver::Left;

/// Readers that were on their way have come to their end by then.
const LAST_READERS: Duration = Duration::from_secs(5);

/// In a thread of its own: a reload waits for no server.
pub(super) fn say(left: Left) {
    if left.is_nobody() {
        return;
    }
    let last = move || {
        thread::sleep(LAST_READERS);
        left.give_back_now();
    };
    if let Err(error) = thread::Builder::new().name("farewell".to_owned()).spawn(last) {
        tracing::warn!(%error, "what was lent to providers that are gone was not given back: it ends by itself");
    }
}
