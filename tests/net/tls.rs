//! Whom we believe to be the server, and whom the server believes us to be.

use std::fs;
use std::sync::Arc;

use rustls::{ServerConfig, version};
use secretfs::config::{Identity, Pin, TlsVersion};
use secretfs::net::TlsError;

use super::*;
use crate::common::http::Response as Answer;
use crate::harness::{Fault, Leaf, Proxy};

const HOST: &str = "localhost";

fn serving(config: Arc<ServerConfig>) -> Proxy {
    Proxy::answering_with_tls(config, |_| Answer::new(200, "{}"))
}

fn pin(text: &str) -> Pin {
    use base64::Engine;
    let hash = base64::engine::general_purpose::STANDARD.decode(&text["sha256/".len()..]).unwrap();
    Pin(hash.try_into().unwrap())
}

async fn to(server: &Proxy, tls: Tls) -> Result<Response, NetError> {
    ask(transport(true, HOST, server.address.port(), tls)).await
}

/// The answer to a client that believes this authority.
async fn with(leaf: &Leaf, authority: &Authority) -> Result<Response, NetError> {
    let folder = folder();
    to(&serving(leaf.config()), trusting(&folder, authority)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_certificate_is_believed() {
    let authority = Authority::new("Ours");
    assert_eq!(with(&authority.server(&[HOST]), &authority).await.unwrap().status(), 200);
    let chained = authority.below("Between").server(&[HOST]);
    assert_eq!(with(&chained, &authority).await.unwrap().status(), 200);
    let folder = folder();
    let server = serving(authority.server(&["127.0.0.1"]).config());
    let tls = trusting(&folder, &authority);
    let by_number = ask(transport(true, "127.0.0.1", server.address.port(), tls)).await;
    assert_eq!(by_number.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_is_told_apart() {
    let (ours, theirs) = (Authority::new("Ours"), Authority::new("Theirs & Co"));
    for (leaf, words) in [
        (ours.expired(&[HOST]), "has expired on 2021-02-03"),
        (ours.not_yet(&[HOST]), "is not valid before 2090-01-02"),
        (ours.server(&["vault.example.com", "vault"]), "is for vault.example.com, vault, not for localhost"),
        (
            theirs.server(&[HOST]),
            "(CN=Theirs & Co): name the file with that authority's certificate as `tls.ca`",
        ),
        (ours.client(HOST), "cannot be used (it is for something else than a server)"),
    ] {
        let server = serving(leaf.config());
        let folder = folder();
        let error = to(&server, trusting(&folder, &ours)).await.unwrap_err();
        assert!(matches!(error.kind, NetErrorKind::Tls(_)), "{error:?}");
        judge(&error, words, "tls");
        assert_eq!(server.requests(), 0, "nothing was said");
    }
}

/// The system's authorities are those that count without a file.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_our_authority_is_unknown() {
    let server = serving(Authority::new("Ours").server(&[HOST]).config());
    let error = to(&server, Tls::default()).await.unwrap_err();
    let kind = &error.kind;
    let is_told = matches!(kind, NetErrorKind::Tls(TlsError::UnknownCa { .. } | TlsError::Files(_)));
    assert!(is_told && error.to_string().contains("`tls.ca`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_the_name_that_is_set_for_it() {
    let (ours, folder) = (Authority::new("Ours"), folder());
    let server = serving(ours.server(&["vault.internal"]).config());
    let named = |name: &str| Tls { server_name: Some(name.to_owned()), ..trusting(&folder, &ours) };
    assert_eq!(to(&server, named("vault.internal")).await.unwrap().status(), 200);
    judge(&to(&server, named("other.internal")).await.unwrap_err(), "not for other.internal", "tls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_of_any_certificate_of_the_chain() {
    let ours = Authority::new("Ours");
    let between = ours.below("Between");
    let leaf = between.server(&[HOST]);
    let (server, folder) = (serving(leaf.config()), folder());
    let pinned =
        |pins: &[&str]| Tls { pins: pins.iter().map(|it| pin(it)).collect(), ..trusting(&folder, &ours) };
    let stranger = Authority::new("Stranger");
    for good in [&leaf.pin, &between.pin, &ours.pin] {
        assert_eq!(to(&server, pinned(&[&stranger.pin, good])).await.unwrap().status(), 200);
    }
    let error = to(&server, pinned(&[&stranger.pin])).await.unwrap_err();
    assert!(matches!(error.kind, NetErrorKind::Tls(TlsError::Pin { .. })));
    judge(&error, &leaf.pin, "tls");
}

/// Anybody can send the certificate that is pinned along with another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_certificate_beside_the_chain_proves_nothing() {
    let (ours, pinned, folder) = (Authority::new("Ours"), Authority::new("Pinned"), folder());
    let leaf = ours.server(&[HOST]).with_stranger(&pinned);
    let server = serving(leaf.config());
    let tls = Tls { pins: vec![pin(&pinned.pin)], ..trusting(&folder, &ours) };
    assert!(matches!(to(&server, tls).await.unwrap_err().kind, NetErrorKind::Tls(TlsError::Pin { .. })));
    let control = Tls { pins: vec![pin(&ours.pin)], ..trusting(&folder, &ours) };
    assert_eq!(to(&server, control).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_older_version_than_is_wanted() {
    let (ours, folder) = (Authority::new("Ours"), folder());
    let leaf = ours.server(&[HOST]);
    let old = serving(leaf.config_of(&version::TLS12));
    let tls = |min| Tls { min, ..trusting(&folder, &ours) };
    assert_eq!(to(&old, tls(TlsVersion::Tls12)).await.unwrap().status(), 200, "the control");
    let error = to(&old, tls(TlsVersion::Tls13)).await.unwrap_err();
    judge(&error, "no version of TLS that is wanted here (`tls.min`: 1.3)", "tls");
    let new = serving(leaf.config_of(&version::TLS13));
    assert_eq!(to(&new, tls(TlsVersion::Tls13)).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_who_we_are_is_told() {
    let (ours, clients, folder) = (Authority::new("Ours"), Authority::new("Clients"), folder());
    let server = serving(ours.server(&[HOST]).config_asking(&clients));
    let tls = |leaf: Option<&Leaf>| {
        let identity = leaf.map(|leaf| leaf.files(folder.path(), "client"));
        let identity = identity.map(|(cert, key)| Identity { cert, key });
        Tls { identity, ..trusting(&folder, &ours) }
    };
    assert_eq!(to(&server, tls(Some(&clients.client("app")))).await.unwrap().status(), 200);
    judge(&to(&server, tls(None)).await.unwrap_err(), "name the files as `tls.cert` and `tls.key`", "tls");
    let stranger = Authority::new("Stranger").client("app");
    judge(&to(&server, tls(Some(&stranger))).await.unwrap_err(), "does not take our certificate", "tls");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_files_are_taken_up_and_broken_ones_are_not() {
    let (first, second, folder) = (Authority::new("First"), Authority::new("Second"), folder());
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, &first.pem).unwrap();
    let tls = Tls { ca: Some(ca.clone()), ..Tls::default() };
    let server = serving(first.server(&[HOST]).config());
    let client = Client::new(transport(true, HOST, server.address.port(), tls), ENOUGH);
    client.send(question()).await.unwrap();
    let renew = |text: &str| {
        let new = folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &ca).unwrap();
    };
    // A new connection, since the server closes this one.
    let again = async || {
        server.set(Fault::Close);
        let _ = client.send(question()).await;
        server.mend();
        client.send(question()).await
    };
    renew("half of a file");
    again().await.unwrap();
    renew(&second.pem);
    judge(&again().await.unwrap_err(), "(CN=First)", "tls");
    renew(&first.pem);
    again().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_used_are_named() {
    let (ours, folder) = (Authority::new("Ours"), folder());
    let server = serving(ours.server(&[HOST]).config());
    let client = ours.client("app");
    let (cert, key) = client.files(folder.path(), "client");
    let (_, other) = ours.client("other").files(folder.path(), "other");
    let own = |cert: &PathBuf, key: &PathBuf| {
        let identity = Some(Identity { cert: cert.clone(), key: key.clone() });
        Tls { identity, ..trusting(&folder, &ours) }
    };
    let nowhere = folder.path().join("nosuch.pem");
    for (tls, words) in [
        (Tls { ca: Some(nowhere.clone()), ..Tls::default() }, "nosuch.pem) cannot be read"),
        (Tls { ca: Some(key.clone()), ..Tls::default() }, "`tls.ca` ("),
        (own(&nowhere, &key), "`tls.cert` ("),
        (own(&cert, &cert), "holds no private key"),
        (own(&cert, &other), "`tls.cert` and `tls.key` cannot be used"),
    ] {
        judge(&to(&server, tls).await.unwrap_err(), words, "tls");
    }
    assert_eq!(server.connections(), 0, "nobody was asked");
    assert_eq!(to(&server, own(&cert, &key)).await.unwrap().status(), 200, "the control");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_speaks_no_tls_is_told() {
    let plain = Proxy::answering(|_| Answer::new(200, "{}"));
    let error = to(&plain, Tls::default()).await.unwrap_err();
    judge(&error, "it does not speak TLS", "tls");
    let silent = serving(Authority::new("Ours").server(&[HOST]).config());
    silent.set(Fault::Silent);
    let client = transport(true, HOST, silent.address.port(), Tls::default());
    let error = Client::new(client, Duration::from_secs(1)).send(question()).await.unwrap_err();
    judge(&error, "the TLS handshake has taken longer than 1s", "timeout");
}

/// For who sets it up: each step with what it found, up to the one that fails.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_is_told_step_by_step() {
    async fn way(host: &str, port: u16, tls: Tls) -> Vec<(&'static str, bool, String)> {
        let steps = Client::new(transport(true, host, port, tls), ENOUGH).probe().await;
        let told = steps.into_iter().map(|step| match step.outcome {
            Ok(found) => (step.name, true, found),
            Err(error) => (step.name, false, error.to_string()),
        });
        told.collect()
    }
    let (ours, folder) = (Authority::new("Ours"), folder());
    let server = serving(ours.server(&[HOST]).config());
    let port = server.address.port();
    let good = way(HOST, port, trusting(&folder, &ours)).await;
    let steps: Vec<_> = good.iter().map(|(name, is_fine, _)| (*name, *is_fine)).collect();
    assert_eq!(steps, [("name", true), ("connect", true), ("tls", true)], "{good:?}");
    assert!(good[0].2.contains("127.0.0.1") && good[2].2 == "TLS 1.3", "{good:?}");
    let stranger = way(HOST, port, trusting(&folder, &Authority::new("Theirs"))).await;
    assert!(stranger.len() == 3 && !stranger[2].1 && stranger[2].2.contains("`tls.ca`"), "{stranger:?}");
    let nobody = way("nosuch..invalid", port, Tls::default()).await;
    assert!(nobody.len() == 1 && nobody[0].0 == "name" && !nobody[0].1, "{nobody:?}");
    server.set(Fault::Refuse);
    let shut = way("127.0.0.1", port, trusting(&folder, &ours)).await;
    assert!(shut.len() == 1 && shut[0].0 == "connect" && !shut[0].1, "an address needs no name: {shut:?}");
    assert_eq!(server.requests(), 0, "nothing was asked");
}
