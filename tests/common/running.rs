//! A command under `exec` that does what a test tells it, one line after the other.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};

use super::TestStore;

/// A command that says `ready` and waits for a line; meanwhile one may look from outside.
pub struct Running {
    pub child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(store: &TestStore, options: &[&str]) -> Self {
        Self::start_with(store, options, None)
    }

    pub fn start_with(store: &TestStore, options: &[&str], env: Option<(&str, &str)>) -> Self {
        let script = "while echo ready $$; read line; do $line; done";
        let words = [&["exec"], options, &["--", "/bin/sh", "-c", script]].concat();
        let mut command = store.command(&words);
        let mut child = command.envs(env).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// What it says up to `ready`, and the pid that it names there.
    pub fn say(&mut self) -> (String, u32) {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "it ended: {said}");
            match line.strip_prefix("ready ") {
                Some(pid) => return (said, pid.trim().parse().unwrap()),
                None => said += &line,
            }
        }
    }

    pub fn ask(&mut self, command: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
        self.say().0
    }

    pub fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}
