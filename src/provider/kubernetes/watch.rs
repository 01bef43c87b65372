//! Hears of changes: one watch for each object that was asked for, since a right to watch by name is all that many
//! have. Says when all of them listen, what has changed, and now and then that somebody still answers.

use std::convert::Infallible;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Shared;
use super::cluster::Refusal;
use super::ear::listen;
use super::heard::Ear;
use crate::provider::{BoxFuture, News, ProviderError, Tell};

/// After so long one of the objects is looked at, in their turn: a server that hangs is found out so.
const BEAT: Duration = Duration::from_secs(20);
/// After so long it is looked whether the files that say where the cluster is have changed: whoever asks looks, too,
/// and what is certain is not asked for.
const LOOK: Duration = Duration::from_secs(5);
/// A watch that ends sooner than this after it has begun is a trouble, and the next one waits: twice as long after each.
const SOON: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

type Ears<'a> = Vec<(Ear, BoxFuture<'a, ProviderError>)>;

/// Until nobody is there.
pub(super) async fn keep(shared: &Shared, tell: &Tell<'_>) -> ProviderError {
    let heard = &shared.heard;
    let mut troubles = match heard.turn.try_lock() {
        Ok(troubles) => troubles,
        // As long as a cache of before lives, after its settings have changed.
        Err(_) => {
            let troubles = heard.turn.lock().await;
            heard.forget();
            tell(News::All);
            troubles
        }
    };
    sleep(pause(*troubles)).await;
    let begun = Instant::now();
    heard.begin();
    let error = tokio::select! {
        error = hear(shared, tell) => error,
        error = probe(shared, tell) => error,
        never = look(shared) => match never {},
    };
    if heard.is_told() {
        *troubles = if begun.elapsed() < SOON { *troubles + 1 } else { 0 };
    }
    error
}

fn pause(troubles: u32) -> Duration {
    (PAUSE * (1 << troubles.min(7)) - PAUSE).min(LONGEST_PAUSE)
}

/// All ears, those that are wanted as they come and go.
async fn hear(shared: &Shared, tell: &Tell<'_>) -> ProviderError {
    let heard = &shared.heard;
    let mut ears = Ears::new();
    loop {
        heard.follow(shared.access.way()).into_iter().for_each(tell);
        ears.retain(|(ear, _)| heard.wants(ear));
        for ear in heard.wanted() {
            ears.push((ear.clone(), Box::pin(listen(shared, tell, ear))));
        }
        heard.settled().into_iter().for_each(tell);
        tokio::select! {
            error = any(&mut ears) => return error,
            () = heard.wake.notified() => {}
        }
    }
}

/// The first that ends. In one task: what an ear notes and what it tells of that cannot be parted.
async fn any(ears: &mut Ears<'_>) -> ProviderError {
    poll_fn(|context| {
        let ended = ears.iter_mut().map(|(_, ear)| ear.as_mut().poll(context)).find(Poll::is_ready);
        ended.unwrap_or(Poll::Pending)
    })
    .await
}

/// Looks at what should be known.
async fn probe(shared: &Shared, tell: &Tell<'_>) -> ProviderError {
    loop {
        sleep(BEAT).await;
        let Some(ear) = shared.heard.next() else { continue };
        let state = match shared.state(&ear.place).await {
            Ok(state) => state,
            // It answers, if not to this. Who is not heard of for long is not believed.
            Err(Refusal::Error(error)) if error.is_passing() || !error.is_outage() => continue,
            Err(Refusal::Error(error)) => return error,
            // What we may not any more, readers find out.
            Err(_) => String::new(),
        };
        tell(shared.heard.confirmed(&ear, &state).unwrap_or(News::Still));
    }
}

/// What is wrong with the files, those are told who ask.
async fn look(shared: &Shared) -> Infallible {
    loop {
        sleep(LOOK).await;
        let _ = shared.access.door().await;
        shared.heard.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_that_end_soon_wait_longer_and_longer() {
        let pauses = [0, 1, 2, 3, 4, 5, 6, 7, 100].map(|troubles| pause(troubles).as_millis());
        assert_eq!(pauses, [0, 250, 750, 1750, 3750, 7750, 15750, 30000, 30000]);
    }
}
