//! nginx: TLS pair and basic auth.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::certificate::Certificate;
use crate::common::programs::{self, Row, version_of};
use crate::common::{Mounted, nginx, stdout_of, tool};
use crate::server::{Server, eventually, free_port, server};
use crate::{WILD, curl, is_untrusted, mount_of, set_secrets};

const FILES: &[(&str, &str)] = &[
    ("nginx/cert.pem", "{}"),
    ("nginx/key.pem", "{}"),
    ("nginx/htpasswd", "{group: www-data, mode: \"0440\"}"),
];

/// Workers run as www-data.
fn config(folder: &Path, mounted: &Mounted, port: u16) -> String {
    let (site, mnt) = (folder.display(), mounted.point());
    let server = format!(
        "ssl_certificate {mnt}/cert.pem;
         ssl_certificate_key {mnt}/key.pem;
         auth_basic secretfs;
         auth_basic_user_file {mnt}/htpasswd;
         root {site};",
        mnt = mnt.display()
    );
    let main = format!("user www-data; worker_processes 2; error_log {site}/error.log;");
    nginx::config(folder, port, &main, &server)
}

#[test]
fn nginx_serves_with_key_and_passwords_from_the_mount() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let [old, new] = ["old", "new"].map(|name| Certificate::make(place, name));
    let secrets = json!({"web_tls": old.fields(), "web_login": {"username": "app", "password": WILD}});
    let mounted = mount_of(FILES, &secrets);
    let site = place.join("site");
    fs::create_dir(&site).unwrap();
    open_to_all(place);
    fs::write(site.join("index.html"), "hello").unwrap();
    let port = free_port();
    fs::write(place.join("nginx.conf"), config(&site, &mounted, port)).unwrap();
    let nginx = Server::start(&mut with_config(server("nginx"), place), &place.join("log"));
    let ask = |trusted: &Certificate, password: &str| curl(&trusted.file, &format!("app:{password}"), port);
    let _nginx = nginx.when(|| ask(&old, WILD) == Ok(200));
    assert_eq!(ask(&old, "wrong"), Ok(401));
    assert!(is_untrusted(&ask(&new, WILD)));

    set_secrets(mounted.store(), &json!({"web_login": {"username": "app", "password": "n3w"}}));
    assert_eq!((ask(&old, WILD), ask(&old, "n3w")), (Ok(401), Ok(200)), "without a reload");

    let reload = || with_config(Command::new(tool("nginx")), place).args(["-s", "reload"]).output().unwrap();
    set_secrets(mounted.store(), &json!({"web_tls": new.fields_with_key_of(&old)}));
    let refused = reload();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("key values mismatch"), "{refused:?}");
    set_secrets(mounted.store(), &json!({"web_tls": new.fields()}));
    assert_eq!(ask(&old, "n3w"), Ok(200), "the key is read at start and reload only");
    stdout_of(&reload());
    eventually("the new certificate is served", || ask(&new, "n3w") == Ok(200));
    eventually("the old workers are gone", || is_untrusted(&ask(&old, "n3w")));

    let (root, chain) = Certificate::chain(place);
    set_secrets(mounted.store(), &json!({"web_tls": chain}));
    stdout_of(&reload());
    eventually("the chain is sent along", || ask(&root, "n3w") == Ok(200));

    programs::row(Row {
        program: "nginx",
        version: version_of("nginx", &["-v"]),
        read: "TLS certificate and key (as root), htpasswd (as www-data)",
        seen: "curl trusts the certificate and logs in: 200; a wrong password: 401",
        reload: "password: the next request; key pair: `nginx -s reload`",
    });
}

fn with_config(mut command: Command, folder: &Path) -> Command {
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    command.arg("-e").arg(folder.join("early.log"));
    command
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}
