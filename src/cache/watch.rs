//! Keeps a watch of the provider from the first answer on, if it has such a thing: one, begun anew when it
//! ends. Uses `certain`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::Inner;
use super::flight::jitter;
use crate::provider::{News, Provider, ProviderError};
use crate::sys::uptime::Uptime;

/// Ends with what it is for.
#[derive(Default)]
pub(super) struct Watch(OnceLock<AbortHandle>);

/// A command that asks once and ends needs none.
const BEGIN: Duration = Duration::from_millis(100);
/// Between two of them, at first and at most: twice as long after each that has said nothing.
const FIRST: Duration = Duration::from_millis(250);
const LATEST: Duration = Duration::from_secs(30);

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.0.get() {
            task.abort();
        }
    }
}

impl Inner {
    pub(super) fn keep_watch(self: &Arc<Self>) {
        let begin = || tokio::spawn(keep(Arc::downgrade(self), self.upstream.clone())).abort_handle();
        self.watch.0.get_or_init(begin);
    }

    fn hear(&self, news: News) {
        let now = Uptime::now();
        match news {
            News::Listening { since } => {
                tracing::info!(provider = self.name, "watch: changes are heard of as they happen");
                self.table().listen(since, now);
                // It answers: who has failed may try.
                self.breaker.heed(&[], None, now);
            }
            News::Changed { paths, at } => self.table().doubt(&paths, at, now),
            News::Unheard { paths } => self.table().unhear(&paths),
            News::All => self.table().doubt_all(),
            News::Still => self.table().still(now),
        }
    }

    fn lose(&self, error: &ProviderError, has_listened: bool) {
        self.table().fall_silent();
        if has_listened {
            tracing::warn!(provider = self.name, %error, "watch: lost, answers have their ordinary time");
        } else {
            tracing::debug!(provider = self.name, %error, "watch: cannot be begun");
        }
    }
}

async fn keep(inner: Weak<Inner>, upstream: Arc<dyn Provider>) {
    tokio::time::sleep(BEGIN).await;
    let mut wait = FIRST;
    loop {
        let (has_spoken, has_listened) = (AtomicBool::new(false), AtomicBool::new(false));
        let tell = |news: News| {
            // A watch that cannot be begun says so of what it was to hear.
            has_spoken.fetch_or(!matches!(news, News::Unheard { .. }), Ordering::Relaxed);
            has_listened.fetch_or(matches!(news, News::Listening { .. }), Ordering::Relaxed);
            if let Some(inner) = inner.upgrade() {
                inner.hear(news);
            }
        };
        let Some(watch) = upstream.watch(&tell) else { return };
        let error = watch.await;
        match inner.upgrade() {
            Some(inner) => inner.lose(&error, has_listened.load(Ordering::Relaxed)),
            None => return,
        }
        wait = if has_spoken.load(Ordering::Relaxed) { FIRST } else { (wait * 2).min(LATEST) };
        tokio::time::sleep(wait + jitter()).await;
    }
}
