//! Waiting for several answers at the same time. Uses std only.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// All outcomes, in their order. The first failure ends it; the others are dropped.
pub(super) async fn all<T, E, F: Future<Output = Result<T, E>>>(
    futures: impl Iterator<Item = F>,
) -> Result<Vec<T>, E> {
    let mut waiting: Vec<Waiting<F, T>> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        for (future, outcome) in waiting.iter_mut().filter(|(_, outcome)| outcome.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(Ok(it)) => *outcome = Some(it),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        match waiting.iter().all(|(_, outcome)| outcome.is_some()) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    })
    .await?;
    Ok(waiting.into_iter().filter_map(|(_, outcome)| outcome).collect())
}

/// The first of these to come to something, which is taken out. `None` if there is none left.
pub(super) async fn first<K: Copy, T, F: Future<Output = T>>(
    waiting: &mut Vec<(K, Pin<Box<F>>)>,
) -> Option<(K, T)> {
    if waiting.is_empty() {
        return None;
    }
    let (at, outcome) = poll_fn(|context| {
        for (at, (_, future)) in waiting.iter_mut().enumerate() {
            if let Poll::Ready(outcome) = future.as_mut().poll(context) {
                return Poll::Ready((at, outcome));
            }
        }
        Poll::Pending
    })
    .await;
    Some((waiting.remove(at).0, outcome))
}

/// A future, and what it came to.
type Waiting<F, T> = (Pin<Box<F>>, Option<T>);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    async fn after(milliseconds: u64, outcome: Result<u64, &'static str>) -> Result<u64, &'static str> {
        sleep(Duration::from_millis(milliseconds)).await;
        outcome
    }

    #[test]
    fn the_first_is_taken_and_the_others_go_on() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut waiting: Vec<_> =
                [300, 10, 100].into_iter().map(|time| (time, Box::pin(after(time, Ok(time))))).collect();
            let mut order = Vec::new();
            while let Some((time, outcome)) = first(&mut waiting).await {
                assert_eq!(outcome, Ok(time));
                order.push(time);
            }
            assert_eq!(order, [10, 100, 300]);
        });
    }

    #[test]
    fn they_wait_together_and_the_first_failure_ends_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            let told = all([30, 10, 20].into_iter().map(|time| after(time, Ok(time)))).await;
            assert_eq!(told, Ok(vec![30, 10, 20]));
            let failed = all([after(5_000, Ok(1)), after(10, Err("down"))].into_iter()).await;
            assert_eq!(failed, Err("down"));
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        });
    }
}
