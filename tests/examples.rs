//! Every `examples/NAME/run` runs as it stands in a clean checkout, prints what `examples/NAME/output`
//! has (`SECRETFS_BLESS=1` rewrites it), and leaves nothing behind.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

use common::{stdout_of, tool};
use tempfile::TempDir;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
/// Their README is a walk-through, which `tests/readme.rs` runs.
const WALKED: &[&str] = &["quickstart"];

fn names() -> Vec<String> {
    let entries = fs::read_dir(EXAMPLES).unwrap().map(|entry| entry.unwrap());
    // A program beside them is tried by the tests of what it is for.
    let entries = entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_example_runs_as_it_stands() {
    let runnable: Vec<_> = names().into_iter().filter(|name| !WALKED.contains(&name.as_str())).collect();
    assert!(!runnable.is_empty());
    for name in &runnable {
        let checkout = Checkout::of(Path::new(EXAMPLES));
        let before = checkout.files();
        let output = checkout.run(name);
        let printed = stdout_of(&output);
        assert!(output.stderr.is_empty(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let kept = Path::new(EXAMPLES).join(name).join("output");
        if env::var_os("SECRETFS_BLESS").is_some() {
            fs::write(&kept, &printed).unwrap();
        }
        let kept = fs::read_to_string(&kept).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
        assert_eq!(printed, kept, "{name} prints something else than its file `output`");
        assert_eq!(checkout.files(), before, "{name} leaves something behind, or takes it away");
    }
}

/// The control: an example that fails is seen to.
#[test]
fn a_failing_example_is_noticed() {
    let examples = TempDir::new().unwrap();
    fs::create_dir(examples.path().join("broken")).unwrap();
    let run = examples.path().join("broken/run");
    fs::write(&run, "#!/bin/sh\ncd \"$(dirname \"$0\")\" && secretfs --version >left && exit 7\n").unwrap();
    stdout_of(&Command::new("chmod").arg("+x").arg(&run).output().unwrap());
    let checkout = Checkout::of(examples.path());
    let before = checkout.files();
    assert_eq!(checkout.run("broken").status.code(), Some(7));
    assert_ne!(checkout.files(), before);
}

/// A copy of the examples, as a clone has them.
struct Checkout(TempDir);

impl Checkout {
    fn of(examples: &Path) -> Self {
        let checkout = TempDir::with_prefix("secretfs-examples-").unwrap();
        let mut copy = Command::new("cp");
        stdout_of(&copy.arg("-r").arg(examples).arg(checkout.path().join("examples")).output().unwrap());
        Self(checkout)
    }

    fn run(&self, name: &str) -> Output {
        let binary = Path::new(env!("CARGO_BIN_EXE_secretfs")).parent().unwrap().to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(binary).chain(env::split_paths(&path));
        // Bounded, should an example wait for something that never comes.
        let mut command = Command::new(tool("timeout"));
        command.args(["--kill-after=5", "60"]).arg(self.0.path().join("examples").join(name).join("run"));
        command.env_clear().env("PATH", env::join_paths(folders).unwrap());
        command.env("HOME", self.0.path()).env("LC_ALL", "C.UTF-8").current_dir("/").stdin(Stdio::null());
        command.output().expect("it can be started")
    }

    fn files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path);
            }
        }
        found
    }
}
