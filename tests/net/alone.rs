//! What takes a process of its own: variables of the environment, and what is left at the end.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::*;
use crate::common::http::Response as Answer;
use crate::harness::{Fault, Proxy, Tunnel};

/// Where the test is the one that another has started: what that one tells it.
const TOLD: &str = "SECRETFS_TEST_TOLD";

/// Runs this test once more, alone, with these variables.
fn once_more(test: &str, told: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(TOLD, told).stdin(Stdio::null());
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{told} {variables:?}\n{said}");
}

fn told() -> Option<Vec<String>> {
    Some(env::var(TOLD).ok()?.split(' ').map(str::to_owned).collect())
}

const PROXIED: &str = "alone::a_proxy_is_taken_where_the_environment_names_one";

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_taken_where_the_environment_names_one() {
    if let Some(told) = told() {
        return proxied(&told).await;
    }
    let (ours, folder) = (Authority::new("Ours"), folder());
    let server = Proxy::answering_with_tls(ours.server(&["vault.test"]).config(), |_| Answer::new(200, "{}"));
    let tunnel = Tunnel::to(server.address, 200);
    let shut = Tunnel::to(server.address, 407);
    let ca = ours.file(folder.path()).display().to_string();
    let port = server.address.port();
    let run = |host: &str, expected: &str, variables: &[(&str, &str)]| {
        once_more(PROXIED, &format!("{host} {port} {ca} {expected}"), variables);
    };
    let (open, locked) =
        (format!("http://user:hunter2@{}", tunnel.address), format!("http://{}", shut.address));
    let mut ways = 0;
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        run("vault..test", "200", &[(name, &open)]);
        ways += 1;
        let heads = tunnel.heads();
        assert_eq!(heads.len(), ways, "{name}");
        let head = heads.last().unwrap();
        assert!(head.starts_with(&format!("CONNECT vault..test:{port} HTTP/1.1\r\n")), "{head}");
        assert!(
            head.contains("Proxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n") && !head.contains(TOKEN),
            "{head}"
        );
    }
    assert_eq!(server.requests(), ways, "they came through");
    // No way but by the proxy, and none is taken.
    for name in ["NO_PROXY", "no_proxy"] {
        run("vault..test", "resolved", &[("HTTPS_PROXY", &open), (name, "other, .test")]);
    }
    run("vault..test", "resolved", &[("HTTP_PROXY", &open)]);
    run("localhost", "200", &[("ALL_PROXY", &open)]);
    assert_eq!(tunnel.heads().len(), ways);
    run("vault..test", "login", &[("HTTPS_PROXY", &locked)]);
    run("vault..test", "refused", &[("HTTPS_PROXY", "http://127.0.0.1:1")]);
    run("vault..test", "socks5", &[("HTTPS_PROXY", "socks5://127.0.0.1:1")]);
}

async fn proxied(told: &[String]) {
    let [host, port, ca, expected] = told else { panic!("{told:?}") };
    // No resolver is asked for a host like this, and no certificate can be for it.
    let tls = Tls { ca: Some(ca.into()), server_name: Some("vault.test".to_owned()), ..Tls::default() };
    let asked = ask(transport(true, host, port.parse().unwrap(), tls)).await;
    match (asked, expected.as_str()) {
        (Ok(response), "200") => assert_eq!(response.status(), 200),
        (Err(error), words) => judge(&error, words, "connect"),
        (Ok(_), _) => panic!("it has come through"),
    }
}

/// What this process has: open files, and threads by their names.
fn held() -> (BTreeSet<String>, Vec<String>) {
    let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let files = files.filter_map(|file| fs::read_link(file.path()).ok()).map(|it| it.display().to_string());
    // The folder itself, while it is read.
    let files = files.filter(|file| !file.starts_with("/proc/")).collect();
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    let threads = threads.filter_map(|it| fs::read_to_string(it.path().join("comm")).ok());
    (files, threads.collect())
}

#[test]
fn nothing_is_made_before_the_first_request_and_nothing_is_left_at_the_end() {
    if let Some(told) = told() {
        return from_beginning_to_end(&told);
    }
    let ours = Authority::new("Ours");
    let folder = folder();
    let ca = ours.file(folder.path()).display().to_string();
    let good = Proxy::answering_with_tls(ours.server(&["localhost"]).config(), |_| Answer::new(200, "{}"));
    let faulty =
        [Fault::Silent, Fault::Drip, Fault::HalfBody, Fault::Endless, Fault::BlackHole].map(|fault| {
            let server = Proxy::answering(|_| Answer::new(200, "{\"a\": 1}"));
            server.set(fault);
            server
        });
    let addresses = faulty.iter().map(|server| server.address.to_string()).collect::<Vec<_>>().join(" ");
    let test = "alone::nothing_is_made_before_the_first_request_and_nothing_is_left_at_the_end";
    once_more(test, &format!("{ca} {} {addresses}", good.address), &[]);
    assert!(good.requests() >= 20);
}

fn from_beginning_to_end(told: &[String]) {
    let [ca, good, faulty @ ..] = told else { panic!("{told:?}") };
    let port = |address: &String| address.parse::<SocketAddr>().unwrap().port();
    // What tokio has for signals is there for good.
    drop(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    let at_first = held();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let with_runtime = held();
    let tls = Tls { ca: Some(ca.into()), ..Tls::default() };
    let good = Client::new(transport(true, "localhost", port(good), tls), ENOUGH);
    let faulty = faulty.iter().map(|it| Client::new(plain(it.parse().unwrap()), Duration::from_millis(500)));
    let faulty: Vec<_> = faulty.collect();
    assert_eq!(held(), with_runtime, "nothing was asked yet");
    runtime.block_on(async {
        for _ in 0..20 {
            good.send(question()).await.unwrap();
        }
        for client in &faulty {
            client.send(question()).await.unwrap_err();
        }
        assert_ne!(held().0, with_runtime.0, "the control: a connection waits");
        drop((good, faulty));
        // What was told to end takes a moment to do so.
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if held().0 == with_runtime.0 {
                break;
            }
        }
        assert_eq!(held().0, with_runtime.0);
    });
    drop(runtime);
    assert_eq!(held(), at_first);
}
