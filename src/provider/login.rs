//! What a login gives, had once however many ask. Before its end a new one is had beside those who go on with it; a
//! login goes on when who asked for it has gone; one that fails is left in peace for a while that grows.
//! Uses the trait's errors.

use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use super::ProviderError;
use crate::poison::EvenPoisoned;
use crate::sys::uptime::Uptime;

/// The logins of one provider.
pub(super) struct Login<T>(Arc<Mutex<State<T>>>);

/// What one has given.
pub(super) struct Pass<T> {
    what: T,
    had: Uptime,
    end: Uptime,
}

pub(super) type Outcome<T> = Result<Arc<Pass<T>>, ProviderError>;

struct State<T> {
    pass: Option<Arc<Pass<T>>>,
    /// How the login that is under way ends.
    coming: Option<watch::Receiver<Option<Outcome<T>>>>,
    /// Until then nobody tries again, and this is why.
    rest: Option<(Uptime, ProviderError)>,
    /// One after the other.
    failures: u32,
    /// When the other side did not take one, the last time.
    refused: Option<Uptime>,
}

/// So long before its end a new one is had; of what lives shortly, after half of its life.
const MARGIN: Duration = Duration::from_secs(300);
/// Nothing is good for longer, whatever its giver says.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// What is refused sooner than this was never any good.
const YOUNG: Duration = Duration::from_secs(60);
/// After the first refusal; twice as long after each that follows it.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A program that hangs may be asked.
pub(super) const LONGEST_LOGIN: Duration = Duration::from_secs(60);
/// Where the old one goes on.
const BETWEEN_RENEWALS: Duration = Duration::from_secs(10);

impl<T> Default for State<T> {
    fn default() -> Self {
        Self { pass: None, coming: None, rest: None, failures: 0, refused: None }
    }
}

impl<T> Default for Login<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Pass<T> {
    fn new(what: T, life: Duration) -> Self {
        let had = Uptime::now();
        Self { what, had, end: had + life.min(LONGEST) }
    }

    fn is_good(&self) -> bool {
        Uptime::now() < self.end
    }

    fn is_due(&self) -> bool {
        let life = self.end.since(self.had);
        Uptime::now() >= self.had + life.saturating_sub(MARGIN).max(life / 2)
    }
}

impl<T> Deref for Pass<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.what
    }
}

impl<T: Send + Sync + 'static> Login<T> {
    /// What was had before, as long as it is good; else what `log_in` gives, with how long that lives.
    pub(super) async fn pass<F>(&self, log_in: impl FnOnce() -> F) -> Outcome<T>
    where
        F: Future<Output = Result<(T, Duration), ProviderError>> + Send + 'static,
    {
        let mut coming = {
            let mut state = self.state();
            let good = state.pass.clone().filter(|pass| pass.is_good());
            if let Some(pass) = good {
                if pass.is_due() && state.coming().is_none() && state.is_rested() {
                    self.begin(&mut state, log_in());
                }
                return Ok(pass);
            }
            match state.coming() {
                Some(coming) => coming,
                None if !state.is_rested() => return Err(state.why()),
                None => self.begin(&mut state, log_in()),
            }
        };
        let lost = || ProviderError::Unavailable("the login was lost".to_owned());
        let outcome = coming.wait_for(Option::is_some).await.map_err(|_| lost())?;
        outcome.clone().unwrap_or_else(|| Err(lost()))
    }

    /// The other side does not take it, whatever its time is. Unless there is a newer one already.
    pub(super) fn refuse(&self, void: &Arc<Pass<T>>, why: impl FnOnce() -> ProviderError) {
        let mut state = self.state();
        if !state.pass.as_ref().is_some_and(|pass| Arc::ptr_eq(pass, void)) {
            return;
        }
        state.pass = None;
        let now = Uptime::now();
        let was_refused = state.refused.replace(now).is_some_and(|at| now.since(at) < YOUNG);
        match was_refused && now.since(void.had) < YOUNG {
            true => state.fail(why()),
            false => state.failures = 0,
        }
    }

    /// Nothing that was had is of use any more.
    #[cfg_attr(not(feature = "azure"), allow(dead_code, reason = "not each provider uses it"))]
    pub(super) fn clear(&self) {
        *self.state() = State::default();
    }

    fn begin<F>(&self, state: &mut State<T>, login: F) -> watch::Receiver<Option<Outcome<T>>>
    where
        F: Future<Output = Result<(T, Duration), ProviderError>> + Send + 'static,
    {
        let (tell, coming) = watch::channel(None);
        state.coming = Some(coming.clone());
        let (all, mine) = (self.0.clone(), coming.clone());
        tokio::spawn(async move {
            let late = |_| Err(ProviderError::Timeout("the login takes too long".to_owned()));
            let outcome = tokio::time::timeout(LONGEST_LOGIN, login).await.unwrap_or_else(late);
            let outcome = outcome.map(|(what, life)| Arc::new(Pass::new(what, life)));
            let mut state = all.lock().even_poisoned();
            // Nobody waits for one that was cleared away.
            if state.coming.as_ref().is_some_and(|it| it.same_channel(&mine)) {
                state.coming = None;
                state.note(&outcome);
            }
            drop(state);
            let _ = tell.send(Some(outcome));
        });
        coming
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().even_poisoned()
    }
}

