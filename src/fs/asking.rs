//! What of a caller cannot be told at once: one look at a time for each user, so that nobody holds
//! more threads than one, whatever programs he starts and however many groups they are in.
//! Uses `sys::identity`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::broker::Error;
use crate::caller::{Caller, Identity, Inquiry, Refusal};
use crate::poison::EvenPoisoned;
use crate::provider::unhurried;
use crate::sys::identity;

/// By user, as long as somebody looks or waits for his turn.
static TURNS: LazyLock<Mutex<HashMap<u32, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);

/// Who waits holds no thread.
pub(super) async fn gather(caller: &Caller, wanted: Inquiry<'_>) -> Result<Identity, Refusal> {
    match identity::gather_at_once(caller, wanted)? {
        Some(known) => Ok(known),
        None => in_turn(caller, || identity::gather(caller, wanted)).await,
    }
}

/// Whether the caller is what it was.
pub(super) async fn still(identity: &Identity, wanted: Inquiry<'_>) -> Result<(), Refusal> {
    in_turn(&identity.caller, || identity::still(identity, wanted)).await
}

/// Within the time that the answer may take.
pub(super) async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Error> {
    timeout(limit, work).await.map_err(|_| Error::Timeout(limit))
}

async fn in_turn<T>(caller: &Caller, look: impl FnOnce() -> T) -> T {
    let turn = turn(caller.uid);
    let _turn = turn.acquire().await;
    unhurried(look)
}

fn turn(uid: u32) -> Arc<Semaphore> {
    let mut turns = TURNS.lock().even_poisoned();
    turns.retain(|other, turn| *other == uid || Arc::strong_count(turn) > 1);
    turns.entry(uid).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
}
