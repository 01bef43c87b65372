//! `secretfs test` against real servers: it says what they say, and with a wrong password the opposite.

use std::fs;
use std::os::unix::fs::chown;

use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::common::{TestStore, stdout_of, tool};
use crate::server::{Server, as_user, free_port, server_as};

fn test(store: &TestStore, url: &str) -> (Option<i32>, String) {
    stdout_of(&store.run_with(&["set", "db", "--type", "connection-string"], url));
    let output = store.run(&["test", "db"]);
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8(told).unwrap();
    assert!(!told.contains("hunter2"), "{told}");
    (output.status.code(), told)
}

fn works(store: &TestStore, url: &str) {
    let (status, told) = test(store, url);
    assert!(status == Some(0) && told.contains("it lets in with this user and password"), "{url}: {told}");
}

fn fails(store: &TestStore, url: &str, words: &str) {
    let (status, told) = test(store, url);
    assert!(status == Some(1) && told.contains(words), "{url}: {told}");
}

fn folder_of(user: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let user =
        nix::unistd::User::from_name(user).unwrap().expect("the package of the server makes this user");
    chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    folder
}

#[test]
fn postgres_lets_in_or_not_as_the_test_says() {
    let (store, folder, port) = (TestStore::new(), folder_of("postgres"), free_port());
    let data = folder.path().join("data");
    let init = |command: &mut std::process::Command| stdout_of(&command.output().unwrap());
    init(
        as_user("postgres")
            .arg(tool("initdb"))
            .args(["--no-sync", "--no-instructions", "--auth", "trust", "-D"])
            .arg(&data),
    );
    let certificate = Certificate::make(store.folder(), "pg");
    for (name, from) in
        [("server.crt", certificate.file.clone()), ("server.key", certificate.file.with_extension("key"))]
    {
        let to = data.join(name);
        fs::copy(from, &to).unwrap();
        let owner = nix::unistd::User::from_name("postgres").unwrap().unwrap();
        chown(&to, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).unwrap();
        fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let rules = "local all postgres trust\nlocal all app scram-sha-256\nhostssl all sealed 127.0.0.1/32 scram-sha-256\n\
                 host all app 127.0.0.1/32 scram-sha-256\nhost all old 127.0.0.1/32 md5\nhost all clear 127.0.0.1/32 password\n";
    fs::write(data.join("pg_hba.conf"), rules).unwrap();
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\nssl = on\n",
        folder.path().display()
    );
    fs::write(data.join("postgresql.conf"), settings).unwrap();
    let sql = |sql: &str| {
        let mut psql = as_user("postgres");
        psql.arg(tool("psql")).args(["-X", "-p", &port.to_string(), "-h"]).arg(folder.path());
        psql.args(["-d", "postgres", "-c", sql]).output().unwrap()
    };
    let mut command = server_as("postgres", "postgres");
    let _server = Server::start(command.arg("-D").arg(&data), &folder.path().join("log"))
        .when(|| sql("select 1").status.success());
    for line in [
        "create role app login password 'hunter2/@é'",
        "create role sealed login password 'hunter2'",
        "create role clear login password 'hunter2'",
        "set password_encryption = md5; create role old login password 'hunter2'",
    ] {
        stdout_of(&sql(line));
    }
    let at = |user: &str, password: &str, rest: &str| {
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{rest}")
    };
    let good = "hunter2%2F%40%C3%A9";
    works(&store, &at("app", good, "postgres?sslmode=disable"));
    works(&store, &at("old", "hunter2", "postgres?sslmode=disable"));
    works(&store, &at("clear", "hunter2", "postgres?sslmode=disable"));
    let socket = folder.path().display().to_string().replace('/', "%2F");
    works(&store, &format!("postgresql://app:{good}@/postgres?host={socket}&port={port}"));
    for user in ["app", "old", "clear"] {
        let words = "does not let in with this user and password";
        fails(&store, &at(user, "hunter2-wrong", "postgres?sslmode=disable"), words);
    }
    fails(&store, &at("app", good, "none?sslmode=disable"), "has no such database");
}

#[test]
fn mariadb_lets_in_or_not_as_the_test_says() {
    let (store, folder, port) = (TestStore::new(), folder_of("mysql"), free_port());
    let data = format!("--datadir={}/data", folder.path().display());
    let socket = folder.path().join("socket").display().to_string();
    let mut install = as_user("mysql");
    install.arg(tool("mariadb-install-db")).args(["--no-defaults", "--skip-test-db", &data]);
    stdout_of(&install.arg("--auth-root-authentication-method=normal").output().unwrap());
    let sql = |sql: &str| {
        let mut command = std::process::Command::new(tool("mariadb"));
        command.args(["--no-defaults", "--user=root"]).arg(format!("--socket={socket}"));
        command.args(["--execute", sql]).output().unwrap()
    };
    let mut command = server_as("mysql", "mariadbd");
    command.args(["--no-defaults", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=8M", &data]);
    command.arg(format!("--port={port}")).arg(format!("--socket={socket}"));
    let _server =
        Server::start(&mut command, &folder.path().join("log")).when(|| sql("select 1").status.success());
    stdout_of(&sql(
        "create user app identified by 'hunter2/@'; create database shop; grant all on shop.* to app",
    ));
    let at = |password: &str, database: &str| format!("mysql://app:{password}@127.0.0.1:{port}/{database}");
    works(&store, &at("hunter2%2F%40", "shop"));
    works(&store, &at("hunter2%2F%40", ""));
    let escaped = socket.replace('/', "%2F");
    works(&store, &format!("mysql://app:hunter2%2F%40@localhost/shop?socket={escaped}"));
    fails(&store, &at("hunter2", "shop"), "does not let in with this user and password");
    fails(&store, &at("hunter2%2F%40", "mysql"), "but not to this database");
}

#[test]
fn redis_lets_in_or_not_as_the_test_says() {
    let (store, port) = (TestStore::new(), free_port());
    let mut command = server_as("redis", "redis-server");
    command.args([
        "--bind",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--save",
        "",
        "--requirepass",
        "hunter2",
    ]);
    command.args(["--user", "app", "on", ">hunter2app", "+ping", "+select", "--dir", "/"]);
    let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    let _server = Server::start(&mut command, &store.folder().join("log")).when(answers);
    works(&store, &format!("redis://:hunter2@127.0.0.1:{port}/3"));
    works(&store, &format!("redis://app:hunter2app@127.0.0.1:{port}"));
    fails(
        &store,
        &format!("redis://:hunter2-wrong@127.0.0.1:{port}"),
        "does not let in with this user and password",
    );
    fails(&store, &format!("redis://127.0.0.1:{port}"), "asks for a password");
    fails(&store, &format!("redis://:hunter2@127.0.0.1:{}", free_port()), "no connection to its server");
}
