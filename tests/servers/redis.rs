//! redis: the ACL file, which holds a hash of the password.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Output;

use serde_json::json;

use crate::common::programs::{self, Row, version_of};
use crate::common::{Mounted, stdout_of, tool};
use crate::server::{Server, free_port, server_as};
use crate::{WILD, mount_of, set_secrets};

const FILES: &[(&str, &str)] = &[("redis/users.acl", "{owner: redis}")];

fn redis(folder: &std::path::Path, mounted: &Mounted, port: u16) -> Server {
    let mut command = server_as("redis", "redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--aclfile"]);
    command.arg(mounted.path("users.acl")).arg("--dir").arg("/");
    let answers = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    Server::start(&mut command, &folder.join("log")).when(answers)
}

/// redis-cli, which takes the password from the environment that `secretfs exec` gives to it.
fn redis_cli(mounted: &Mounted, port: u16, reference: &str, command: &[&str]) -> String {
    let variable = format!("REDISCLI_AUTH={reference}");
    let mut exec = mounted.store().command(&["exec", "--env", &variable, "--"]);
    exec.arg(tool("redis-cli")).args(["--no-auth-warning", "-h", "127.0.0.1", "-p", &port.to_string()]);
    let output: Output = exec.args(command).output().unwrap();
    stdout_of(&output).trim().to_owned()
}

/// A client that stays.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn ask(&mut self, command: &str) -> String {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        self.0.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

#[test]
fn redis_asks_for_the_password_whose_hash_is_in_its_acl_file() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = mount_of(FILES, &json!({"redis_password": WILD}));
    let port = free_port();
    let _redis = redis(folder.path(), &mounted, port);
    let ask = |reference: &str, command: &[&str]| redis_cli(&mounted, port, reference, command);
    assert_eq!(ask("redis_password", &["PING"]), "PONG");
    assert!(!mounted.read("users.acl").contains("p@ss"));

    set_secrets(mounted.store(), &json!({"redis_password": "n3w", "wrong": "wrong"}));
    assert!(ask("wrong", &["PING"]).contains("NOAUTH"));
    assert!(ask("redis_password", &["PING"]).contains("NOAUTH"), "not before ACL LOAD");
    assert_eq!(ask("redis_password@1", &["ACL", "LOAD"]), "OK");
    assert_eq!(ask("redis_password", &["PING"]), "PONG");
    assert!(ask("redis_password@1", &["PING"]).contains("NOAUTH"));

    let mut client = Connection(BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap()));
    assert_eq!(
        (client.ask("PING").as_str(), client.ask("AUTH n3w").as_str()),
        ("-NOAUTH Authentication required.", "+OK")
    );
    set_secrets(mounted.store(), &json!({"redis_password": "n3wer"}));
    assert_eq!(ask("redis_password@2", &["ACL", "LOAD"]), "OK");
    assert_eq!(
        (client.ask("PING").as_str(), client.ask("AUTH n3w").split(' ').next()),
        ("+PONG", Some("-WRONGPASS"))
    );

    programs::row(Row {
        program: "redis",
        version: version_of("redis-server", &["--version"]),
        read: "ACL file with the password's sha256 (as redis)",
        seen: "redis-cli logs in with any password, given to it by `secretfs exec`; a wrong one: NOAUTH",
        reload: "`ACL LOAD`, by a client that is logged in; open connections stay",
    });
}
