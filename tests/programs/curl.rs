//! curl logs in with a netrc file, and so does Python.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::common::http::Guarded;
use super::common::programs::{self, Row};
use super::common::ready::{mount_ready, set_secrets};
use super::common::{python, stdout_of};
use super::program;

fn login(password: &str) -> Value {
    json!({"api": {"username": "app", "password": password}})
}

#[test]
fn curl_logs_in_with_a_netrc_file() {
    let server = Guarded::start("app", "p@ss:w0rd#$1");
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

const PYTHON: &str = "import base64, netrc, sys, urllib.request
login, _, password = netrc.netrc(sys.argv[1]).authenticators('api.example.com')
pair = base64.b64encode(f'{login}:{password}'.encode()).decode()
request = urllib.request.Request(sys.argv[2], headers={'Authorization': 'Basic ' + pair})
try: print(urllib.request.urlopen(request).status)
except urllib.error.HTTPError as error: print(error.code)";

#[test]
fn python_logs_in_with_a_netrc_file() {
    let server = Guarded::start("app", "p@ss:w0rd#$1");
    let mounted = mount_ready("curl/netrc", &login("p@ss:w0rd#$1"));
    let status = || {
        let mut command = Command::new(python());
        command.env("no_proxy", "*").args(["-c", PYTHON]).arg(mounted.path("netrc")).arg(server.url());
        stdout_of(&command.output().unwrap())
    };

    assert_eq!(status(), "200\n");
    server.know("app", "n3w");
    assert_eq!(status(), "401\n", "the old password");
    set_secrets(mounted.store(), &login("n3w"));
    assert_eq!(status(), "200\n");

    programs::row(Row {
        program: "python netrc",
        version: programs::version_of("python3", &["--version"]),
        read: "a netrc file",
        seen: "200 behind basic auth; 401 with the old password",
        reload: "read by each `netrc.netrc()`",
    });
}
