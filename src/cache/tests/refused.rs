//! What a provider refuses: found among many with few questions, at no cost to the others, and the end of what was
//! known of it.

use super::*;

fn keys(names: impl Iterator<Item = usize>) -> Vec<SecretKey> {
    names.map(|number| SecretKey::named(&number.to_string())).collect()
}

fn of(upstream: &Arc<MadeUp>, keeping: Keeping) -> Cache {
    Cache::new("p", upstream.clone(), Limits::default(), keeping)
}

fn refuse(upstream: &MadeUp, names: impl Iterator<Item = usize>) {
    upstream.refused.lock().unwrap().extend(names.map(|number| number.to_string()));
}

async fn is_denied(cache: &Cache, keys: &[SecretKey]) -> bool {
    matches!(cache.fetch(keys).await, Err(ProviderError::Denied(_)))
}

#[tokio::test]
async fn one_of_many_is_found_with_few_questions_and_asked_for_alone_from_then_on() {
    let upstream = MadeUp::new(false);
    for number in 0..300 {
        upstream.put(&number.to_string());
    }
    refuse(&upstream, 200..201);
    let cache = of(&upstream, Keeping::default());
    let all = keys(0..300);
    assert!(is_denied(&cache, &all).await);
    let others: Vec<_> = all.iter().filter(|key| key.path != "200").cloned().collect();
    assert!(cache.fetch(&others).await.is_ok(), "the others have their answers");
    let first = upstream.asked();
    assert!(first < 30, "{first}");
    for more in 1..4 {
        assert!(is_denied(&cache, &all).await);
        assert_eq!(upstream.asked(), first + more);
    }
    upstream.refused.lock().unwrap().clear();
    assert!(cache.fetch(&all).await.is_ok(), "as soon as it may be read");
}

#[tokio::test]
async fn where_all_are_refused_the_questions_are_bounded() {
    let upstream = MadeUp::new(false);
    refuse(&upstream, 0..3_000);
    let cache = of(&upstream, Keeping::default());
    let all = keys(0..3_000);
    assert!(is_denied(&cache, &all).await);
    eventually("all have landed", || cache.0.table().flights.is_empty()).await;
    let first = upstream.asked();
    assert!(first <= 1 + 2_048, "{first}");
    let known = keys(0..500);
    assert!(is_denied(&cache, &known).await);
    eventually("all have landed", || cache.0.table().flights.is_empty()).await;
    assert!(upstream.asked() - first < first / 2, "what was found out is not looked for again");
}

/// Also if they are many: those that were not meant lose nothing.
#[tokio::test]
async fn each_of_many_is_found() {
    let upstream = MadeUp::new(false);
    (0..1_000).for_each(|number| _ = upstream.put(&number.to_string()));
    let hour = Some(Duration::from_secs(3600));
    let cache = of(&upstream, Keeping { ttl: TTL, max_stale: hour, ..Keeping::default() });
    let all = keys(0..1_000);
    assert!(cache.fetch(&all).await.is_ok());
    let pulse = cache.pulse();
    refuse(&upstream, (0..1_000).step_by(25));
    sleep(TTL * 2).await;
    assert!(is_denied(&cache, &all).await);
    eventually("all have landed", || cache.0.table().flights.is_empty()).await;
    assert_ne!(cache.pulse(), pulse, "who holds one of them hears of it");
    upstream.is_away.store(true, Ordering::SeqCst);
    let (others, refused): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|key| !key.path.parse::<usize>().unwrap().is_multiple_of(25));
    assert!(cache.fetch(&others).await.is_ok(), "as old ones");
    assert!(cache.fetch(&refused[..1]).await.is_err());
}

/// However old an answer may be that is served in an outage.
#[tokio::test]
async fn a_refusal_ends_what_was_known() {
    let upstream = MadeUp::new(false);
    upstream.put("a");
    let hour = Some(Duration::from_secs(3600));
    let cache = of(&upstream, Keeping { ttl: Duration::ZERO, max_stale: hour, ..Keeping::default() });
    assert_eq!(ask(&cache, "a").await, Some(1));
    upstream.is_away.store(true, Ordering::SeqCst);
    assert_eq!(ask(&cache, "a").await, Some(1), "the control: an outage does not");
    upstream.is_away.store(false, Ordering::SeqCst);
    // The question from before is tried again for a while.
    eventually("it has landed", || cache.0.table().flights.is_empty()).await;
    upstream.refused.lock().unwrap().insert("a".to_owned());
    let key = [SecretKey::named("a")];
    assert!(is_denied(&cache, &key).await);
    upstream.is_away.store(true, Ordering::SeqCst);
    assert!(cache.fetch(&key).await.is_err(), "it is as if it had never been known");
}
