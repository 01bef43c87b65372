//! The real readers of what we write, each run once over many files.

#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::common::{self, node_modules, python, tool, tools};

pub struct Consumer {
    pub name: &'static str,
    how: How,
}

#[derive(Clone, Copy)]
enum How {
    /// A script here, with its argument.
    Python(&'static str, &'static str),
    Node(&'static str, &'static str),
    Ruby(&'static str),
    Java(&'static str),
    /// The reader's name in `go/main.go`.
    Go(&'static str),
    Jq,
    /// A crate.
    Rust(fn(&[u8]) -> Value),
}

/// What a reader said about each file: null if it rejected it; an env file's values are in Base64.
pub struct Answers {
    pub answers: Vec<Value>,
    /// Whether something in the files has run.
    pub has_run: bool,
}

const fn consumer(name: &'static str, how: How) -> Consumer {
    Consumer { name, how }
}

pub const PYTHON_DOTENV: Consumer = consumer("python-dotenv", How::Python("python_dotenv.py", ""));
pub const NODE_DOTENV: Consumer = consumer("node dotenv", How::Node("node_dotenv.js", ""));
pub const NODE_ENV_FILE: Consumer = consumer("node --env-file", How::Node("node_env_file.js", ""));
pub const RUBY_DOTENV: Consumer = consumer("ruby dotenv", How::Ruby("ruby_dotenv.rb"));
pub const DOTENVY: Consumer = consumer("dotenvy", How::Rust(dotenvy));
pub const GODOTENV: Consumer = consumer("godotenv", How::Go("godotenv"));
pub const COMPOSE: Consumer = consumer("compose-go", How::Go("compose"));
pub const DOCKER: Consumer = consumer("docker", How::Go("docker"));
pub const SYSTEMD: Consumer = consumer("systemd", How::Python("systemd.py", ""));
pub const BASH: Consumer = consumer("bash", How::Python("shell.py", "bash"));
pub const DASH: Consumer = consumer("dash", How::Python("shell.py", "dash"));
pub const ZSH: Consumer = consumer("zsh", How::Python("shell.py", "zsh"));
pub const LIBPQ: Consumer = consumer("libpq", How::Python("libpq.py", ""));
pub const CURL: Consumer = consumer("curl", How::Python("curl_netrc.py", "curl"));
pub const PYTHON_NETRC: Consumer = consumer("python netrc", How::Python("python_netrc.py", ""));
pub const PYTHON_JSON: Consumer = consumer("python json", How::Python("python_json.py", ""));
pub const PYTHON_INNER_JSON: Consumer = consumer("python json", How::Python("python_json.py", "inner"));
pub const JQ: Consumer = consumer("jq", How::Jq);

pub const PYYAML: Consumer = consumer("PyYAML", How::Python("python_yaml.py", "pyyaml"));
pub const LIBYAML: Consumer = consumer("libyaml", How::Python("python_yaml.py", "libyaml"));
pub const RUAMEL: Consumer = consumer("ruamel.yaml", How::Python("python_yaml.py", "ruamel"));
pub const JS_YAML: Consumer = consumer("js-yaml", How::Node("node_yaml.js", "js-yaml"));
pub const NPM_YAML: Consumer = consumer("yaml of npm", How::Node("node_yaml.js", "yaml"));
pub const SNAKE_YAML: Consumer = consumer("SnakeYAML", How::Java("SnakeYaml.java"));
pub const PSYCH: Consumer = consumer("psych", How::Ruby("ruby_yaml.rb"));
pub const GO_YAML: Consumer = consumer("go-yaml", How::Go("yaml.v3"));
pub const KUBERNETES: Consumer = consumer("yaml of Kubernetes", How::Go("sigs"));
pub const SERDE_YAML: Consumer =
    consumer("serde_yaml", How::Rust(|file| serde_yaml::from_slice(file).unwrap_or_default()));

impl Consumer {
    pub fn answers(&self, files: &[Vec<u8>]) -> Answers {
        match self.how {
            How::Rust(read) => {
                return Answers { answers: files.iter().map(|file| read(file)).collect(), has_run: false };
            }
            How::Jq => return Answers { answers: jq(files), has_run: false },
            _ => {}
        }
        let folder = tempfile::tempdir().unwrap();
        let input: Vec<String> = files.iter().map(|file| STANDARD.encode(file)).collect();
        let output = feed(self.command().current_dir(&folder), &serde_json::to_vec(&input).unwrap());
        let answers: Vec<Value> =
            serde_json::from_slice(&output).expect("the reader's script answers in JSON");
        assert_eq!(answers.len(), files.len(), "{}", self.name);
        Answers { answers, has_run: fs::read_dir(&folder).unwrap().next().is_some() }
    }

    fn command(&self) -> Command {
        let script = |program: PathBuf, file: &str| {
            let mut command = Command::new(program);
            command.arg(here().join(file));
            command
        };
        match self.how {
            How::Python(file, argument) => {
                let mut command = script(python(), file);
                command.args(Some(argument).filter(|argument| !argument.is_empty()).map(tool_path));
                command
            }
            How::Node(file, argument) => {
                let mut command = script(tool("node"), file);
                command.env("NODE_PATH", node_modules()).arg(argument);
                command
            }
            How::Ruby(file) => script(tool("ruby"), file),
            How::Java(file) => {
                let mut command = Command::new(tool("java"));
                command.arg("-cp").arg(tools("jars/*")).arg(here().join(file));
                command
            }
            How::Go(reader) => {
                let mut command = Command::new(go());
                command.arg(reader);
                command
            }
            How::Jq | How::Rust(_) => unreachable!("not by a script"),
        }
    }
}

/// A script's argument that is a program must be there.
fn tool_path(argument: &str) -> PathBuf {
    match argument {
        "bash" | "curl" | "dash" | "zsh" => tool(argument),
        other => other.into(),
    }
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consumers")
}

/// The readers in Go, built once for all test files: they run at the same time.
fn go() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let program = tools("go-consumers");
        let lock = File::create(tools("go-consumers.lock")).unwrap();
        lock.lock().unwrap();
        let mut build = Command::new(common::go());
        build.args(["build", "-trimpath", "-o"]).arg(&program).arg(".");
        let build = build.current_dir(here().join("go")).env("GOTOOLCHAIN", "local").output();
        let build = build.expect("go can be started");
        assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
        program
    })
}

fn dotenvy(file: &[u8]) -> Value {
    let found: Result<BTreeMap<String, String>, _> = dotenvy::from_read_iter(file).collect();
    found.map_or(Value::Null, |found| {
        found.into_iter().map(|(name, value)| (name, Value::from(STANDARD.encode(value)))).collect()
    })
}

/// jq reads a stream of documents and prints each on a line.
fn jq(documents: &[Vec<u8>]) -> Vec<Value> {
    let mut command = Command::new(tool("jq"));
    command.args(["-c", "."]);
    let output = feed(&mut command, &documents.join(&b"\n"[..]));
    let lines = output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("jq prints JSON")).collect()
}

fn feed(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the reader starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("the reader ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    writer.join().unwrap().expect("the reader reads everything");
    output.stdout
}
