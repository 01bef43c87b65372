//! `secretfs test` over TLS: the server of a secret is believed by the authorities of the machine.

use std::path::Path;
use std::process::Output;

use super::*;
use crate::common::http::Response as Answer;
use crate::common::{TestStore, stdout_of};
use crate::harness::{Leaf, Proxy};

fn server(leaf: &Leaf) -> Proxy {
    Proxy::answering_with_tls(leaf.config(), |request| {
        let is_client = request.header("authorization") == Some("Basic Y2xpZW50LTE6cyUyRjE=");
        match is_client && request.method == "POST" && request.body == b"grant_type=client_credentials" {
            true => Answer::new(200, "{\"access_token\": \"a-fresh\", \"token_type\": \"bearer\"}"),
            false => Answer::new(401, "{\"error\": \"invalid_client\"}"),
        }
    })
}

/// The status, and all that was said.
fn test(server: &Proxy, machine: &Path, secret: &str) -> (Option<i32>, String) {
    let store = TestStore::new();
    let url = format!("token_url=https://localhost:{}/token?x=1", server.address.port());
    let secret = format!("client_secret={secret}");
    let fields = ["--field", "client_id=client-1", "--field", &secret, "--field", &url];
    stdout_of(&store.run(&[&["set", "api", "--type", "oauth"], &fields[..]].concat()));
    let mut command = store.command(&["test", "api"]);
    let Output { status, stdout, stderr } = command.env("SSL_CERT_FILE", machine).output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[test]
fn a_token_is_asked_for_over_tls_of_a_server_that_is_believed() {
    let (ours, folder) = (Authority::new("Ours"), folder());
    let machine = ours.file(folder.path());
    let good = server(&ours.server(&["localhost"]));
    let (status, said) = test(&good, &machine, "s/1");
    assert!(status == Some(0) && said.contains("it gave an access token to the client"), "{said}");
    let (status, said) = test(&good, &machine, "hunter2");
    assert!(status == Some(1) && said.contains("does not know this client"), "{said}");
    let theirs = Authority::new("Theirs");
    for (leaf, expected, words) in [
        (ours.expired(&["localhost"]), 1, "the certificate of its server has expired on 2021-02-03"),
        (ours.server(&["vault"]), 1, "is for another name"),
        (theirs.server(&["localhost"]), 0, "an authority that this machine does not know (CN=Theirs)"),
    ] {
        let server = server(&leaf);
        let (status, said) = test(&server, &machine, "s/1");
        assert!(status == Some(expected) && said.contains(words), "{status:?} {said}");
        assert!(server.requests() == 0 && !said.contains(&server.address.port().to_string()), "{said}");
    }
}
