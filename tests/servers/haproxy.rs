//! haproxy: certificate and key in one file, and a userlist.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::certificate::Certificate;
use crate::common::programs::{self, Row, version_of};
use crate::server::{Server, eventually, free_port, server};
use crate::{WILD, curl, is_untrusted, mount_of, set_secrets};

const FILES: &[(&str, &str)] = &[("haproxy/bundle.pem", "{}"), ("haproxy/users.cfg", "{}")];

/// The master reads the files as root; the workers are of the user `haproxy`.
fn config(bundle: &str, port: u16) -> String {
    format!(
        "global\n user haproxy\n group haproxy\n\
         defaults\n mode http\n timeout client 10s\n timeout connect 10s\n timeout server 10s\n\
         frontend site\n bind 127.0.0.1:{port} ssl crt {bundle}\n\
         \x20http-request auth unless {{ http_auth(users) }}\n http-request return status 200\n"
    )
}

#[test]
fn haproxy_serves_with_bundle_and_userlist_of_the_mount() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let [old, new] = ["old", "new"].map(|name| Certificate::make(place, name));
    let secrets = json!({"web_tls": old.fields(), "web_login": {"username": "app", "password": WILD}});
    let mounted = mount_of(FILES, &secrets);
    let port = free_port();
    let file = place.join("haproxy.cfg");
    fs::write(&file, config(&mounted.path("bundle.pem").display().to_string(), port)).unwrap();
    let mut command = server("haproxy");
    command.args(["-W", "-f"]).arg(&file).arg("-f").arg(mounted.path("users.cfg"));
    let ask = |trusted: &Certificate, password: &str| curl(&trusted.file, &format!("app:{password}"), port);
    let haproxy = Server::start(&mut command, &place.join("log")).when(|| ask(&old, WILD) == Ok(200));
    assert_eq!(ask(&old, "wrong"), Ok(401));
    assert!(is_untrusted(&ask(&new, WILD)));

    set_secrets(mounted.store(), &json!({"web_tls": new.fields_with_key_of(&old)}));
    haproxy.signal(Signal::SIGUSR2);
    eventually("halves of two pairs are refused", || haproxy.said().contains("inconsistencies"));
    assert_eq!(ask(&old, WILD), Ok(200));

    set_secrets(
        mounted.store(),
        &json!({"web_tls": new.fields(), "web_login": {"username": "app", "password": "n3w"}}),
    );
    assert_eq!(ask(&old, WILD), Ok(200), "nothing is read before the reload");
    haproxy.signal(Signal::SIGUSR2);
    eventually("the new certificate is served", || ask(&new, "n3w") == Ok(200));
    eventually("the old workers are gone", || is_untrusted(&ask(&old, "n3w")));
    assert_eq!(ask(&new, WILD), Ok(401));

    let (root, chain) = Certificate::chain(place);
    set_secrets(mounted.store(), &json!({"web_tls": chain}));
    haproxy.signal(Signal::SIGUSR2);
    eventually("the chain is sent along", || ask(&root, "n3w") == Ok(200));

    programs::row(Row {
        program: "haproxy",
        version: version_of("haproxy", &["-v"]),
        read: "TLS certificate and key in one file, a userlist as a file of its config (as root)",
        seen: "curl trusts the certificate and logs in: 200; a wrong password: 401",
        reload: "SIGUSR2 to the master; halves of two pairs leave the old workers at work",
    });
}
