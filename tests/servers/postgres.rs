//! postgres: TLS pair with the checks of the key's mode; psql: `.pgpass`.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use crate::certificate::Certificate;
use crate::common::programs::{self, Row, version_of};
use crate::common::{Mounted, stdout_of, tool};
use crate::server::{Server, as_user, eventually, free_port, server_as};
use crate::{WILD, mount_of, set_secrets};

const FILES: &[(&str, &str)] = &[
    ("postgres/server.crt", "{owner: postgres}"),
    ("postgres/server.key", "{owner: postgres}"),
    ("postgres/pgpass", "{}"),
    ("group.key", "{template: templates/server.key.tpl, owner: root, group: postgres, mode: \"0440\"}"),
    ("open.key", "{template: templates/server.key.tpl, owner: postgres, mode: \"0444\"}"),
    ("open_pgpass", "{template: templates/pgpass.tpl, mode: \"0444\"}"),
];

/// A cluster of its own, in which `app` may log in with TLS and a password only.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    port: u16,
}

impl Cluster {
    pub(crate) fn make(mounted: &Mounted) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let user = nix::unistd::User::from_name("postgres").unwrap().expect("its package makes this user");
        chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        let cluster = Self { folder, port: free_port() };
        let mut init = as_user("postgres");
        init.arg(tool("initdb")).args(["--no-sync", "--no-instructions", "--auth", "trust", "-D"]);
        stdout_of(&init.arg(cluster.data()).output().unwrap());
        let rules = "local all postgres trust\nhostssl all app 127.0.0.1/32 scram-sha-256\n";
        fs::write(cluster.data().join("pg_hba.conf"), rules).unwrap();
        cluster.use_key(mounted, "server.key");
        cluster
    }

    fn use_key(&self, mounted: &Mounted, key: &str) {
        let (mnt, sockets) = (mounted.point(), self.folder.path().display());
        let config = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{sockets}'\nfsync = off\n\
             ssl = on\nssl_cert_file = '{mnt}/server.crt'\nssl_key_file = '{mnt}/{key}'\n",
            self.port,
            mnt = mnt.display()
        );
        fs::write(self.data().join("postgresql.conf"), config).unwrap();
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn server(&self) -> Command {
        let mut command = server_as("postgres", "postgres");
        command.arg("-D").arg(self.data());
        command
    }

    pub(crate) fn start(&self) -> Server {
        let log = self.folder.path().join("log");
        Server::start(&mut self.server(), &log).when(|| self.as_admin("select 1").status.success())
    }

    fn reload(&self) {
        let mut command = as_user("postgres");
        command.arg(tool("pg_ctl")).arg("reload").arg("-D").arg(self.data());
        stdout_of(&command.output().unwrap());
    }

    /// It has done what it was told before.
    pub(crate) fn answers(&self) {
        stdout_of(&self.as_admin("select 1"));
    }

    fn as_admin(&self, sql: &str) -> Output {
        let mut psql = psql(sql);
        psql.arg(format!(
            "host={} port={} user=postgres dbname=postgres",
            self.folder.path().display(),
            self.port
        ));
        psql.output().unwrap()
    }

    fn set_password(&self, password: &str) {
        let quoted = password.replace('\'', "''");
        stdout_of(
            &self.as_admin(&format!(
                "set standard_conforming_strings = on; alter role app password '{quoted}'"
            )),
        );
    }

    /// By TLS, with whatever password the file holds; trusts one certificate.
    fn log_in(&self, pgpass: &Path, trusted: &Certificate) -> Output {
        let mut psql = psql("select current_user, ssl from pg_stat_ssl where pid = pg_backend_pid()");
        psql.env("PGPASSFILE", pgpass).env("PGSSLROOTCERT", &trusted.file).arg(format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=app dbname=postgres sslmode=verify-full",
            self.port
        ));
        psql.output().unwrap()
    }
}