impl<T> State<T> {
    /// One whose runtime has gone will not come.
    fn coming(&self) -> Option<watch::Receiver<Option<Outcome<T>>>> {
        self.coming.clone().filter(|it| it.has_changed().is_ok())
    }

    fn is_rested(&self) -> bool {
        self.rest.as_ref().is_none_or(|(until, _)| *until <= Uptime::now())
    }

    fn why(&self) -> ProviderError {
        let rest = self.rest.as_ref();
        rest.map_or_else(
            || ProviderError::Paused("it is too early for a login".to_owned()),
            |it| it.1.clone(),
        )
    }

    fn note(&mut self, outcome: &Outcome<T>) {
        match outcome {
            Ok(pass) => {
                self.pass = Some(pass.clone());
                self.rest = None;
            }
            Err(why) => match self.pass.as_ref().filter(|pass| pass.is_good()) {
                Some(pass) => {
                    tracing::warn!(error = %why, "a login fails; the old one is still good");
                    self.rest = Some((pass.end.min(Uptime::now() + BETWEEN_RENEWALS), why.clone()));
                }
                // There may be an answer at once where there was none: whoever asks has pauses of its own for that.
                None if why.is_refusal() => self.fail(why.clone()),
                None => {}
            },
        }
    }

    fn fail(&mut self, why: ProviderError) {
        let pause = PAUSE * 2_u32.saturating_pow(self.failures.min(8));
        self.rest = Some((Uptime::now() + pause.min(LONGEST_PAUSE), why));
        self.failures += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Counts its logins; each waits for its turn.
    struct Server {
        logins: AtomicUsize,
        turns: Semaphore,
        life: Duration,
    }

    fn server(life: u64, turns: usize) -> Arc<Server> {
        let life = Duration::from_secs(life);
        Arc::new(Server { logins: AtomicUsize::new(0), turns: Semaphore::new(turns), life })
    }

    impl Server {
        async fn log_in(self: Arc<Self>) -> Result<(usize, Duration), ProviderError> {
            let number = self.logins.fetch_add(1, Ordering::SeqCst) + 1;
            self.turns.acquire().await.unwrap().forget();
            Ok((number, self.life))
        }

        fn logins(&self) -> usize {
            self.logins.load(Ordering::SeqCst)
        }
    }

    fn denied() -> ProviderError {
        ProviderError::Denied("no".to_owned())
    }

    #[tokio::test]
    async fn many_who_ask_are_one_login_which_goes_on_without_them() {
        let (login, server) = (Arc::new(Login::default()), server(3600, 0));
        let ask = || {
            let (login, server) = (login.clone(), server.clone());
            tokio::spawn(async move { login.pass(|| server.log_in()).await.map(|it| **it) })
        };
        let asking: Vec<_> = (0..10).map(|_| ask()).collect();
        while server.logins() == 0 {
            tokio::task::yield_now().await;
        }
        asking.iter().for_each(tokio::task::JoinHandle::abort);
        server.turns.add_permits(1);
        assert_eq!(ask().await.unwrap().unwrap(), 1);
        assert_eq!(server.logins(), 1);
    }

    #[tokio::test]
    async fn one_that_is_due_is_used_while_the_next_one_hangs() {
        let (login, server) = (Login::default(), server(0, 2));
        assert_eq!(**login.pass(|| server.clone().log_in()).await.unwrap(), 1);
        assert_eq!(**login.pass(|| server.clone().log_in()).await.unwrap(), 2, "the control: it has ended");
        let due = Pass { what: 7, had: Uptime::now(), end: Uptime::now() + Duration::from_secs(60) };
        let due = Pass { had: Uptime::ago(Duration::from_secs(360_000)), ..due };
        login.state().pass = Some(Arc::new(due));
        for _ in 0..3 {
            assert_eq!(**login.pass(|| server.clone().log_in()).await.unwrap(), 7);
            tokio::task::yield_now().await;
        }
        assert_eq!(server.logins(), 3, "one that hangs, and nobody waits for it");
    }

    #[tokio::test]
    async fn what_is_refused_at_once_is_left_in_peace_and_an_old_one_is_not() {
        let (login, server) = (Login::default(), server(3600, 10));
        let first = login.pass(|| server.clone().log_in()).await.unwrap();
        login.refuse(&first, denied);
        let next = login.pass(|| server.clone().log_in()).await.unwrap();
        login.refuse(&next, denied);
        let refused = login.pass(|| server.clone().log_in()).await;
        assert!(
            refused.is_err_and(|it| it.is_refusal()) && server.logins() == 2,
            "once more, and no oftener"
        );
        login.clear();
        let second = login.pass(|| server.clone().log_in()).await.unwrap();
        let old = Arc::new(Pass {
            what: **second,
            had: Uptime::ago(Duration::from_secs(360_000)),
            end: second.end,
        });
        login.state().pass = Some(old.clone());
        login.refuse(&first, denied);
        assert!(login.state().pass.is_some(), "another one was refused");
        login.refuse(&old, denied);
        assert_eq!(**login.pass(|| server.clone().log_in()).await.unwrap(), 4);
    }

    /// The control has time left.
    #[test]
    fn a_renewal_that_fails_keeps_nobody_waiting_beyond_the_old_ones_end() {
        let now = Uptime::now();
        let state = Login::<()>::default();
        for (left, is_shorter) in [(2, true), (60, false)] {
            let end = now + Duration::from_secs(left);
            let mut state = state.state();
            state.pass = Some(Arc::new(Pass { what: (), had: now, end }));
            state.note(&Err(ProviderError::Unavailable("away".to_owned())));
            let rest = state.rest.as_ref().map(|(until, _)| *until).unwrap();
            assert_eq!(rest == end, is_shorter);
            assert!(rest <= end);
        }
    }

    /// As where each call has a runtime of its own.
    #[test]
    fn one_whose_runtime_has_gone_is_begun_anew() {
        let (login, server) = (Login::default(), server(3600, 0));
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let soon = Duration::from_millis(50);
        let left = runtime()
            .block_on(async { tokio::time::timeout(soon, login.pass(|| server.clone().log_in())).await });
        assert!(left.is_err(), "the control: it hangs");
        server.turns.add_permits(1);
        assert!(runtime().block_on(login.pass(|| server.clone().log_in())).is_ok());
    }

    #[tokio::test]
    async fn a_refused_login_is_tried_again_after_pauses_that_grow() {
        let login: Login<()> = Login::default();
        let tries = AtomicUsize::new(0);
        let ask = async || {
            let log_in = || {
                tries.fetch_add(1, Ordering::SeqCst);
                async { Err(denied()) }
            };
            assert!(login.pass(log_in).await.is_err());
        };
        ask().await;
        ask().await;
        assert_eq!(tries.load(Ordering::SeqCst), 1);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            let rest = login.state().rest.take().unwrap().0;
            pauses.push(rest.since(Uptime::now()).as_secs_f64().round() as u64);
            ask().await;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 8]);
    }
}
