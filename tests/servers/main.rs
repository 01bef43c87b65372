//! Unmodified servers read the mount: each is started on loopback with the ready templates of
//! `templates/`, a client logs in with what the store holds, and a rotation arrives as each server
//! takes it up.

mod certificate;
#[path = "../common/mod.rs"]
mod common;
mod haproxy;
mod mariadb;
mod nginx;
mod pairs;
mod postgres;
mod redis;
mod server;
mod sshd;
mod trial;

use std::path::Path;
use std::process::Command;

use common::ready::{ready_template, set_secrets};
use common::{Mounted, TestMount, TestStore, stdout_of, tool};
use serde_json::Value;

/// Whatever a password may be, except for what no line can hold.
const WILD: &str = r##"p@ss:w0rd "$HOME" 'x' \n\ #;%,{}`é"##;

/// A mount of ready templates (`PROGRAM/FILE`), with these options for each file, and these secrets.
/// A name without a program is one more file, with a template of its own.
#[track_caller]
fn mount_of(files: &[(&str, &str)], secrets: &Value) -> Mounted {
    mount_on(TestStore::new(), files, secrets)
}

#[track_caller]
fn mount_on(store: TestStore, files: &[(&str, &str)], secrets: &Value) -> Mounted {
    set_secrets(&store, secrets);
    let mut config = "mounts:\n- at: mnt\n  templates: templates\n  files:\n".to_owned();
    let mut mount = TestMount::on(store);
    for (ready, options) in files {
        let file = ready.rsplit('/').next().unwrap_or(ready);
        if file != *ready {
            mount = mount.template(&format!("{file}.tpl"), ready_template(ready));
        }
        config += &format!("    {file}: {options}\n");
    }
    mount.config(&config).start()
}

/// Asks a server by curl: the HTTP status, or why there is none.
fn curl(trusted: &Path, login: &str, port: u16) -> Result<u16, String> {
    let mut command = Command::new(tool("curl"));
    command.args(["--disable", "--noproxy", "*", "--silent", "--show-error", "--max-time", "10"]);
    command.args(["--output", "/dev/null", "--write-out", "%{http_code}", "--user", login, "--cacert"]);
    command.arg(trusted).arg(format!("https://127.0.0.1:{port}/"));
    let output = command.output().expect("curl can be started");
    match output.status.success() {
        true => Ok(stdout_of(&output).parse().expect("a status")),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The certificate that a server shows is not the trusted one.
fn is_untrusted(answer: &Result<u16, String>) -> bool {
    answer.as_ref().is_err_and(|error| error.contains("certificate"))
}
