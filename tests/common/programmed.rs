//! A shell script as a provider, in front of a real mount.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Mounted, TestMount, stdout_of, tool};

/// A mount whose templates may name secrets of this shell script, as `p:PATH`.
pub struct Programmed {
    pub mount: TestMount,
    settings: String,
    mounts: &'static str,
    command: &'static str,
    policy: String,
}

impl Programmed {
    /// The script has the path in `$1`; it stands beside what it counts and is told.
    pub fn new(script: &str) -> Self {
        let mount = TestMount::new();
        let program = mount.folder().join("program");
        fs::write(&program, format!("#!/bin/sh\ncd {}\n{script}\n", mount.folder().display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            mount,
            settings: String::new(),
            mounts: "{at: mnt, templates: templates}",
            command: "./program",
            policy: "[]".to_owned(),
        }
    }

    /// More keys of the provider, as YAML.
    pub fn settings(mut self, yaml: &str) -> Self {
        self.settings = format!(", {yaml}");
        self
    }

    /// The program and its arguments, as YAML.
    pub fn command(mut self, yaml: &'static str) -> Self {
        self.command = yaml;
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.mount = self.mount.env(name, value);
        self
    }

    pub fn mounts(mut self, yaml: &'static str) -> Self {
        self.mounts = yaml;
        self
    }

    /// The rules on secrets, as YAML.
    pub fn policy(mut self, yaml: &str) -> Self {
        self.policy = yaml.to_owned();
        self
    }

    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.mount = self.mount.template(&format!("{name}.tpl"), text);
        self
    }

    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.mount = self.mount.secret(name, value);
        self
    }

    pub fn start(self) -> Mounted {
        let provider = format!("{{type: exec, command: [{}]{}}}", self.command, self.settings);
        let (policy, mounts) = (self.policy, self.mounts);
        let config = format!("providers: {{p: {provider}}}\nmounts: [{mounts}]\npolicy: {policy}\n");
        self.mount.config(&config).start()
    }
}

/// What `user.secretfs.NAME` says of a file.
pub fn attribute(mount: &Mounted, file: &str, name: &str) -> Option<String> {
    let mut ask = Command::new(tool("getfattr"));
    ask.args(["--absolute-names", "--only-values", "-n", &format!("user.secretfs.{name}")]);
    let said = ask.arg(mount.path(file)).output().unwrap();
    said.status.success().then(|| stdout_of(&said))
}

pub fn aside(mount: &Mounted, name: &str) -> PathBuf {
    mount.store().folder().join(name)
}

/// How often the program was started.
pub fn calls(mount: &Mounted) -> usize {
    fs::read_to_string(aside(mount, "calls")).map_or(0, |lines| lines.lines().count())
}

#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < patience, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
