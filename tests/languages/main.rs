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
use common::{Mounted, SharedNode, go, library, python, stdout_of, tool};
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

const JSON: &str = "json/config.json";
const YAML: &str = "yaml/application.yaml";

/// A mount of a ready template, and its file there.
fn mount(config: &str) -> (Mounted, PathBuf) {
    let mounted = mount_ready(config, &secrets(WILD));
    let file = mounted.path(config.rsplit('/').next().expect("a file"));
    (mounted, file)
}

/// Logs in; is refused when the server has the next password and the store has not; logs in again.
fn logs_in(command: &Command, config: &str) {
    let server = Guarded::start("app", WILD);
    let (mounted, file) = mount(config);
    let mut client = Client::start(command, &file, &server.url());
    assert_eq!(client.ask("login"), "200");
    server.know("app", NEXT);
    assert_eq!(client.ask("login"), "401", "the old password");
    set_secrets(mounted.store(), &secrets(NEXT));
    assert_eq!(client.ask("login"), "200");
}

/// A mapping keeps its bytes across a rotation, read before or not; a new one has the new.
fn maps(command: &Command) {
    let (mounted, file) = mount(JSON);
    let read = || std::fs::read_to_string(&file).unwrap();
    let old = read();
    let longer = "another one, and a longer one, so that the file's size is another";
    let mappings = mappings(command, &file, || set_secrets(mounted.store(), &secrets(longer)));
    let new = read();
    assert_ne!(new, old);
    assert_eq!(mappings, [old.clone(), old, new]);
}

/// What is seen after a rotation: in a mapping that was read before it, in one whose first page is
/// asked for after it, and in one that is made after it.
fn mappings(command: &Command, file: &Path, rotate: impl FnOnce()) -> [String; 3] {
    let mut client = Client::start(command, file, "http://127.0.0.1:1/");
    let [read, unread] = [client.ask("map"), client.ask("map")];
    client.mapped(&read);
    rotate();
    let next = client.ask("map");
    [read, unread, next].map(|index| client.mapped(&index))
}

/// The control: with one node for all snapshots the new mapping has the old bytes.
#[test]
fn a_shared_node_fails_to_map() {
    let control = SharedNode::start("serve_a_shared_node");
    let place = control.file().parent().unwrap().with_extension("content");
    std::fs::write(&place, "old").unwrap();
    let rotate = || std::fs::write(&place, "new").unwrap();
    let mappings = mappings(&python_client(), &control.file(), rotate);
    std::fs::remove_file(&place).unwrap();
    assert_eq!(mappings, ["old", "old", "old"]);
}

#[test]
#[ignore = "the control of `a_shared_node_fails_to_map`, which runs it in a process of its own"]
fn serve_a_shared_node() {
    common::serve(Box::new(|_| {
        let place = std::env::var("SECRETFS_TEST_CONTROL").expect("its place");
        std::fs::read(Path::new(&place).with_extension("content")).unwrap_or_default()
    }));
}

fn python_client() -> Command {
    let mut client = Command::new(python());
    client.arg(source("client.py"));
    client
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
    let client = python_client();
    logs_in(&client, JSON);
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
    logs_in(&script("node", "client.js"), JSON);
    programs::row(Row { program: "node", version: node_version(), read: READ, seen: SEEN, reload: RELOAD });
}

/// It calls itself `v20.20.2`.
fn node_version() -> String {
    programs::version_of("node", &["-p", "process.versions.node"])
}

#[test]
fn ruby_logs_in() {
    logs_in(&script("ruby", "client.rb"), JSON);
    logs_in(&script("ruby", "client.rb"), YAML);
    programs::row(Row {
        program: "ruby",
        version: programs::version_of("ruby", &["--version"]),
        read: "a JSON config, a YAML config",
        seen: SEEN,
        reload: RELOAD,
    });
}

#[test]
fn php_logs_in() {
    logs_in(&script("php", "client.php"), JSON);
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
    logs_in(&client, JSON);
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
    let mut build = Command::new(go());
    // The standard library alone: nothing is fetched.
    build.env("GOTOOLCHAIN", "local").env("GOPROXY", "off").current_dir(folder.path());
    stdout_of(&build.args(["build", "-o"]).arg(&binary).arg(source("client.go")).output().unwrap());
    let client = Command::new(&binary);
    logs_in(&client, JSON);
    maps(&client);
    let version = Command::new(go()).args(["env", "GOVERSION"]).output().unwrap();
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
    let (mounted, config) = mount(JSON);
    let map = || {
        let file = std::fs::File::open(&config).unwrap();
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