fn psql(sql: &str) -> Command {
    let mut command = Command::new(tool("psql"));
    command.env("LC_ALL", "C.UTF-8").args(["--no-psqlrc", "--no-password", "--no-align", "--tuples-only"]);
    command.args(["--set", "ON_ERROR_STOP=1", "--command", sql]);
    command
}

#[track_caller]
fn refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(words), "{words}: {said}");
}

#[test]
fn postgres_serves_tls_and_psql_logs_in_with_files_of_the_mount() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| Certificate::make(folder.path(), name));
    let secrets = json!({"postgres_tls": old.fields(), "db": {"username": "app", "password": WILD}});
    let mounted = mount_of(FILES, &secrets);
    let cluster = Cluster::make(&mounted);
    let server = cluster.start();
    stdout_of(&cluster.as_admin("create role app login"));
    cluster.set_password(WILD);
    let log_in = |trusted: &Certificate| cluster.log_in(&mounted.path("pgpass"), trusted);
    assert_eq!(stdout_of(&log_in(&old)), "app|t\n");
    refused(&log_in(&new), "certificate verify failed");
    refused(&cluster.log_in(&mounted.path("open_pgpass"), &old), "has group or world access");

    cluster.set_password("n3w");
    refused(&log_in(&old), "password authentication failed");
    set_secrets(mounted.store(), &json!({"db": {"username": "app", "password": "n3w"}}));
    assert_eq!(stdout_of(&log_in(&old)), "app|t\n");

    set_secrets(mounted.store(), &json!({"postgres_tls": new.fields_with_key_of(&old)}));
    cluster.reload();
    eventually("halves of two pairs are refused", || server.said().contains("key values mismatch"));
    set_secrets(mounted.store(), &json!({"postgres_tls": new.fields()}));
    assert_eq!(stdout_of(&log_in(&old)), "app|t\n", "the key is read at start and reload only");
    cluster.reload();
    eventually("the new certificate is served", || log_in(&new).status.success());
    refused(&log_in(&old), "certificate verify failed");
    let (root, chain) = Certificate::chain(folder.path());
    set_secrets(mounted.store(), &json!({"postgres_tls": chain}));
    cluster.reload();
    eventually("the chain is sent along", || log_in(&root).status.success());
    drop(server);

    cluster.use_key(&mounted, "open.key");
    refused(&cluster.server().output().unwrap(), "has group or world access");
    cluster.use_key(&mounted, "group.key");
    let _server = cluster.start();
    assert_eq!(stdout_of(&log_in(&root)), "app|t\n");

    programs::row(Row {
        program: "postgres",
        version: version_of("postgres", &["--version"]),
        read: "TLS certificate and key (as postgres), under its check of the key's owner and mode",
        seen: "psql trusts the certificate and logs in by TLS; a key that others may read is refused",
        reload: "`pg_ctl reload`, for new connections",
    });
    programs::row(Row {
        program: "psql",
        version: version_of("psql", &["--version"]),
        read: "`.pgpass`, under libpq's check of its mode",
        seen: "a login with a password of awkward characters; refused after ALTER ROLE until the secret is set",
        reload: "the next connection",
    });
}

/// `:` and `\` are what a password file knows as special; the ready template escapes them.
#[test]
fn every_password_of_one_line_passes_through_pgpass() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::make(folder.path(), "server");
    let secrets = json!({"postgres_tls": certificate.fields(), "db": {"username": "app", "password": "x"}});
    let mounted = mount_of(FILES, &secrets);
    let cluster = Cluster::make(&mounted);
    let _server = cluster.start();
    stdout_of(&cluster.as_admin("create role app login"));
    for password in
        [":", "\\", "\\\\", "\\:", ":\\", "a:b:c", "a\\", "#x", " x ", "*", "\t", "'\"$(x)`", "é☃"]
    {
        cluster.set_password(password);
        set_secrets(mounted.store(), &json!({"db": {"username": "app", "password": password}}));
        assert_eq!(
            stdout_of(&cluster.log_in(&mounted.path("pgpass"), &certificate)),
            "app|t\n",
            "{password:?}"
        );
    }
}
