//! bash, dash and zsh source an env file, and log in with what it sets.

use serde_json::json;
use tempfile::TempDir;

use super::common::http::Guarded;
use super::common::programs::{self, Row};
use super::common::ready::{mount_dialect, set_secrets};
use super::common::{stdout_of, tool};
use super::program;

const PASSWORD: &str = "it's \"$HOME\" `id` $(id) \\n #\n&& é";
/// What a script does that was written long before us.
const SCRIPT: &str = r#". "$1" && curl --disable --silent --noproxy '*' --max-time 10 --output /dev/null \
    --write-out '%{http_code}' --user "$DATABASE_USER:$DATABASE_PASSWORD" "$2""#;

/// Logs in, is refused after the server's own rotation, and logs in again.
fn sources_the_file(shell: &str) {
    tool("curl");
    let server = Guarded::start("app", PASSWORD);
    let login =
        |password: &str| json!({"db": {"username": "app", "password": password}, "api_key": PASSWORD});
    let mounted = mount_dialect("shell/app.env", "shell", &login(PASSWORD));
    let home = TempDir::new().unwrap();
    let status = || {
        let mut shell = program(shell, home.path());
        shell.args(["-c", SCRIPT, "script"]).arg(mounted.path("app.env")).arg(server.url());
        stdout_of(&shell.output().unwrap())
    };
    assert_eq!(status(), "200");
    server.know("app", "n3w");
    assert_eq!(status(), "401", "the old password");
    set_secrets(mounted.store(), &login("n3w"));
    assert_eq!(status(), "200");
}

const READ: &str = "variables, by `.`";
const SEEN: &str =
    "the values log in at an HTTP server: 200; 401 with the old password; nothing in a value runs";
const RELOAD: &str = "read by each `.`";

#[test]
fn bash_sources_an_env_file() {
    sources_the_file("bash");
    programs::row(Row {
        program: "bash",
        version: programs::version_of("bash", &["--version"]),
        read: READ,
        seen: SEEN,
        reload: RELOAD,
    });
}

#[test]
fn dash_sources_an_env_file() {
    sources_the_file("dash");
    programs::row(Row {
        program: "dash",
        // It does not tell by itself.
        version: programs::version_of("dpkg-query", &["--show", "dash"]),
        read: READ,
        seen: SEEN,
        reload: RELOAD,
    });
}

#[test]
fn zsh_sources_an_env_file() {
    sources_the_file("zsh");
    programs::row(Row {
        program: "zsh",
        version: programs::version_of("zsh", &["--version"]),
        read: READ,
        seen: SEEN,
        reload: RELOAD,
    });
}
