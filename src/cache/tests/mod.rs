//! A cache before a provider that tells of changes by itself, and before the same one without a watch as
//! the control. Moments of the provider are the number of its changes.

mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;

use super::*;
use crate::provider::{News, Tell};
use crate::secret::{Answer, FieldName, SecretBytes, SecretType, SecretVersion};

/// What a watch is told to say; `None` ends it.
type Order = Option<News>;

struct MadeUp {
    has_watch: bool,
    /// Values with their versions, and how many changes there were.
    state: Mutex<(BTreeMap<String, u64>, u64)>,
    asked: AtomicUsize,
    /// Questions that have read the state and have not answered yet wait here, if it is closed.
    gate: Semaphore,
    is_down: AtomicBool,
    is_away: AtomicBool,
    /// Nothing is answered to a question with one of these.
    refused: Mutex<BTreeSet<String>>,
    watch: Mutex<Option<mpsc::UnboundedSender<Order>>>,
    watches: AtomicUsize,
}

impl MadeUp {
    fn new(has_watch: bool) -> Arc<Self> {
        Arc::new(Self {
            has_watch,
            state: Mutex::default(),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(1_000),
            is_down: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
            refused: Mutex::default(),
            watch: Mutex::default(),
            watches: AtomicUsize::new(0),
        })
    }

    /// A change that nobody is told of.
    fn put(&self, name: &str) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        let now = state.1;
        state.0.insert(name.to_owned(), now);
        now
    }

    fn tell(&self, news: News) {
        self.watch.lock().unwrap().as_ref().expect("there is a watch").send(Some(news)).unwrap();
    }

    /// And one that it tells.
    fn change(&self, name: &str) {
        let at = self.put(name);
        self.tell(News::Changed { paths: vec![name.to_owned()], at });
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn version(number: u64) -> SecretVersion {
    SecretVersion {
        turned_out: None,
        kind: SecretType::Plain,
        fields: BTreeMap::from([(FieldName::value(), SecretBytes::copy_of(number.to_string().as_bytes()))]),
        version: number,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
        uses: None,
    }
}

impl Provider for MadeUp {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.is_down.load(Ordering::SeqCst) {
                return Err(ProviderError::Denied("down".to_owned()));
            }
            if self.is_away.load(Ordering::SeqCst) {
                return Err(ProviderError::Unavailable("away".to_owned()));
            }
            if keys.iter().any(|key| self.refused.lock().unwrap().contains(&key.path)) {
                return Err(ProviderError::Denied("one of them".to_owned()));
            }
            let answer = |key: &SecretKey| -> Answer {
                let found = self.state.lock().unwrap().0.get(&key.path).copied();
                found.map(|it| Arc::new(version(it))).ok_or(Absent::Missing)
            };
            let answers = keys.iter().map(answer).collect();
            let as_of = AsOf::moment(self.state.lock().unwrap().1);
            self.gate.acquire().await.unwrap().forget();
            self.gate.add_permits(1);
            Ok(Batch { answers, as_of })
        })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async { Ok(()) })
    }

    fn watch<'a>(&'a self, tell: &'a Tell<'a>) -> Option<BoxFuture<'a, ProviderError>> {
        if !self.has_watch {
            return None;
        }
        let (orders, mut order) = mpsc::unbounded_channel();
        *self.watch.lock().unwrap() = Some(orders);
        self.watches.fetch_add(1, Ordering::SeqCst);
        Some(Box::pin(async move {
            while let Some(Some(news)) = order.recv().await {
                tell(news);
            }
            ProviderError::Unavailable("cut".to_owned())
        }))
    }
}

/// A short time to live; how it is without a watch is seen quickly.
const TTL: Duration = Duration::from_millis(40);

fn cache(upstream: &Arc<MadeUp>) -> Cache {
    let keeping = Keeping { ttl: TTL, negative_ttl: TTL, ..Keeping::default() };
    Cache::new("p", upstream.clone(), Limits::default(), keeping)
}

