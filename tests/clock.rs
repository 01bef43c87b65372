//! A clock that is set while the daemon runs: how long an answer is good goes by another one. The clock of this
//! process tree alone is moved, by libfaketime; that of the machine is left alone.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::http::get_unix;
use common::{Daemon, TestDaemon, eventually};

const LIBRARY: &str = "/usr/lib/*/faketime/libfaketime.so.1";

fn daemon() -> Daemon {
    let library = glob(LIBRARY);
    let daemon = TestDaemon::new();
    let folder = daemon.folder().to_owned();
    fs::write(folder.join("step"), "+0").unwrap();
    fs::write(folder.join("value"), "v1\n").unwrap();
    let program = folder.join("program");
    fs::write(&program, format!("#!/bin/sh\ncd {}\necho x >>runs-$1\ncat value\n", folder.display()))
        .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let provider = |name: &str, ttl: &str| {
        format!("  {name}: {{type: exec, command: [./program, {name}], cache: {{ttl: {ttl}}}}}\n")
    };
    let config = format!(
        "providers:\n{}{}mounts: [{{at: mnt, templates: templates}}]\n",
        provider("long", "1h"),
        provider("short", "1s")
    );
    let daemon = daemon
        .template("long.tpl", "<< secret('long:a') >>")
        .template("short.tpl", "<< secret('short:a') >>");
    daemon
        .env("LD_PRELOAD", &library)
        .env("FAKETIME_TIMESTAMP_FILE", folder.join("step").to_str().unwrap())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .config(&config)
        .start()
}

/// The file that is meant; its folder has the name of the machine.
fn glob(pattern: &str) -> String {
    let (above, below) = pattern.split_once("/*/").unwrap();
    let folders = fs::read_dir(above).unwrap().map(|entry| entry.unwrap().path());
    let found = folders.map(|folder| folder.join(below)).find(|path| path.exists());
    found.expect("libfaketime: ./tests/run installs it").to_str().unwrap().to_owned()
}

fn runs(daemon: &Daemon, name: &str) -> usize {
    fs::read_to_string(daemon.folder().join(format!("runs-{name}"))).unwrap().lines().count()
}

#[test]
fn a_clock_that_is_set_makes_no_answer_older_or_younger() {
    let daemon = daemon();
    assert_eq!((daemon.read("long"), daemon.read("short")), ("v1".to_owned(), "v1".to_owned()));
    assert_eq!(runs(&daemon, "long"), 1);
    for (number, (step, value)) in [("+3650d", "v2"), ("-1d", "v3")].into_iter().enumerate() {
        fs::write(daemon.folder().join("step"), step).unwrap();
        daemon.await_log("clock_jump", number + 1);
        fs::write(daemon.folder().join("value"), value).unwrap();
        eventually("a second is a second", || (daemon.read("short") == value).then_some(()));
        assert_eq!((daemon.read("long"), runs(&daemon, "long")), ("v1".to_owned(), 1), "{step}");
    }
    let metrics = get_unix(&daemon.folder().join("run/control.sock"), "/metrics");
    assert!(metrics.contains("secretfs_clock_jump_total 2"), "{metrics}");
}
