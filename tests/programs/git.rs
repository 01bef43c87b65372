//! git logs in at its own HTTP backend with the credential store.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;
use tempfile::TempDir;

use super::common::http::{Guarded, Request, Response};
use super::common::programs::{self, Row};
use super::common::ready::{mount_text, ready_template, set_secrets};
use super::common::{Mounted, stdout_of};
use super::{program, refused};

const PASSWORD: &str = "p@ss:w0rd/ %#\"'\\é";

/// A user's git, told once to use the file of the mount.
struct Git {
    home: TempDir,
    helper: String,
}

impl Git {
    fn using(mounted: &Mounted) -> Self {
        let helper = format!("credential.helper=store --file {}", mounted.path("credentials").display());
        Self { home: TempDir::new().unwrap(), helper }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut git = program("git", self.home.path());
        git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("no_proxy", "*");
        git.args(["-c", &self.helper]).args(arguments);
        git
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

/// A bare repository with one commit.
fn repository(folder: &Path) -> PathBuf {
    let git = |arguments: &[&str]| {
        let mut git = program("git", folder);
        git.args(["-c", "user.name=test", "-c", "user.email=test@localhost"]).args(arguments);
        stdout_of(&git.output().unwrap());
    };
    git(&["init", "--quiet", "work"]);
    fs::write(folder.join("work/hello"), "hello from the server\n").unwrap();
    git(&["-C", "work", "add", "hello"]);
    git(&["-C", "work", "commit", "--quiet", "--message", "one"]);
    git(&["clone", "--quiet", "--bare", "work", "project.git"]);
    folder.to_owned()
}

/// git's own server side, which answers by the rules of CGI.
fn backend(projects: &Path, request: &Request) -> Response {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut git = program("git", projects);
    git.arg("http-backend").env("GIT_PROJECT_ROOT", projects).env("GIT_HTTP_EXPORT_ALL", "1");
    git.env("PATH_INFO", path).env("QUERY_STRING", query).env("REQUEST_METHOD", &request.method);
    git.env("CONTENT_TYPE", request.header("content-type").unwrap_or_default());
    git.env("HTTP_CONTENT_ENCODING", request.header("content-encoding").unwrap_or_default());
    git.env("GIT_PROTOCOL", request.header("git-protocol").unwrap_or_default());
    git.env("CONTENT_LENGTH", request.body.len().to_string());
    let mut child = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&request.body).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("a CGI head");
    let head = String::from_utf8_lossy(&output[..end]);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")?.get(..3)?.parse().ok());
    let lines = head.lines().filter(|line| !line.starts_with("Status: "));
    lines.fold(Response::new(status.unwrap_or(200), &output[end + 4..]), Response::header)
}

#[test]
fn git_logs_in_with_the_credential_store() {
    let projects = TempDir::new().unwrap();
    let root = repository(projects.path());
    let server = Guarded::before("deploy", PASSWORD, move |request| backend(&root, request));
    let text = ready_template("git/credentials").replace("https://<<", "http://<<");
    let text = text.replace("git.example.com", &server.host);
    let login = |password: &str| json!({"git": {"username": "deploy", "password": password}});
    let mounted = mount_text("git/credentials", &text, &login(PASSWORD));
    let git = Git::using(&mounted);
    let url = format!("{}project.git", server.url());

    let listed = git.run(&["ls-remote", &url, "HEAD"]);
    assert!(stdout_of(&listed).ends_with("\tHEAD\n"));
    stdout_of(&git.run(&["clone", &url, "copy"]));
    let copy = git.home.path().join("copy");
    assert_eq!(fs::read_to_string(copy.join("hello")).unwrap(), "hello from the server\n");

    // The server no longer takes the old password; git would even like to forget it.
    server.know("deploy", "n3w/p@ss");
    refused(&git.run(&["-C", "copy", "fetch"]), "Authentication failed");
    set_secrets(mounted.store(), &login("n3w/p@ss"));
    stdout_of(&git.run(&["-C", "copy", "fetch"]));

    it_cannot_write_and_goes_on(&git, &mounted);
    programs::row(Row {
        program: "git",
        version: programs::version_of("git", &["--version"]),
        read: "a credential store",
        seen: "`ls-remote`, `clone` and `fetch` from git's own HTTP backend behind basic auth; refused with the old \
               password; `credential approve` gets EROFS and git goes on",
        reload: "read by each fetch or push",
    });
}

/// What git would save or forget: it says that it cannot, and neither fails nor changes anything.
fn it_cannot_write_and_goes_on(git: &Git, mounted: &Mounted) {
    let before = mounted.read("credentials");
    for action in ["approve", "reject"] {
        let mut command = git.command(&["credential", action]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let login =
            format!("url={}\nusername=deploy\npassword=x\n\n", before.trim().replace("deploy", "other"));
        child.stdin.take().unwrap().write_all(login.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{action}: {stderr}");
        assert!(stderr.contains("Read-only file system"), "{action}: {stderr}");
    }
    assert_eq!(mounted.read("credentials"), before);
}
