//! curl logs in with a netrc file.

use serde_json::json;
use tempfile::TempDir;

use super::common::http::Guarded;
use super::common::programs::{self, Row};
use super::common::ready::{mount_ready, set_secrets};
use super::common::stdout_of;
use super::program;

#[test]
fn curl_logs_in_with_a_netrc_file() {
    let server = Guarded::start("app", "p@ss:w0rd#$1");
    let login = |password: &str| json!({"api": {"username": "app", "password": password}});
    let mounted = mount_ready("curl/netrc", &login("p@ss:w0rd#$1"));
    let home = TempDir::new().unwrap();
    let port = server.host.rsplit(':').next().unwrap();
    let status = || {
        let mut curl = program("curl", home.path());
        curl.args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--output", "/dev/null"]);
        curl.args(["--write-out", "%{http_code}", "--max-time", "10"]);
        curl.arg("--resolve").arg(format!("api.example.com:{port}:127.0.0.1"));
        curl.arg("--netrc-file").arg(mounted.path("netrc"));
        stdout_of(&curl.arg(format!("http://api.example.com:{port}/")).output().unwrap())
    };

    assert_eq!(status(), "200");
    server.know("app", "n3w");
    assert_eq!(status(), "401", "the old password");
    set_secrets(mounted.store(), &login("n3w"));
    assert_eq!(status(), "200");

    programs::row(Row {
        program: "curl",
        version: programs::version_of("curl", &["--version"]),
        read: "a netrc file",
        seen: "200 behind basic auth; 401 with the old password",
        reload: "read by each call",
    });
}
