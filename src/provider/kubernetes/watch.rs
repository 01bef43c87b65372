//! Hears of changes: one watch for each object that was asked for, since a right to watch by name is all that many
//! have. Says when all of them listen, what has changed, and now and then that somebody still answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep};

use super::Shared;
use super::cluster::Refusal;
use super::ear;
use super::heard::{Ear, Troubles};
use crate::provider::{News, ProviderError, Tell};

/// What is heard of an object. Each with its path, and by which ear.
pub(super) enum Word {
    /// From here on its changes are told.
    Open,
    /// It was looked at, and is at this state (empty: not there).
    Found(String),
    Changed(String),
    /// All up to this state was told.
    At(Option<String>),
    Deaf,
    /// It was looked at in between.
    Confirmed(String),
    Failed(ProviderError),
}

pub(super) type Said = (String, u64, Word);

/// After so long one of the objects is looked at, in their turn: a server that hangs is found out so.
const BEAT: Duration = Duration::from_secs(20);
/// After so long it is looked whether the files that say where the cluster is have changed: whoever asks looks, too,
/// and what is certain is not asked for.
const LOOK: Duration = Duration::from_secs(5);
/// One answer that it is not ready is no reason to end all.
const AGAIN: Duration = Duration::from_secs(1);
const WORDS: usize = 64;

/// Until it cannot go on.
pub(super) async fn keep(shared: &Arc<Shared>, tell: &Tell<'_>) -> ProviderError {
    let turn = &shared.heard.turn;
    let mut troubles = match turn.try_lock() {
        Ok(troubles) => troubles,
        // As long as a cache of before lives, after its settings have changed.
        Err(_) => {
            let troubles = turn.lock().await;
            shared.heard.forget();
            tell(News::All);
            troubles
        }
    };
    sleep(troubles.pause()).await;
    hear(shared, tell, &mut troubles).await
}

async fn hear(shared: &Arc<Shared>, tell: &Tell<'_>, troubles: &mut Troubles) -> ProviderError {
    let (say, mut said) = mpsc::channel(WORDS);
    let (mut tasks, mut ears) = (JoinSet::new(), HashMap::<String, (u64, AbortHandle)>::new());
    let (mut beat, mut look) = (interval_at(Instant::now() + BEAT, BEAT), interval(LOOK));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (heard, access) = (&shared.heard, &shared.cluster.access);
    let mut begun = None;
    heard.begin();
    loop {
        if let Some(news) = heard.follow(access.way()) {
            tell(news);
        }
        for ear in heard.wanted() {
            let (path, number) = (ear.path.clone(), ear.number);
            let task = tasks.spawn(ear::listen(shared.clone(), ear, say.clone()));
            if let Some((_, before)) = ears.insert(path, (number, task)) {
                before.abort();
            }
        }
        ears.retain(|path, (number, task)| {
            let is_wanted = heard.has(path, *number);
            if !is_wanted {
                task.abort();
            }
            is_wanted
        });
        if let Some(news) = heard.settled() {
            tell(news);
        }
        tokio::select! {
            word = said.recv() => {
                let Some((path, number, word)) = word else { continue };
                if matches!(word, Word::Open) {
                    begun.get_or_insert_with(Instant::now);
                }
                match heed(shared, &path, number, word) {
                    Ok(news) => news.into_iter().for_each(tell),
                    Err(error) => {
                        begun.into_iter().for_each(|begun| troubles.note(begun.elapsed()));
                        return error;
                    }
                }
            }
            () = heard.wake.notified() => {}
            _ = look.tick() => {
                // What is wrong with it, those are told who ask.
                let _ = access.door().await;
            }
            _ = beat.tick() => {
                if let Some(ear) = heard.next() {
                    tasks.spawn(confirm(shared.clone(), ear, say.clone()));
                }
            }
            // Those that have ended.
            Some(_) = tasks.join_next() => {}
        }
    }
}

fn heed(shared: &Shared, path: &str, ear: u64, word: Word) -> Result<Option<News>, ProviderError> {
    let heard = &shared.heard;
    Ok(match word {
        Word::Open => {
            heard.open(path, ear);
            Some(News::Still)
        }
        Word::Found(state) => heard.found(path, ear, &state),
        Word::Changed(state) => heard.changed(path, ear, &state),
        Word::At(from) => {
            heard.go_on_from(path, ear, from);
            None
        }
        Word::Deaf => heard.deafen(path, ear),
        Word::Confirmed(state) => heard.confirmed(path, ear, &state).or(Some(News::Still)),
        Word::Failed(error) if heard.has(path, ear) => return Err(error),
        Word::Failed(_) => None,
    })
}

/// A look at what should be known.
async fn confirm(shared: Arc<Shared>, ear: Ear, say: mpsc::Sender<Said>) {
    let mut state = shared.state(&ear.place).await;
    if matches!(state, Err(Refusal::Error(ProviderError::Unavailable(_)))) {
        sleep(AGAIN).await;
        state = shared.state(&ear.place).await;
    }
    let word = match state {
        Ok(state) => Word::Confirmed(state),
        // It is there, and wants to be left alone. Who is not heard of for long is not believed.
        Err(Refusal::Error(ProviderError::Throttled { .. } | ProviderError::Paused(_))) => return,
        Err(Refusal::Error(error)) => Word::Failed(error),
        // What we may not any more, readers find out.
        Err(_) => Word::Changed(String::new()),
    };
    // Who listens may have gone.
    let _ = say.send((ear.path, ear.number, word)).await;
}
