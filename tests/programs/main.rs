//! Unmodified clients read the ready templates of `templates/` from the mount and use the secret in
//! them: they log in, sign, decrypt. After a rotation the old secret is refused and the new one works.

mod backup;
#[path = "../common/mod.rs"]
mod common;
mod curl;
mod docker;
mod git;
mod gpg;
mod openssl;
mod shell;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::tool;

/// A program in a folder that is its home, with no terminal and nothing of ours in its environment.
fn program(name: &str, home: &Path) -> Command {
    let mut command = Command::new(tool(name));
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
    command.env("HOME", home).current_dir(home).stdin(Stdio::null());
    command
}

/// A command that must fail and say this.
#[track_caller]
fn refused(output: &Output, says: &str) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(!output.status.success(), "it should have failed: {text}");
    assert!(text.contains(says), "no `{says}` in: {text}");
}
