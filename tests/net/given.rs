//! Authorities and certificates that were handed over, and lie in no file that is named in the config.

use std::fs;

use secretfs::net::{Given, TlsError};

use super::*;
use crate::common::http::Response as Answer;
use crate::harness::{Leaf, Proxy};

const HOST: &str = "localhost";

async fn to(server: &Proxy, tls: Tls, given: Given) -> Result<u16, NetError> {
    let transport = transport(true, HOST, server.address.port(), tls);
    Client::given(transport, given, ENOUGH).send(question()).await.map(|answer| answer.status())
}

fn only(authority: &Authority) -> Given {
    Given { ca: Some(authority.pem.clone().into_bytes()), identity: None }
}

fn as_client(leaf: &Leaf) -> Option<(Vec<u8>, SecretBytes)> {
    let folder = folder();
    let (cert, key) = leaf.files(folder.path(), "client");
    Some((fs::read(cert).unwrap(), SecretBytes::new(fs::read(key).unwrap())))
}

/// Whatever else is known: who hands one over means that one.
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_given_is_the_only_one() {
    let (ours, theirs) = (Authority::new("Ours"), Authority::new("Theirs"));
    let server = Proxy::answering_with_tls(ours.server(&[HOST]).config(), |_| Answer::new(200, "{}"));
    assert_eq!(to(&server, Tls::default(), only(&ours)).await.unwrap(), 200);
    let folder = folder();
    let error = to(&server, trusting(&folder, &ours), only(&theirs)).await.unwrap_err();
    judge(&error, "is from an authority that is not known here", "tls");
    assert_eq!(to(&server, trusting(&folder, &ours), Given::default()).await.unwrap(), 200, "the control");
    for broken in ["", "hunter2", "-----BEGIN CERTIFICATE-----\nMzEzMzc=\n-----END CERTIFICATE-----\n"] {
        let given = Given { ca: Some(broken.into()), identity: None };
        judge(&to(&server, Tls::default(), given).await.unwrap_err(), "is none (PEM)", "tls");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_given_is_shown() {
    let (ours, clients) = (Authority::new("Ours"), Authority::new("Clients"));
    let asking = ours.server(&[HOST]).config_asking(&clients);
    let server = Proxy::answering_with_tls(asking, |_| Answer::new(200, "{}"));
    let given = |identity| Given { identity, ..only(&ours) };
    let known = as_client(&clients.client("app"));
    assert_eq!(to(&server, Tls::default(), given(known)).await.unwrap(), 200);
    let unknown = as_client(&ours.client("app"));
    let refused = to(&server, Tls::default(), given(unknown)).await.unwrap_err();
    assert!(matches!(refused.kind, NetErrorKind::Tls(TlsError::RefusesOurs(_))), "{refused}");
    let none = to(&server, Tls::default(), given(None)).await.unwrap_err();
    assert!(matches!(none.kind, NetErrorKind::Tls(TlsError::AsksForOurs)), "{none}");
    let (cert, _) = as_client(&clients.client("app")).unwrap();
    let (_, other) = as_client(&clients.client("other")).unwrap();
    let unfit = to(&server, Tls::default(), given(Some((cert, other)))).await.unwrap_err();
    judge(&unfit, "our certificate and its key cannot be used", "tls");
}
