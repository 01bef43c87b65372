//! What a reload leaves behind gives back what was lent to it. Uses `resolver`.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::poison::EvenPoisoned;
use crate::resolver::Left;

/// Readers that were on their way have come to their end by then.
const LAST_READERS: Duration = Duration::from_secs(5);

/// Those that wait for their last readers.
#[derive(Default)]
pub(super) struct Leaving(Mutex<Vec<Waiting>>);

/// `None` once it has gone.
type Waiting = Arc<Mutex<Option<Left>>>;

impl Leaving {
    /// In a thread of its own: a reload waits for no server.
    pub(super) fn say_farewell(&self, left: Left) {
        if left.is_nobody() {
            return;
        }
        let waiting = Arc::new(Mutex::new(Some(left)));
        let mut all = self.0.lock().even_poisoned();
        // Whoever is about to go has it locked.
        all.retain(|waiting| waiting.try_lock().map_or(true, |it| it.is_some()));
        all.push(waiting.clone());
        let last = move || {
            thread::sleep(LAST_READERS);
            // Held meanwhile, so that the end waits for it.
            let mut waiting = waiting.lock().even_poisoned();
            waiting.take().into_iter().for_each(Left::give_back_now);
        };
        if let Err(error) = thread::Builder::new().name("farewell".to_owned()).spawn(last) {
            tracing::warn!(%error, "what was lent to providers that are gone is given back at the end only");
        }
    }

    /// At the end nobody waits any more.
    pub(super) fn take(&self) -> Left {
        let all = std::mem::take(&mut *self.0.lock().even_poisoned());
        all.iter().filter_map(|waiting| waiting.lock().even_poisoned().take()).collect()
    }
}
