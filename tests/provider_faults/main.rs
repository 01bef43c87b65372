//! Each fault of a network, a server or a credential with each provider that is asked over a network: a real server
//! behind a proxy that has the fault, a daemon with a mount before it; and the same of programs and files. What a reader, the log and the figures get
//! are the tables of `docs/faults.md`.

mod aws;
mod azure;
#[path = "../common/mod.rs"]
mod common;
mod document;
mod flapping;
mod gcp;
#[path = "../common/net/mod.rs"]
mod harness;
mod kubernetes;
mod local;
mod onepassword;
mod scene;
mod servers;
mod trouble;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

use common::azure::Azure;
use common::gcp::Gcp;
use kubernetes::Clusters;
use onepassword::OnePasswords;
use scene::{Scene, Seen};
use servers::{Etcds, Server, Vaults};
use trouble::{Trouble, all};

/// How many are tried at the same time.
const TOGETHER: usize = 4;

/// What was seen of each, in the order of the table.
fn tried<S: Server>() -> Vec<(&'static str, Option<Seen>)> {
    let shared = S::start();
    let open = Mutex::new(all().into_iter().enumerate().rev().collect::<Vec<_>>());
    let (seen, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                loop {
                    let Some((at, (name, trouble))) = open.lock().unwrap().pop() else { return };
                    // One that is not as it should be is no reason not to try the others.
                    match catch_unwind(AssertUnwindSafe(|| tried_with(&shared, at, name, &trouble))) {
                        Ok(row) => seen.lock().unwrap().push((at, name, row)),
                        Err(_) => failed.lock().unwrap().push(name),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}: {failed:?}", S::NAME);
    let mut seen = seen.into_inner().unwrap();
    seen.sort_by_key(|(at, ..)| *at);
    seen.into_iter().map(|(_, name, row)| (name, row)).collect()
}

/// `None`: a server of this kind has no such fault.
fn tried_with<S: Server>(shared: &S, number: usize, name: &str, trouble: &Trouble) -> Option<Seen> {
    if !S::has(trouble) {
        return None;
    }
    let own = trouble.is_of_the_server().then(S::start);
    let server = own.as_ref().unwrap_or(shared);
    println!("{}: {name}", S::NAME);
    Some(Scene::of(server, number, trouble).played(name))
}

#[test]
fn with_a_vault() {
    document::judge(&document::NETWORK, Vaults::NAME, &tried::<Vaults>());
}

#[test]
fn with_an_etcd() {
    document::judge(&document::NETWORK, Etcds::NAME, &tried::<Etcds>());
}

#[test]
fn with_a_key_vault() {
    document::judge(&document::NETWORK, <Azure as Server>::NAME, &tried::<Azure>());
}

#[test]
fn with_a_connect_server() {
    document::judge(&document::NETWORK, OnePasswords::NAME, &tried::<OnePasswords>());
}

#[test]
fn with_secrets_of_aws() {
    document::judge(&document::NETWORK, aws::Secrets::NAME, &tried::<aws::Secrets>());
}

#[test]
fn with_parameters_of_aws() {
    document::judge(&document::NETWORK, aws::Parameters::NAME, &tried::<aws::Parameters>());
}

#[test]
fn with_a_gcp() {
    document::judge(&document::NETWORK, <Gcp as Server>::NAME, &tried::<Gcp>());
}

#[test]
fn with_a_cluster_of_kubernetes() {
    document::judge(&document::NETWORK, Clusters::NAME, &tried::<Clusters>());
}
