//! The client of all providers of the network, against servers with every fault: each is told apart, in
//! words, within its time; and nothing of ours goes where it does not belong.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/net/mod.rs"]
mod harness;

mod alone;
mod cache;
mod faults;
mod given;
mod requests;
mod tls;
mod trial;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use harness::Authority;
use secretfs::config::{Address, Tls, Transport};
use secretfs::net::{Client, NetError, NetErrorKind, Request, Response, Route};
use secretfs::provider::ProviderError;
use secretfs::secret::SecretBytes;

const TOKEN: &str = "hunter2-31337";

/// Long enough for a loaded machine, where nothing is wrong.
const ENOUGH: Duration = Duration::from_secs(20);

fn plain(server: SocketAddr) -> Transport {
    transport(false, "127.0.0.1", server.port(), Tls::default())
}

fn transport(is_tls: bool, host: &str, port: u16, tls: Tls) -> Transport {
    let address = Address { is_tls, host: host.to_owned(), port, prefix: String::new() };
    Transport { address, tls }
}

/// Trusts this authority.
fn trusting(folder: &tempfile::TempDir, authority: &Authority) -> Tls {
    Tls { ca: Some(authority.file(folder.path())), ..Tls::default() }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// With a credential, as all that ask have one.
fn question() -> Request {
    let token = SecretBytes::copy_of(TOKEN.as_bytes());
    Request::get(Route::to("/v1/x")).secret("x-vault-token", "", &token).unwrap()
}

async fn ask(transport: Transport) -> Result<Response, NetError> {
    Client::new(transport, ENOUGH).send(question()).await
}

/// An error says something for a person, and nothing of what went over the line.
#[track_caller]
fn judge(error: &NetError, words: &str, kind: &str) {
    let text = error.to_string();
    println!("{text}");
    assert!(text.contains(words), "{text}");
    for secret in [TOKEN, "31337"] {
        assert!(!text.contains(secret) && !format!("{error:?}").contains(secret), "{text}");
    }
    assert_eq!(ProviderError::from(error.clone()).kind(), kind, "{text}");
}
