//! What a server sees of a request, and what no other server sees.

use super::*;
use crate::common::http::Response as Answer;
use crate::harness::{Fault, Proxy};

fn server() -> Proxy {
    Proxy::answering(|_| Answer::new(200, "{}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_data_and_reach_the_server_as_such() {
    let server = server();
    let mut transport = plain(server.address);
    transport.address.prefix = "/vault".to_owned();
    let client = Client::new(transport, ENOUGH);
    for (name, target) in [
        ("a b", "/vault/v1/a%20b/data?list=true&v=a%26b"),
        ("../sys/seal", "/vault/v1/..%2Fsys%2Fseal/data?list=true&v=a%26b"),
        ("x?y#z", "/vault/v1/x%3Fy%23z/data?list=true&v=a%26b"),
    ] {
        let route = Route::to("/v1").name(name).unwrap().then("/data");
        client.send(Request::get(route).query("list", "true").query("v", "a&b")).await.unwrap();
        let seen = server.seen().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", target));
        assert_eq!(seen.header("accept"), Some("application/json"));
        assert_eq!(seen.header("accept-encoding"), None);
    }
    let body = b"{\"role_id\": \"x\"}".to_vec();
    client.send(Request::post(Route::to("/v1/login")).json(body.clone())).await.unwrap();
    let seen = server.seen().pop().unwrap();
    assert_eq!((seen.method.as_str(), &seen.body), ("POST", &body));
    client.send(Request::list(Route::to("/v1/keys"))).await.unwrap();
    assert_eq!(server.seen().pop().unwrap().method, "LIST");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_an_answer_and_takes_no_credential_elsewhere() {
    let (server, elsewhere) = (server(), server_elsewhere());
    let location = format!("http://{}/v1/x", elsewhere.address);
    server.set(Fault::Redirect(location.clone()));
    let client = Client::new(plain(server.address), ENOUGH);
    let response = client.send(question()).await.unwrap();
    assert_eq!((response.status(), response.location()), (307, Some(&*location)));
    assert_eq!(elsewhere.requests(), 0);
    assert!(client.stays(&location).is_none());
    // The control: who goes there takes the token along, and it is seen.
    Client::new(plain(elsewhere.address), ENOUGH).send(question()).await.unwrap();
    assert_eq!(elsewhere.seen()[0].header("x-vault-token"), Some(TOKEN));
}

fn server_elsewhere() -> Proxy {
    Proxy::answering(|_| Answer::new(200, "{}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_the_same_server_can_be_gone() {
    let server = server();
    let client = Client::new(plain(server.address), ENOUGH);
    for location in ["/v1/y?z=1".to_owned(), format!("http://{}/v1/y?z=1", server.address)] {
        server.set(Fault::Redirect(location));
        let response = client.send(question()).await.unwrap();
        let route = client.stays(response.location().unwrap()).unwrap();
        server.mend();
        assert_eq!(client.send(Request::get(route)).await.unwrap().status(), 200);
        assert_eq!(server.seen().pop().unwrap().target, "/v1/y?z=1");
    }
}

/// Before a real server: what it says is passed on, with its faults.
#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_of_the_tests_stands_before_another_server() {
    let real = Proxy::answering(|request| Answer::new(200, format!("{{\"got\": \"{}\"}}", request.target)));
    let proxy = Proxy::before(real.address);
    let client = Client::new(plain(proxy.address), ENOUGH);
    let got = client.send(question()).await.unwrap();
    assert_eq!(got.json().unwrap().at(&["got"]).unwrap().text().unwrap(), "/v1/x");
    assert_eq!(real.seen()[0].header("x-vault-token"), Some(TOKEN));
    proxy.set(Fault::HalfBody);
    assert!(client.send(question()).await.is_err());
    proxy.mend();
    assert!(client.send(question()).await.is_ok());
    assert_eq!(real.requests(), 3);
}

/// What has gone through a connection lies in its buffers for as long as it waits.
#[tokio::test]
async fn a_connection_does_not_wait_for_long() {
    for (seconds, connections) in [(1, 1), (11, 2)] {
        let server = server();
        let client = Client::new(plain(server.address), ENOUGH);
        client.send(question()).await.unwrap();
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
        client.sweep();
        client.send(question()).await.unwrap();
        assert_eq!(server.connections(), connections, "after {seconds} s");
    }
}
