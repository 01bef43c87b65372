//! The real readers of what we write, each run once over many files.

#![allow(unreachable_pub)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::common::{node_modules, python, tool};

/// What a reader found in an env file; `None` if it rejected the file.
pub type Variables = Option<BTreeMap<String, Vec<u8>>>;

pub struct Consumer {
    pub name: &'static str,
    command: fn() -> Command,
}

pub const PYTHON_DOTENV: Consumer =
    Consumer { name: "python-dotenv", command: || script(Command::new(python()), "python_dotenv.py") };
pub const NODE_DOTENV: Consumer = Consumer { name: "node dotenv", command: || node("node_dotenv.js") };
pub const NODE_ENV_FILE: Consumer =
    Consumer { name: "node --env-file", command: || node("node_env_file.js") };
pub const SYSTEMD: Consumer =
    Consumer { name: "systemd", command: || script(Command::new(tool("python3")), "systemd.py") };
pub const PYTHON_JSON: Consumer =
    Consumer { name: "python json", command: || script(Command::new(tool("python3")), "python_json.py") };

impl Consumer {
    pub fn variables(&self, files: &[Vec<u8>]) -> Vec<Variables> {
        let decode = |text: &Value| STANDARD.decode(text.as_str().expect("Base64")).expect("Base64");
        let read = |file: &Value| {
            let entries = file.as_object()?;
            Some(entries.iter().map(|(name, value)| (name.clone(), decode(value))).collect())
        };
        self.answers(files).iter().map(read).collect()
    }

    /// What the reader's script says about each file.
    pub fn answers(&self, files: &[Vec<u8>]) -> Vec<Value> {
        let input: Vec<String> = files.iter().map(|file| STANDARD.encode(file)).collect();
        let output = feed((self.command)(), &serde_json::to_vec(&input).unwrap());
        let answers: Vec<Value> =
            serde_json::from_slice(&output).expect("the reader's script answers in JSON");
        assert_eq!(answers.len(), files.len(), "{}", self.name);
        answers
    }
}

/// jq reads a stream of documents and prints each on a line.
pub fn jq(documents: &[Vec<u8>]) -> Vec<Value> {
    let mut command = Command::new(tool("jq"));
    command.args(["-c", "."]);
    let output = feed(command, &documents.join(&b"\n"[..]));
    let lines = output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("jq prints JSON")).collect()
}

fn node(file: &str) -> Command {
    let mut command = Command::new(tool("node"));
    command.env("NODE_PATH", node_modules());
    script(command, file)
}

fn script(mut command: Command, file: &str) -> Command {
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consumers").join(file));
    command
}

fn feed(mut command: Command, input: &[u8]) -> Vec<u8> {
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