/// The version that is told now.
async fn ask(cache: &Cache, name: &str) -> Option<u64> {
    let batch = cache.fetch(&[SecretKey::named(name)]).await.expect("an answer");
    batch.answers[0].as_ref().ok().map(|version| version.version)
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// A cache that knows `names`, and hears of changes.
async fn listening(upstream: &Arc<MadeUp>, names: &[&str]) -> Cache {
    let cache = cache(upstream);
    for name in names {
        upstream.put(name);
        ask(&cache, name).await;
    }
    eventually("a watch", || upstream.watch.lock().unwrap().is_some()).await;
    upstream.tell(News::Listening { since: 1 });
    heard(&cache, true).await;
    cache
}

async fn heard(cache: &Cache, is_listening: bool) {
    eventually("it is heard", || cache.0.table().watched.is_some() == is_listening).await;
}

#[tokio::test]
async fn while_it_listens_nobody_asks_and_a_change_reaches_the_next_one_who_does() {
    let upstream = MadeUp::new(true);
    let cache = listening(&upstream, &["a", "b"]).await;
    let (asked, pulse) = (upstream.asked(), cache.pulse());
    sleep(TTL * 2).await;
    assert_eq!((ask(&cache, "a").await, ask(&cache, "b").await), (Some(1), Some(2)));
    assert_eq!(ask(&cache, "none").await, None);
    sleep(TTL * 2).await;
    assert_eq!(ask(&cache, "none").await, None, "that there is none is told, too");
    assert_eq!((upstream.asked(), cache.pulse()), (asked + 1, pulse));
    upstream.change("a");
    eventually("the pulse moves", || cache.pulse() != pulse).await;
    assert_eq!((ask(&cache, "a").await, ask(&cache, "b").await), (Some(3), Some(2)));
    assert_eq!(upstream.asked(), asked + 2, "only for the one that has changed");

    // The control.
    let upstream = MadeUp::new(false);
    let cache = self::cache(&upstream);
    upstream.put("a");
    ask(&cache, "a").await;
    sleep(TTL * 2).await;
    ask(&cache, "a").await;
    assert_eq!(upstream.asked(), 2, "it ages");
}

/// The control is told of.
#[tokio::test]
async fn what_is_of_no_moment_ages_while_it_listens() {
    let upstream = MadeUp::new(true);
    let cache = cache(&upstream);
    ask(&cache, "none").await;
    upstream.put("a");
    ask(&cache, "a").await;
    eventually("a watch", || upstream.watch.lock().unwrap().is_some()).await;
    upstream.tell(News::Listening { since: 0 });
    heard(&cache, true).await;
    let asked = upstream.asked();
    sleep(TTL * 2).await;
    ask(&cache, "a").await;
    assert_eq!(upstream.asked(), asked);
    ask(&cache, "none").await;
    assert_eq!(upstream.asked(), asked + 1);
}

/// What is heard of is the control.
#[tokio::test]
async fn what_nobody_listens_to_any_more_ages_and_is_not_doubted() {
    let upstream = MadeUp::new(true);
    let cache = listening(&upstream, &["a", "b"]).await;
    sleep(TTL * 3).await;
    let (asked, pulse) = (upstream.asked(), cache.pulse());
    upstream.tell(News::Still);
    upstream.tell(News::Unheard { paths: vec!["a".to_owned()] });
    eventually("the pulse moves", || cache.pulse() != pulse).await;
    upstream.put("a");
    let record = |name: &str| {
        let table = cache.0.table();
        let record = &table.records[&SecretKey::named(name)];
        (record.moment, record.is_doubted, Uptime::now().since(record.checked) < TTL * 3)
    };
    assert_eq!(record("a"), (0, false, false), "who knows since when it was not heard of");
    assert_eq!(record("b"), (2, false, false));
    sleep(TTL * 2).await;
    assert_eq!((ask(&cache, "a").await, ask(&cache, "b").await), (Some(3), Some(2)));
    assert_eq!(upstream.asked(), asked + 1);
    assert!(cache.0.table().watched.is_some(), "the watch goes on");
    // The next answer to it is heard of again.
    sleep(TTL * 2).await;
    assert_eq!(ask(&cache, "a").await, Some(3));
    assert_eq!(upstream.asked(), asked + 1);
}

#[tokio::test]
async fn many_changes_are_one_question_and_those_of_others_none() {
    let upstream = MadeUp::new(true);
    let cache = listening(&upstream, &["a", "b"]).await;
    let (asked, pulse) = (upstream.asked(), cache.pulse());
    (0..100).for_each(|_| upstream.change("unknown"));
    (0..100).for_each(|_| upstream.change("a"));
    eventually("it is heard", || cache.0.table().told == 202).await;
    let Pulse::Still(before) = pulse else { panic!() };
    assert_eq!(cache.pulse(), Pulse::Still(before + 1));
    assert_eq!(ask(&cache, "a").await, Some(202));
    assert_eq!(ask(&cache, "b").await, Some(2));
    assert_eq!(upstream.asked(), asked + 1);
    // What an answer has already is no news.
    upstream.tell(News::Changed { paths: vec!["a".to_owned()], at: 202 });
    upstream.tell(News::Changed { paths: vec!["b".to_owned()], at: 203 });
    eventually("it is heard", || cache.0.table().told == 203).await;
    ask(&cache, "a").await;
    assert_eq!(upstream.asked(), asked + 1);
}

#[tokio::test]
async fn what_has_changed_before_it_listened_is_found() {
    let upstream = MadeUp::new(true);
    let cache = listening(&upstream, &["a", "b"]).await;
    for _ in 0..2 {
        upstream.watch.lock().unwrap().take();
        heard(&cache, false).await;
        let missed = upstream.put("a");
        eventually("another watch", || upstream.watch.lock().unwrap().is_some()).await;
        let asked = upstream.asked();
        // It does not know what has changed before.
        upstream.tell(News::Listening { since: missed });
        heard(&cache, true).await;
        assert_eq!(ask(&cache, "a").await, Some(missed));
        assert_eq!(ask(&cache, "b").await, Some(2));
        assert_eq!(upstream.asked(), asked + 2);
        // One that goes on where the one before has ended costs nothing.
        upstream.watch.lock().unwrap().take();
        heard(&cache, false).await;
        eventually("another watch", || upstream.watch.lock().unwrap().is_some()).await;
        upstream.tell(News::Listening { since: missed });
        heard(&cache, true).await;
        sleep(TTL * 2).await;
        assert_eq!((ask(&cache, "a").await, ask(&cache, "b").await), (Some(missed), Some(2)));
        assert_eq!(upstream.asked(), asked + 2);
    }
}

/// One that tells what has happened before it listens says since when.
#[tokio::test]
async fn what_is_told_before_it_listens_is_asked_for_and_nothing_else() {
    let upstream = MadeUp::new(true);
    let cache = listening(&upstream, &["a", "b"]).await;
    for at in 3..6 {
        upstream.watch.lock().unwrap().take();
        heard(&cache, false).await;
        eventually("another watch", || upstream.watch.lock().unwrap().is_some()).await;
        let asked = upstream.asked();
        upstream.change("a");
        upstream.tell(News::Listening { since: at - 1 });
        heard(&cache, true).await;
        assert_eq!((ask(&cache, "a").await, ask(&cache, "b").await), (Some(at), Some(2)));
        sleep(TTL * 2).await;
        assert_eq!((ask(&cache, "a").await, ask(&cache, "b").await), (Some(at), Some(2)));
        assert_eq!(upstream.asked(), asked + 1);
    }
}

/// The answer was read before the change and comes after it is told.
#[tokio::test]
async fn an_answer_that_a_change_has_overtaken_is_asked_for_again() {
    for is_overtaken in [true, false] {
        let upstream = MadeUp::new(true);
        let cache = listening(&upstream, &["a"]).await;
        upstream.put("slow");
        upstream.gate.acquire_many(1_000).await.unwrap().forget();
        let (first, asked) = (upstream.asked(), async { ask(&cache, "slow").await });
        let change = async {
            eventually("it is asked", || upstream.asked() > first).await;
            let pulse = cache.pulse();
            if is_overtaken {
                upstream.change("slow");
                eventually("the pulse moves", || cache.pulse() != pulse).await;
            }
            upstream.gate.add_permits(1_000);
        };
        let (told, ()) = tokio::join!(asked, change);
        assert_eq!(told, Some(2), "right when it was asked");
        assert_eq!(ask(&cache, "slow").await, Some(if is_overtaken { 3 } else { 2 }));
        assert_eq!(upstream.asked() - first, if is_overtaken { 2 } else { 1 });
    }
}

#[tokio::test]
async fn when_it_is_lost_answers_age_from_the_last_certain_moment() {
    let upstream = MadeUp::new(true);
    let cache = listening(&upstream, &["a"]).await;
    sleep(TTL * 3).await;
    let (asked, pulse) = (upstream.asked(), cache.pulse());
    upstream.tell(News::Still);
    sleep(TTL / 8).await;
    upstream.watch.lock().unwrap().take();
    heard(&cache, false).await;
    assert_ne!(cache.pulse(), pulse, "what was promised for longer is asked about");
    let checked = cache.0.table().records[&SecretKey::named("a")].checked;
    assert!(Uptime::now().since(checked) < TTL * 3, "confirmed by the last sign of life");
    sleep(TTL * 2).await;
    ask(&cache, "a").await;
    assert_eq!(upstream.asked(), asked + 1);
}

#[tokio::test]
async fn when_anything_may_have_changed_everything_is_asked_for() {
    let upstream = MadeUp::new(true);
    let cache = listening(&upstream, &["a", "b"]).await;
    let asked = upstream.asked();
    // A store that has begun anew counts from the beginning.
    *upstream.state.lock().unwrap() = (BTreeMap::from([("a".to_owned(), 1)]), 1);
    upstream.tell(News::All);
    upstream.tell(News::Listening { since: 1 });
    eventually("it is heard", || cache.0.table().records.values().all(|record| record.is_doubted)).await;
    heard(&cache, true).await;
    assert_eq!((ask(&cache, "a").await, ask(&cache, "b").await), (Some(1), None));
    assert_eq!(upstream.asked(), asked + 2);
    sleep(TTL * 2).await;
    assert_eq!((ask(&cache, "a").await, ask(&cache, "b").await), (Some(1), None));
    assert_eq!(upstream.asked(), asked + 2, "and is certain then");
}

#[tokio::test]
async fn there_is_no_watch_before_the_first_answer_and_none_after_the_cache() {
    let upstream = MadeUp::new(true);
    let cache = cache(&upstream);
    upstream.is_down.store(true, Ordering::SeqCst);
    assert!(cache.fetch(&[SecretKey::named("a")]).await.is_err());
    sleep(Duration::from_millis(300)).await;
    assert_eq!(upstream.watches.load(Ordering::SeqCst), 0);
    upstream.is_down.store(false, Ordering::SeqCst);
    ask(&cache, "b").await;
    eventually("a watch", || upstream.watches.load(Ordering::SeqCst) == 1).await;
    drop(cache);
    let ended = || upstream.watch.lock().unwrap().as_ref().is_some_and(mpsc::UnboundedSender::is_closed);
    eventually("its end", ended).await;
}

#[tokio::test]
async fn a_silent_watch_is_believed_for_a_while_and_no_answer_for_ever() {
    let upstream = MadeUp::new(true);
    let cache = listening(&upstream, &["a"]).await;
    let (key, start) = (SecretKey::named("a"), Uptime::now());
    let is_fresh = |after: u64| {
        let now = start + Duration::from_secs(after);
        cache.0.table().fresh(&key, Need::Values, now).is_some()
    };
    assert!(is_fresh(40) && !is_fresh(46));
    for seconds in (0..=560).step_by(40) {
        cache.0.table().still(start + Duration::from_secs(seconds));
        assert!(is_fresh(seconds + 39));
    }
    cache.0.table().still(start + Duration::from_secs(601));
    assert!(!is_fresh(602), "it is asked for in the end");
}

/// It wants to be left alone for an hour: its login is renewed all the same, and nothing else is asked.
#[tokio::test]
async fn a_pause_does_not_stop_what_has_to_be_done_in_time() {
    #[derive(Default)]
    struct Busy(AtomicUsize);

    impl Provider for Busy {
        fn fetch<'a>(&'a self, _keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
            let after = Some(Duration::from_secs(3600));
            Box::pin(async move { Err(ProviderError::Throttled { why: "busy".to_owned(), after }) })
        }

        fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
            Box::pin(async { Ok(()) })
        }

        fn tend(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(()) })
        }
    }

    let busy = Arc::new(Busy::default());
    let cache = Cache::new("p", busy.clone(), Limits::default(), Keeping::default());
    let key = SecretKey { provider: None, path: "a".to_owned(), version: None };
    assert!(cache.fetch(std::slice::from_ref(&key)).await.is_err());
    assert!(cache.tend().await.is_ok());
    assert_eq!(busy.0.load(Ordering::SeqCst), 1);
    assert!(cache.names().await.is_err(), "the control: nothing else is asked");
}
