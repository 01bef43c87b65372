//! What is asked of a server when readers want to know, and how often: a provider as simple as one can be,
//! over the real client, behind the real cache.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use secretfs::cache::Cache;
use secretfs::config::{Keeping, Limits};
use secretfs::provider::{AsOf, Batch, BoxFuture, Provider, refusal};
use secretfs::secret::{Answer, FieldName, SecretKey, SecretType, SecretVersion};

use super::*;
use crate::common::http::Response as Said;
use crate::harness::{Fault, Proxy};

/// Asks for all keys at once, by their names.
struct Simple(Client);

impl Provider for Simple {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(async move {
            let names = keys.iter().map(|key| &*key.path).collect::<Vec<_>>().join("+");
            let response = self.0.send(Request::get(Route::to("/v1").name(&names).unwrap())).await?;
            match response.status() {
                200 => Ok(Batch { answers: keys.iter().map(|_| answer()).collect(), as_of: AsOf::moment(0) }),
                _ => Err(refusal("it", &response)),
            }
        })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async { self.fetch(&[SecretKey::named("health")]).await.map(drop) })
    }
}

fn answer() -> Answer {
    let now = Timestamp::UNIX_EPOCH;
    Ok(Arc::new(SecretVersion {
        turned_out: None,
        kind: SecretType::Plain,
        fields: BTreeMap::from([(FieldName::value(), SecretBytes::copy_of(b"v"))]),
        version: 1,
        created_at: now,
        updated_at: now,
        expires_at: None,
        uses: None,
    }))
}

fn server() -> Proxy {
    Proxy::answering(|_| Said::new(200, "{}"))
}

fn cached(server: &Proxy, limits: Limits, keeping: Keeping) -> Cache {
    let client = Client::new(plain(server.address), limits.timeout);
    Cache::new("p", Arc::new(Simple(client)), limits, keeping)
}

fn patient() -> Limits {
    Limits { timeout: ENOUGH, ..Limits::default() }
}

async fn read(cache: &Cache, name: &str) -> Result<Batch, ProviderError> {
    cache.fetch(&[SecretKey::named(name)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_to_be_left_alone_is() {
    let server = server();
    let cache = cached(&server, patient(), Keeping::default());
    server.set(Fault::Status(429, Some("3600")));
    for name in ["a", "b", "c"] {
        let error = read(&cache, name).await.err().unwrap();
        assert_eq!(error.kind(), "throttled", "{error}");
    }
    assert_eq!(cache.health().await.unwrap_err().kind(), "throttled");
    assert_eq!(server.requests(), 1, "whoever asks");
    let why = read(&cache, "a").await.err().unwrap().to_string();
    assert!(why.starts_with("not asked for 3600 s more: it is asked too often (429)"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_pause_it_is_asked_again() {
    let server = server();
    let cache = cached(&server, patient(), Keeping::default());
    server.set(Fault::Status(503, Some("1")));
    let start = Instant::now();
    assert_eq!(read(&cache, "a").await.err().unwrap().kind(), "throttled");
    server.mend();
    while read(&cache, "a").await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(server.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn meanwhile_an_old_answer_is_given_where_it_may_be() {
    let server = server();
    let keeping = Keeping {
        ttl: Duration::from_millis(1),
        max_stale: Some(Duration::from_secs(3600)),
        ..Keeping::default()
    };
    let cache = cached(&server, patient(), keeping);
    assert!(read(&cache, "a").await.unwrap().as_of.stale_since.is_none(), "the control");
    server.set(Fault::Status(429, Some("3600")));
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(read(&cache, "a").await.unwrap().as_of.stale_since.is_some());
    }
    assert_eq!(server.requests(), 2);
}

/// What may pass is asked again, what will not is not.
#[tokio::test(flavor = "multi_thread")]
async fn how_often_it_is_asked_depends_on_what_it_says() {
    for (fault, requests, kind) in [
        (Fault::Status(500, None), 3, "unavailable"),
        (Fault::Reset, 3, "unavailable"),
        (Fault::Status(403, None), 1, "auth"),
        (Fault::Status(404, None), 1, "decode"),
        (Fault::Status(429, None), 1, "throttled"),
        (Fault::NoHttp, 1, "decode"),
        (Fault::Endless, 1, "too_large"),
    ] {
        let server = server();
        server.set(fault.clone());
        let error = read(&cached(&server, patient(), Keeping::default()), "a").await.err().unwrap();
        assert_eq!((server.requests(), error.kind()), (requests, kind), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_believed_is_asked_once() {
    let (folder, ours) = (folder(), Authority::new("Ours"));
    let server = Proxy::answering_with_tls(ours.expired(&["localhost"]).config(), |_| Said::new(200, "{}"));
    let transport = transport(true, "localhost", server.address.port(), trusting(&folder, &ours));
    let provider = Arc::new(Simple(Client::new(transport, ENOUGH)));
    let cache = Cache::new("p", provider, patient(), Keeping::default());
    assert_eq!(read(&cache, "a").await.err().unwrap().kind(), "tls");
    assert_eq!(server.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_holds_no_more_than_it_may() {
    let keys: Vec<_> = (0..10).map(|number| SecretKey::named(&format!("k{number}"))).collect();
    for (batch, questions) in [(None, 1), (Some(4), 3), (Some(1), 10), (Some(1000), 1)] {
        let server = server();
        let cache = cached(&server, Limits { batch, ..patient() }, Keeping::default());
        assert_eq!(cache.fetch(&keys).await.unwrap().answers.len(), 10);
        assert_eq!(server.requests(), questions, "{batch:?}");
        let longest = server.seen().iter().map(|it| it.target.split("%2B").count()).max().unwrap();
        assert!(longest <= batch.unwrap_or(10), "{longest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_questions_in_a_second_than_it_may_be_asked() {
    let keys: Vec<_> = (0..12).map(|number| SecretKey::named(&format!("k{number}"))).collect();
    let took = async |per_second| {
        let server = server();
        let limits = Limits { per_second, batch: Some(1), ..patient() };
        let cache = cached(&server, limits, Keeping::default());
        let start = Instant::now();
        cache.fetch(&keys).await.unwrap();
        assert_eq!(server.requests(), 12);
        start.elapsed()
    };
    // Four at once, then four in each of two seconds.
    assert!(took(Some(4)).await >= Duration::from_millis(1900));
    assert!(took(None).await < Duration::from_secs(10), "the control");
}
