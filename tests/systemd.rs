//! `systemd/secretfs-mount@.service` under a real systemd as PID 1 of its own namespaces: other
//! units read its files as their users, PID 1 reads one itself, and stopping leaves nothing.

mod common;

use std::fs;
use std::process::Command;

use common::{Machine, tool};

const UNIT: &str = include_str!("../systemd/secretfs-mount@.service");

/// The machine itself: units run, as their users, and a failing script is seen as one.
#[test]
fn the_machine_runs_units_and_tells_success_from_failure() {
    let machine = Machine::new().reader("whoami", "app", "id -un");
    machine.boot("systemctl start whoami.service\necho done").expect_success();
    assert_eq!(machine.output_of("whoami"), "app\n");
    let failed = Machine::new().reader("fails", "app", "exit 3");
    assert!(!failed.boot("systemctl start fails.service\necho done").succeeded);
    assert!(!Machine::new().boot("fails true").succeeded);
}

/// Lower is better; without any hardening it is 9.6.
#[test]
fn the_unit_stays_hardened() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/secretfs-mount@.service");
    let score = |file: &str| {
        let mut command = Command::new(tool("systemd-analyze"));
        command.args(["security", "--offline=true", "--no-pager", "--threshold=29", file]);
        command.output().expect("systemd-analyze can be started")
    };
    let output = score(unit);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bare = folder.path().join("bare@.service");
    let exec_start = UNIT.lines().find(|line| line.starts_with("ExecStart=")).expect("a command");
    fs::write(&bare, format!("[Service]\n{exec_start}\n")).expect("a file");
    assert!(!score(bare.to_str().expect("UTF-8")).status.success(), "the threshold refuses nothing");
}
