//! Programs in six languages read a JSON config of the mount by their usual calls and log in with
//! it; one process, before and after a rotation. Mappings by the languages' usual wrappers keep
//! what they mapped.

#[path = "../common/mod.rs"]
mod common;
mod dotenv;

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use common::http::Guarded;
use common::programs::{self, Row};
use common::ready::{mount_ready, set_secrets};
use common::{Mounted, library, python, stdout_of, tool};
use memmap2::Mmap;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Whatever a password may be.
const WILD: &str = "it's \"$HOME\" `id` \\n #{}\n\t<%= 1 %> é\u{1f511}";
const NEXT: &str = "the next one";

const READ: &str = "a JSON config";
const READ_AND_MAPPED: &str = "a JSON config, also mapped (MAP_SHARED)";
const SEEN: &str = "logs in at an HTTP server: 200; 401 with the old password";
const SEEN_AND_MAPPED: &str =
    "logs in at an HTTP server: 200; 401 with the old password; an open mapping keeps its bytes";
const RELOAD: &str = "at its next read";

fn secrets(password: &str) -> Value {
    json!({"db": {"username": "app", "password": password}, "api_key": "k"})
}

/// A program that does one thing for each line on its stdin, and says a line.
struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    /// For a minute at most.
    fn start(client: &Command, config: &Path, url: &str) -> Self {
        let mut command = Command::new(tool("timeout"));
        command.arg("60").arg(client.get_program()).args(client.get_args()).arg(config).arg(url);
        command.env("no_proxy", "*").env_remove("http_proxy").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, stdin, lines }
    }

    #[track_caller]
    fn ask(&mut self, what: &str) -> String {
        writeln!(self.stdin.as_mut().expect("piped"), "{what}").expect("it reads");
        self.lines.next().expect("it says a line; its stderr says more").expect("UTF-8")
    }

    /// The bytes of a mapping.
    #[track_caller]
    fn mapped(&mut self, index: &str) -> String {
        let hex = self.ask(&format!("bytes {index}"));
        let bytes =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
        String::from_utf8(bytes.collect()).expect("UTF-8")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // They end with their stdin.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

fn mount() -> Mounted {
    mount_ready("json/config.json", &secrets(WILD))
}

/// Logs in; is refused when the server has the next password and the store has not; logs in again.
fn logs_in(command: &Command) {
    let server = Guarded::start("app", WILD);
    let mounted = mount();
    let mut client = Client::start(command, &mounted.path("config.json"), &server.url());
    assert_eq!(client.ask("login"), "200");
    server.know("app", NEXT);
    assert_eq!(client.ask("login"), "401", "the old password");
    set_secrets(mounted.store(), &secrets(NEXT));
    assert_eq!(client.ask("login"), "200");
}

/// A mapping keeps its bytes across a rotation, read before or not; a new one has the new.
fn maps(command: &Command) {
    let mounted = mount();
    let mut client = Client::start(command, &mounted.path("config.json"), "http://127.0.0.1:1/");
    let old = mounted.read("config.json");
    let (read, unread) = (client.ask("map"), client.ask("map"));
    assert_eq!(client.mapped(&read), old);
    set_secrets(
        mounted.store(),
        &secrets("another one, and a longer one, so that the file's size is another"),
    );
    let new = mounted.read("config.json");
    assert_ne!(new, old);
    let next = client.ask("map");
    assert_eq!(client.mapped(&next), new);
    assert_eq!(client.mapped(&read), old);
    assert_eq!(client.mapped(&unread), old, "its first page is asked for after the rotation");
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/languages").join(file)
}

fn script(interpreter: &str, file: &str) -> Command {
    let mut command = Command::new(tool(interpreter));
    command.arg(source(file));
    command
}

#[test]
fn python_logs_in_and_maps() {
    let mut client = Command::new(python());
    client.arg(source("client.py"));
    logs_in(&client);
    maps(&client);
    programs::row(Row {
        program: "python",
        version: programs::version_of("python3", &["--version"]),
        read: READ_AND_MAPPED,
        seen: SEEN_AND_MAPPED,
        reload: RELOAD,
    });
}

#[test]
fn node_logs_in() {
    logs_in(&script("node", "client.js"));
    programs::row(Row { program: "node", version: node_version(), read: READ, seen: SEEN, reload: RELOAD });
}

/// It calls itself `v20.20.2`.
fn node_version() -> String {
    programs::version_of("node", &["-p", "process.versions.node"])
}

#[test]
fn ruby_logs_in() {
    logs_in(&script("ruby", "client.rb"));
    programs::row(Row {
        program: "ruby",
        version: programs::version_of("ruby", &["--version"]),
        read: READ,
        seen: SEEN,
        reload: RELOAD,
    });
}

#[test]
fn php_logs_in() {
    logs_in(&script("php", "client.php"));
    programs::row(Row {
        program: "php",
        version: programs::version_of("php", &["--version"]),
        read: READ,
        seen: SEEN,
        reload: RELOAD,
    });
}

#[test]
fn java_logs_in_and_maps() {
    let gson = library("/usr/share/java/gson.jar");
    let mut client = Command::new(tool("java"));
    // Ready sooner; it does little.
    client.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]).arg(gson).arg(source("Client.java"));
    logs_in(&client);
    maps(&client);
    programs::row(Row {
        program: "java",
        version: programs::version_of("java", &["--version"]),
        read: READ_AND_MAPPED,
        seen: SEEN_AND_MAPPED,
        reload: RELOAD,
    });
}

#[test]
fn go_logs_in_and_maps() {
    let folder = TempDir::new().unwrap();
    let binary = folder.path().join("client");
    let mut build = Command::new(tool("go"));
    // The standard library alone: nothing is fetched.
    build.env("GOTOOLCHAIN", "local").env("GOPROXY", "off").current_dir(folder.path());
    stdout_of(&build.args(["build", "-o"]).arg(&binary).arg(source("client.go")).output().unwrap());
    let client = Command::new(&binary);
    logs_in(&client);
    maps(&client);
    let version = Command::new(tool("go")).args(["env", "GOVERSION"]).output().unwrap();
    programs::row(Row {
        program: "go",
        version: stdout_of(&version).trim_start_matches("go").to_owned(),
        read: READ_AND_MAPPED,
        seen: SEEN_AND_MAPPED,
        reload: RELOAD,
    });
}

#[test]
fn rust_maps() {
    let mounted = mount();
    let map = || {
        let file = std::fs::File::open(mounted.path("config.json")).unwrap();
        // SAFETY: what the mapping shows never changes; that is what is tested.
        unsafe { Mmap::map(&file) }.unwrap()
    };
    let old = mounted.read("config.json");
    let (read, unread) = (map(), map());
    assert_eq!(&read[..], old.as_bytes());
    set_secrets(mounted.store(), &secrets(NEXT));
    let new = mounted.read("config.json");
    assert_ne!(new, old);
    assert_eq!(&map()[..], new.as_bytes());
    assert_eq!([&read[..], &unread[..]], [old.as_bytes(); 2]);
    programs::row(Row {
        program: "rust",
        version: programs::version_of("rustc", &["--version"]),
        read: "a JSON config, mapped (memmap2)",
        seen: "an open mapping keeps its bytes, a new one has the new",
        reload: RELOAD,
    });
}
