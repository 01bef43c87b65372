//! Whose turn it is to ask a provider: so many at once, so many a second, and those who hang must not have all turns.
//! Who takes long gives its turn up and goes on; who has failed, and who asks for no reader, has only a part of the
//! turns.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};

use crate::config::Limits;

pub(super) struct Turns {
    turns: Semaphore,
    /// For those whose last question has failed.
    suspects: Semaphore,
    /// For those whom no reader waits for.
    aside: Arc<Semaphore>,
    aside_turns: u32,
    /// Bounds all, those included who have given their turn up.
    all: Semaphore,
    rate: Option<Rate>,
    /// From then on a question takes long.
    long: Duration,
}

/// To be had until the question is answered.
pub(super) struct Turn<'a> {
    _all: SemaphorePermit<'a>,
    counted: (SemaphorePermit<'a>, Option<SemaphorePermit<'a>>),
    long: Duration,
}

/// What takes long is no more than three times as much as what does not.
const ALL: usize = 4;
/// The part of its time after which a question takes long.
const LONG: u32 = 4;

impl Turns {
    pub(super) fn new(limits: &Limits) -> Self {
        let aside = limits.at_once().div_ceil(2);
        Self {
            aside: Arc::new(Semaphore::new(aside)),
            aside_turns: u32::try_from(aside).unwrap_or(u32::MAX),
            turns: Semaphore::new(limits.concurrency),
            suspects: Semaphore::new(limits.concurrency.div_ceil(2)),
            all: Semaphore::new(limits.concurrency * ALL),
            rate: limits.per_second.map(Rate::new),
            long: limits.timeout / LONG,
        }
    }

    pub(super) async fn take(&self, is_suspect: bool) -> Turn<'_> {
        let suspect = match is_suspect {
            true => Some(one_of(&self.suspects).await),
            false => None,
        };
        let counted = (one_of(&self.turns).await, suspect);
        let turn = Turn { _all: one_of(&self.all).await, counted, long: self.long };
        if let Some(rate) = &self.rate {
            rate.wait().await;
        }
        turn
    }
}

impl Turns {
    /// Asks so many questions at once for which no reader waits, and leaves their turns to others for as long
    /// again: half of the turns, half of the time.
    pub(super) async fn aside<T>(&self, questions: usize, asking: impl Future<Output = T>) -> T {
        let taken = u32::try_from(questions).unwrap_or(u32::MAX).min(self.aside_turns);
        let turns = self.aside.clone().acquire_many_owned(taken).await.expect("it is never closed");
        let (start, mut asking) = (Instant::now(), pin!(asking));
        let answer = timeout(self.long, &mut asking).await;
        let pause = start.elapsed();
        tokio::spawn(async move {
            sleep(pause).await;
            drop(turns);
        });
        match answer {
            Ok(answer) => answer,
            Err(_) => asking.await,
        }
    }
}

/// A bucket of turns, filled evenly, that holds those of a second.
struct Rate {
    per_second: f64,
    /// Who holds it waits for the next turn; the others stand in line. Who gives up takes none.
    bucket: Mutex<Bucket>,
}

struct Bucket {
    turns: f64,
    at: Instant,
}

impl Rate {
    fn new(per_second: usize) -> Self {
        let per_second = per_second as f64;
        Self { per_second, bucket: Mutex::new(Bucket { turns: per_second, at: Instant::now() }) }
    }

    async fn wait(&self) {
        let mut bucket = self.bucket.lock().await;
        self.fill(&mut bucket);
        if bucket.turns < 1.0 {
            sleep(Duration::from_secs_f64((1.0 - bucket.turns) / self.per_second)).await;
            self.fill(&mut bucket);
        }
        bucket.turns -= 1.0;
    }

    fn fill(&self, bucket: &mut Bucket) {
        let now = Instant::now();
        let more = (now - bucket.at).as_secs_f64() * self.per_second;
        *bucket = Bucket { turns: (bucket.turns + more).min(self.per_second), at: now };
    }
}

impl Turn<'_> {
    pub(super) async fn spend<T>(self, question: impl Future<Output = T>) -> T {
        let mut question = pin!(question);
        match timeout(self.long, &mut question).await {
            Ok(answer) => answer,
            Err(_) => {
                drop(self.counted);
                question.await
            }
        }
    }
}

async fn one_of(semaphore: &Semaphore) -> SemaphorePermit<'_> {
    semaphore.acquire().await.expect("it is never closed")
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;

    fn turns(concurrency: usize) -> Arc<Turns> {
        Arc::new(Turns::new(&Limits {
            timeout: Duration::from_millis(400),
            concurrency,
            ..Limits::default()
        }))
    }

    async fn hang(turns: &Arc<Turns>, number: usize, is_suspect: bool) {
        for _ in 0..number {
            let turns = turns.clone();
            tokio::spawn(async move { turns.take(is_suspect).await.spend(pending::<()>()).await });
        }
        sleep(Duration::from_millis(20)).await;
    }

    async fn has_turn(turns: &Turns, within: Duration) -> bool {
        timeout(within, turns.take(false)).await.is_ok()
    }

    #[tokio::test]
    async fn those_who_hang_give_their_turns_up_but_not_without_end() {
        let turns = turns(2);
        hang(&turns, 2, false).await;
        assert!(!has_turn(&turns, Duration::from_millis(20)).await, "the control: so many at once");
        assert!(has_turn(&turns, Duration::from_millis(300)).await);
        hang(&turns, 6, false).await;
        sleep(Duration::from_millis(500)).await;
        assert!(!has_turn(&turns, Duration::from_millis(300)).await, "four times as many");
    }

    /// Time passes here only while all wait.
    #[tokio::test(start_paused = true)]
    async fn so_many_a_second_and_after_a_pause_so_many_at_once() {
        let limits = Limits { per_second: Some(5), ..Limits::default() };
        let (turns, start) = (Turns::new(&limits), Instant::now());
        let mut at = Vec::new();
        for _ in 0..15 {
            drop(turns.take(false).await);
            at.push(start.elapsed().as_millis());
        }
        assert!(at[4] < 10 && (190..=220).contains(&at[5]) && (1990..=2100).contains(&at[14]), "{at:?}");
        sleep(Duration::from_secs(60)).await;
        let again = Instant::now();
        for _ in 0..6 {
            drop(turns.take(false).await);
        }
        assert!((190..=220).contains(&again.elapsed().as_millis()), "no more than those of a second");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_takes_no_turn() {
        let turns = Turns::new(&Limits { per_second: Some(1), ..Limits::default() });
        drop(turns.take(false).await);
        for _ in 0..50 {
            assert!(timeout(Duration::from_millis(10), turns.take(false)).await.is_err());
        }
        let start = Instant::now();
        drop(turns.take(false).await);
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn those_who_failed_leave_turns_to_others() {
        let turns = turns(2);
        hang(&turns, 5, true).await;
        assert!(has_turn(&turns, Duration::from_millis(20)).await);
    }
}
