//! Each fault of a server: what it is called, and that it ends in time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use secretfs::provider::{ProviderError, refusal};

use super::*;
use crate::common::http::Response as Answer;
use crate::harness::{Fault, Proxy};

fn server() -> Proxy {
    Proxy::answering(|_| Answer::new(200, "{\"data\": {\"value\": \"31337\"}}"))
}

/// How long a server with a fault has.
const SHORT: Duration = Duration::from_millis(1500);

/// Asks a server that has this fault from its beginning. Whatever it is, it is over in time.
async fn asked(fault: Fault) -> Result<Response, NetError> {
    let server = server();
    server.set(fault);
    asked_at(server.address).await
}

async fn asked_at(server: SocketAddr) -> Result<Response, NetError> {
    let start = Instant::now();
    let client = Client::new(plain(server), SHORT);
    let asked = client.send(question()).await;
    assert!(start.elapsed() < SHORT * 6, "{:?}", start.elapsed());
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_has_none() {
    let server = server();
    let client = Client::new(plain(server.address), ENOUGH);
    for number in 1..=3 {
        let response = client.send(question()).await.unwrap();
        let value = response.json().unwrap().at(&["data", "value"]).unwrap().secret().unwrap();
        assert!(response.status() == 200 && value.same_as(b"31337"));
        assert_eq!((server.requests(), server.connections()), (number, 1), "one connection for all");
    }
    assert_eq!(server.seen()[0].header("x-vault-token"), Some(TOKEN));
    assert_eq!(server.seen()[0].header("host"), Some(&*server.address.to_string()));
}

/// The fault, what is said of it, and as what it is counted.
const WITHOUT_AN_ANSWER: [(Fault, &str, &str); 15] = [
    (Fault::Refuse, "the connection is refused", "connect"),
    (Fault::BlackHole, "the TCP connection has taken longer than 1.5s", "timeout"),
    (Fault::Silent, "the beginning of its answer has taken longer than 1.5s", "timeout"),
    (Fault::Reset, "closed the connection", "unavailable"),
    (Fault::Close, "closed the connection", "unavailable"),
    (Fault::HalfBody, "closed the connection", "unavailable"),
    (Fault::Drip, "the body of its answer has taken longer than 1.5s", "timeout"),
    (Fault::Huge, "the body of its answer is too large", "too_large"),
    (Fault::Endless, "the body of its answer is too large", "too_large"),
    (Fault::Compressed, "compressed", "decode"),
    (Fault::ManyHeaders, "the head of its answer is too large", "too_large"),
    (Fault::LongHeader, "the head of its answer is too large", "too_large"),
    (Fault::NoHttp, "does not speak HTTP", "decode"),
    (Fault::Status(99, None), "does not speak HTTP", "decode"),
    (Fault::Status(1000, None), "does not speak HTTP", "decode"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_has_its_words_and_ends_in_time() {
    for (fault, words, kind) in WITHOUT_AN_ANSWER {
        let error = asked(fault.clone()).await.err().unwrap_or_else(|| panic!("{fault:?} is an answer"));
        assert!(error.to_string().starts_with("127.0.0.1:"), "{error}");
        judge(&error, words, kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_can_use_is_told_by_its_place() {
    for (fault, words) in [
        (Fault::Garbage, "is no JSON (line 1, column 1)"),
        (Fault::Truncated, "is no JSON (line 1"),
        (Fault::WrongType, "something else where an object belongs"),
        (Fault::Twice, "a member that is there twice"),
        (Fault::Deep, "more than 64 levels"),
    ] {
        let response = asked(fault).await.unwrap();
        let read = response.json().map_err(|error| error.to_string());
        let read = read.and_then(|it| it.at(&["data", "value"]).map_err(|error| error.to_string()));
        let why = read.err().unwrap();
        assert!(why.contains(words) && !why.contains("31337"), "{why}");
        assert!(!format!("{response:?}").contains("31337"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_an_answer_and_says_what_it_means() {
    for (status, after, kind, pause) in [
        (401, None, "auth", None),
        (403, None, "auth", None),
        (404, None, "decode", None),
        (429, None, "throttled", None),
        (429, Some("7"), "throttled", Some(7)),
        (429, Some("Thu, 01 Jan 2099 00:00:00 GMT"), "throttled", Some(3600)),
        (500, None, "unavailable", None),
        (502, None, "unavailable", None),
        (503, None, "unavailable", None),
        (503, Some("3"), "throttled", Some(3)),
    ] {
        let response = asked(Fault::Status(status, after)).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.retry_after(Timestamp::now()).map(|it| it.as_secs()), pause);
        let error = refusal("vault", &response);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with("vault ") && error.to_string().contains(&status.to_string()));
        if let ProviderError::Throttled { after, .. } = error {
            assert_eq!(after.map(|it| it.as_secs()), pause);
        }
    }
}

/// What was not sent, nobody has in memory.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_body_without_an_end_little_is_taken() {
    for fault in [Fault::Huge, Fault::Endless] {
        let server = server();
        server.set(fault);
        assert!(asked_at(server.address).await.is_err());
        // What is more than the limit lies in the sockets.
        assert!(server.sent() < secretfs::net::LARGEST + (16 << 20), "{} bytes", server.sent());
    }
    let large = Proxy::answering(|_| Answer::new(200, vec![b' '; secretfs::net::LARGEST]));
    let client = Client::new(plain(large.address), ENOUGH);
    let response = client.send(question()).await.unwrap();
    assert_eq!(response.body().len(), secretfs::net::LARGEST, "the control: so much is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_knows() {
    // No resolver is asked for this one.
    let error = ask(transport(true, "nosuch..invalid", 443, Tls::default())).await.unwrap_err();
    assert!(matches!(error.kind, NetErrorKind::Dns(_)), "{error:?}");
    judge(&error, "nosuch..invalid:443: its name cannot be resolved", "connect");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_goes_nowhere_else_whatever_the_resolver_says() {
    let error = ask(transport(false, "203.0.113.1", 80, Tls::default())).await.unwrap_err();
    judge(&error, "http:// goes nowhere else", "connect");
}

/// A connection that has waited is closed by a server at any time, and no reader is to hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_died_while_it_waited_is_replaced() {
    for fault in [Fault::Close, Fault::Reset] {
        let server = server();
        let client = Client::new(plain(server.address), ENOUGH);
        client.send(question()).await.unwrap();
        server.set(fault.clone());
        assert!(client.send(question()).await.is_err(), "the control: a new one has it, too");
        server.mend();
        client.send(question()).await.unwrap();
        assert_eq!(server.connections(), 3, "{fault:?}");
    }
}

/// It is dead, and nobody says so: as behind a firewall that has forgotten it.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_silent_costs_half_of_the_time() {
    let server = std::sync::Arc::new(server());
    let client = Client::new(plain(server.address), Duration::from_secs(4));
    client.send(question()).await.unwrap();
    server.set(Fault::Silent);
    let mending = server.clone();
    // By then the first connection was given up.
    let mend = std::thread::spawn(move || {
        common::eventually("another one", || (mending.connections() > 1).then_some(()));
        mending.mend();
    });
    client.send(question()).await.unwrap();
    mend.join().unwrap();
}

/// What may not be asked twice is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_sent_once() {
    let server = server();
    let client = Client::new(plain(server.address), ENOUGH);
    client.send(question()).await.unwrap();
    server.set(Fault::Close);
    assert!(client.send(Request::post(Route::to("/v1/login")).json(b"{}".to_vec())).await.is_err());
    assert_eq!(server.requests(), 2);
    server.mend();
    client.send(question()).await.unwrap();
    server.set(Fault::Close);
    assert!(client.send(question()).await.is_err());
    assert_eq!(server.requests(), 5, "the control: a question is asked twice");
}
