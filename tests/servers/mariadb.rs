//! mariadb: the client's option file, and a server to log in to.

use std::os::unix::fs::chown;
use std::process::{Command, Output};

use serde_json::json;
use tempfile::TempDir;

use crate::common::programs::{self, Row, version_of};
use crate::common::{Mounted, stdout_of, tool};
use crate::server::{Server, as_user, free_port, server_as};
use crate::{WILD, mount_of, set_secrets};

struct Database {
    folder: TempDir,
    port: u16,
    _server: Option<Server>,
}

impl Database {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let user = nix::unistd::User::from_name("mysql").unwrap().expect("its package makes this user");
        chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        let data = format!("--datadir={}/data", folder.path().display());
        let mut install = as_user("mysql");
        install.arg(tool("mariadb-install-db")).args(["--no-defaults", "--skip-test-db", &data]);
        stdout_of(&install.arg("--auth-root-authentication-method=normal").output().unwrap());
        let mut database = Self { folder, port: free_port(), _server: None };
        let mut command = server_as("mysql", "mariadbd");
        command.args(["--no-defaults", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=8M", &data]);
        command.arg(format!("--port={}", database.port)).arg(format!("--socket={}", database.socket()));
        let server = Server::start(&mut command, &database.folder.path().join("log"));
        database._server = Some(server.when(|| database.as_admin("select 1").status.success()));
        stdout_of(&database.as_admin("create user app"));
        database
    }

    fn socket(&self) -> String {
        self.folder.path().join("socket").display().to_string()
    }

    fn as_admin(&self, sql: &str) -> Output {
        let mut command = Command::new(tool("mariadb"));
        command.args(["--no-defaults", "--user=root", "--default-character-set=utf8mb4"]);
        command.arg(format!("--socket={}", self.socket())).args(["--execute", sql]).output().unwrap()
    }

    fn set_password(&self, password: &str) {
        let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
        stdout_of(&self.as_admin(&format!("set password for app = password('{quoted}')")));
    }

    fn log_in(&self, mounted: &Mounted) -> Output {
        let mut command = Command::new(tool("mariadb"));
        command.arg(format!("--defaults-file={}", mounted.path("my.cnf").display()));
        command.args(["--protocol=tcp", "--host=127.0.0.1", "--skip-column-names", "--batch"]);
        command.arg(format!("--port={}", self.port)).args(["--execute", "select current_user()"]);
        command.output().unwrap()
    }
}

#[test]
fn mariadb_logs_in_with_an_option_file_of_the_mount() {
    let mounted =
        mount_of(&[("mariadb/my.cnf", "{}")], &json!({"db": {"username": "app", "password": WILD}}));
    let database = Database::start();
    database.set_password(WILD);
    assert_eq!(stdout_of(&database.log_in(&mounted)), "app@%\n");

    for password in
        ["n3w", "\"", "\\", "\\n", "a\nb", "'x'", "#x", "a#b", " x ", "$(x)`;", "[client]", "a\\", "é☃"]
    {
        database.set_password(password);
        let output = database.log_in(&mounted);
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("Access denied"),
            "{password:?}: {output:?}"
        );
        set_secrets(mounted.store(), &json!({"db": {"username": "app", "password": password}}));
        assert_eq!(stdout_of(&database.log_in(&mounted)), "app@%\n", "{password:?}");
    }

    programs::row(Row {
        program: "mariadb",
        version: version_of("mariadbd", &["--version"]),
        read: "the client's option file with the login",
        seen: "logs in with awkward passwords; refused after SET PASSWORD until the secret is set",
        reload: "the next command",
    });
}
