//! Reads of files, apart from the threads that serve: a filesystem that does not answer keeps a few threads of its
//! own, and nobody who reads something else. Uses tokio's semaphore.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::sync::{Semaphore, oneshot};

/// What may be kept by what one provider reads. Who comes after that waits, without a thread, until it has no time left.
const MOST: usize = 4;

/// The turns of one provider.
pub(super) struct Apart(Arc<Semaphore>);

impl Apart {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }

    /// Does it in a thread of its own, which may outlive whoever has asked. Not in one of the runtime: that would wait for
    /// it at its end.
    pub(super) async fn does<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let turn = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let (tell, told) = oneshot::channel();
        thread::Builder::new().name("files".to_owned()).spawn(move || {
            let done = work();
            drop(turn);
            let _ = tell.send(done);
        })?;
        told.await.map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_has_no_turn_waits_without_a_thread_until_one_is_free() {
        let (apart, barrier) = (Arc::new(Apart::new()), Arc::new(Barrier::new(MOST + 1)));
        let hung = || {
            let (apart, barrier) = (Arc::clone(&apart), Arc::clone(&barrier));
            tokio::spawn(async move { apart.does(move || barrier.wait().is_leader()).await })
        };
        let all: Vec<_> = (0..MOST).map(|_| hung()).collect();
        let soon = Duration::from_millis(100);
        while apart.0.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(tokio::time::timeout(soon, apart.does(|| 1)).await.is_err(), "there is no turn");
        all.iter().for_each(|hung| hung.abort());
        assert!(
            tokio::time::timeout(soon, apart.does(|| 1)).await.is_err(),
            "nobody waits, and it still hangs"
        );
        barrier.wait();
        assert_eq!(apart.does(|| 1).await.unwrap(), 1);
    }
}
