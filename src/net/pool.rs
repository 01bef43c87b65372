//! Connections that wait for the next request, the last one first. None is kept for long: what has gone
//! through one lies in its buffers until it is closed. Uses hyper.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

pub(super) struct Link {
    pub(super) sender: SendRequest<Full<Bytes>>,
    since: Instant,
    /// Others have gone through it before.
    pub(super) is_used: bool,
}

#[derive(Default)]
pub(super) struct Pool {
    /// With the moment of the last use. Held for no call.
    idle: Mutex<Vec<(Instant, Link)>>,
}

/// How long one waits, and how old it may become.
const IDLE: Duration = Duration::from_secs(10);
const OLDEST: Duration = Duration::from_secs(60);
/// How many wait.
const MOST: usize = 16;

impl Link {
    pub(super) fn new(sender: SendRequest<Full<Bytes>>) -> Self {
        Self { sender, since: Instant::now(), is_used: false }
    }
}

impl Pool {
    pub(super) fn take(&self) -> Option<Link> {
        let now = Instant::now();
        let mut idle = self.idle();
        while let Some((last, link)) = idle.pop() {
            if is_good(last, &link, now) {
                return Some(link);
            }
        }
        None
    }

    pub(super) fn put(&self, mut link: Link) {
        link.is_used = true;
        let mut idle = self.idle();
        if idle.len() < MOST {
            idle.push((Instant::now(), link));
        }
    }

    /// Closes what has waited for long enough.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.idle().retain(|(last, link)| is_good(*last, link, now));
    }

    /// Closes all that wait.
    pub(super) fn clear(&self) {
        drop(std::mem::take(&mut *self.idle()));
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Instant, Link)>> {
        self.idle.lock().expect("nothing panics while it holds this")
    }
}

fn is_good(last: Instant, link: &Link, now: Instant) -> bool {
    !link.sender.is_closed() && now - last < IDLE && now - link.since < OLDEST
}
