//! Finding out what each place of a mount is now: once at a time for each, few of them together, and
//! one that takes its time keeps neither the others waiting nor who wants to know. Uses `nodes`.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::nodes::Place;

pub(super) struct Judging {
    /// For those who may be quick.
    turns: Semaphore,
    /// Guards what is under way, and since when it is its turn; held for no call.
    under_way: Mutex<HashMap<Place, Option<Instant>>>,
    /// A turn was taken, or something is judged.
    news: Notify,
}

/// Places that are judged at the same time, but for those that take longer than `QUICK`.
const AT_ONCE: usize = 16;
const QUICK: Duration = Duration::from_millis(250);
/// However many there are.
const LONGEST: Duration = Duration::from_secs(3);

impl Judging {
    pub(super) fn new() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), under_way: Mutex::default(), news: Notify::new() }
    }

    /// Whether nobody judges it yet. Then who asks has to [`Self::judge`] it.
    pub(super) fn begin(&self, place: &Place) -> bool {
        let mut under_way = self.under_way();
        let is_new = !under_way.contains_key(place);
        if is_new {
            under_way.insert(place.clone(), None);
        }
        is_new
    }

    pub(super) async fn judge(&self, place: &Place, work: impl Future<Output = ()>) {
        let _landing = Landing { judging: self, place };
        let turn = self.turns.acquire().await.expect("it is never closed");
        self.under_way().insert(place.clone(), Some(Instant::now()));
        self.news.notify_waiters();
        let mut work = pin!(work);
        if timeout(QUICK, &mut work).await.is_err() {
            drop(turn);
            work.await;
        }
    }

    pub(super) fn is_under_way(&self, place: &Place) -> bool {
        self.under_way().contains_key(place)
    }

    /// Waits until nothing is under way but what takes its time.
    pub(super) async fn settle(&self) {
        let end = Instant::now() + LONGEST;
        loop {
            let mut news = pin!(self.news.notified());
            news.as_mut().enable();
            let now = Instant::now();
            let quick = |began: &Option<Instant>| began.map_or(Some(end), |it| Some(it + QUICK));
            let awaited = self.under_way().values().filter_map(quick).filter(|until| *until > now).max();
            let Some(until) = awaited.filter(|_| now < end) else { return };
            let _ = timeout_at(until.min(end), news).await;
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Place, Option<Instant>>> {
        self.under_way.lock().expect("nothing panics while it holds this")
    }
}

/// It is judged, or lost.
struct Landing<'a> {
    judging: &'a Judging,
    place: &'a Place,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.judging.under_way().remove(self.place);
        self.judging.news.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;
    use crate::fs::nodes::View;

    fn place(name: &str) -> Place {
        Place { file: 0, view: View::Reader(name.into()) }
    }

    fn begin(judging: &Arc<Judging>, name: &str, work: impl Future<Output = ()> + Send + 'static) {
        let (judging, place) = (judging.clone(), place(name));
        assert!(judging.begin(&place));
        tokio::spawn(async move { judging.judge(&place, work).await });
    }

    #[tokio::test]
    async fn what_hangs_keeps_nobody_waiting_and_is_known_to_be_under_way() {
        let judging = Arc::new(Judging::new());
        (0..2 * AT_ONCE).for_each(|number| begin(&judging, &format!("hung{number}"), pending()));
        begin(&judging, "quick", tokio::time::sleep(QUICK / 10));
        (0..3).for_each(|number| begin(&judging, &format!("more{number}"), pending()));
        assert!(!judging.begin(&place("quick")), "once at a time");
        let start = Instant::now();
        tokio::join!(judging.settle(), judging.settle());
        assert!(start.elapsed() >= QUICK * 2, "the control: they had their turns before");
        assert!(start.elapsed() < QUICK * 8, "{:?}", start.elapsed());
        assert!(judging.is_under_way(&place("hung0")) && !judging.is_under_way(&place("quick")));
        let start = Instant::now();
        judging.settle().await;
        assert!(start.elapsed() < QUICK, "they are known to take their time: {:?}", start.elapsed());
        assert!(judging.begin(&place("quick")), "and again");
    }

    #[tokio::test]
    async fn what_is_quick_is_waited_for_by_all() {
        let judging = Arc::new(Judging::new());
        begin(&judging, "a", tokio::time::sleep(QUICK / 5));
        tokio::join!(judging.settle(), judging.settle());
        assert!(!judging.is_under_way(&place("a")));
    }
}
