//! Every way to fail, with a value that nobody else has, and a log that tells everything: the value is
//! in no message, no log, no attribute, no figure and no line of the audit, in no form.

mod common;
#[path = "canary/scan.rs"]
mod scan;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use common::failing::{self, EXPRESSIONS, FORMATS, PROGRAMS, VALUE};
use common::{Daemon, TestDaemon, TestStore, http, tool};
use scan::Scan;

const TRACE: (&str, &str) = ("SECRETFS_LOG", "trace");

/// What was said, by whom.
struct Ear {
    scan: Scan,
    heard: usize,
}

impl Ear {
    fn new() -> Self {
        Self { scan: Scan::of([("the value", VALUE.as_bytes())]), heard: 0 }
    }

    #[track_caller]
    fn hear(&mut self, who: &str, said: &[u8]) {
        let hits = self.scan.bytes(said);
        assert!(hits.is_empty(), "{who}: {hits:?} in:\n{}", String::from_utf8_lossy(said));
        self.heard += said.len();
    }

    /// A command that has to fail, or whose output is for everybody.
    #[track_caller]
    fn hear_output(&mut self, who: &str, output: &Output) {
        self.hear(who, &output.stdout);
        self.hear(who, &output.stderr);
    }
}

fn run(store: &TestStore, args: &[&str], stdin: impl AsRef<[u8]>) -> Output {
    let mut env = store.command(args);
    env.env(TRACE.0, TRACE.1).env("RUST_BACKTRACE", "1");
    let stdin_file = store.folder().join("stdin");
    fs::write(&stdin_file, stdin).unwrap();
    env.stdin(fs::File::open(stdin_file).unwrap()).output().unwrap()
}

#[track_caller]
fn fails(ear: &mut Ear, store: &TestStore, args: &[&str], stdin: impl AsRef<[u8]>) {
    let output = run(store, args, stdin);
    assert!(!output.status.success(), "{args:?} should fail");
    ear.hear_output(&args.join(" "), &output);
}

fn daemon(weakness: &str) -> Daemon {
    let mut daemon = TestDaemon::new();
    for (name, value) in failing::secrets() {
        daemon = daemon.secret(name, value);
    }
    for (name, text) in failing::templates() {
        daemon = daemon.template(&format!("{name}.tpl"), text);
    }
    let (providers, files) = (failing::providers(daemon.folder()), failing::files());
    let config =
        format!("{providers}mounts:\n- at: mnt\n  templates: templates\n{files}audit: {{file: audit.log}}\n");
    daemon.config(&config).env(TRACE.0, TRACE.1).env("SECRETFS_TEST_WEAKNESS", weakness).start()
}

fn attribute(path: &Path) -> Output {
    let mut ask = Command::new(tool("getfattr"));
    ask.args(["--only-values", "-n", "user.secretfs.error"]).arg(path).output().unwrap()
}

#[test]
fn what_fails_at_a_mount_tells_no_value() {
    let (mut ear, mut daemon) = (Ear::new(), daemon(""));
    let mut failed = 0;
    let names: Vec<_> = failing::templates().into_iter().map(|it| it.0).collect();
    let programs = PROGRAMS.map(|(name, ..)| format!("p-{name}"));
    for name in &names {
        if fs::read(daemon.path(name)).is_err() {
            failed += 1;
            ear.hear_output(name, &attribute(&daemon.path(name)));
        }
    }
    assert!(failed > names.len() * 2 / 3, "only {failed} of {} fail", names.len());
    assert!(programs.iter().all(|name| fs::read(daemon.path(name)).is_err()), "all providers fail");
    for args in [
        &["status", "--json"][..],
        &["readers", "--json"],
        &["audit", "query", "--json"],
        &["audit", "tail"],
        &["check"],
        &["check", "--json"],
        &["explain", "mnt/1-3"],
        &["explain", "mnt/p-both", "--json"],
        &["doctor"],
        &["policy", "explain", "mnt/1-3"],
    ] {
        let output = daemon.run(args);
        ear.hear_output(&args.join(" "), &output);
    }
    let metrics = http::get_unix(&daemon.folder().join("run/control.sock"), "/metrics");
    ear.hear("metrics", metrics.as_bytes());
    assert!(daemon.stop().success());
    for file in ["stderr", "output", "audit.log"] {
        ear.hear(file, &fs::read(daemon.folder().join(file)).unwrap());
    }
    assert!(ear.heard > 100_000, "{} bytes were heard", ear.heard);
}

/// The same log, of a daemon that tells values.
#[test]
fn a_log_that_tells_is_noticed() {
    let mut daemon = daemon("talkative");
    // Whatever can be rendered.
    let rendered =
        failing::templates().iter().filter(|(name, ..)| fs::read(daemon.path(name)).is_ok()).count();
    assert!(rendered > 0);
    assert!(daemon.stop().success());
    let hits = Ear::new().scan.file(&daemon.folder().join("stderr")).unwrap();
    assert!(!hits.is_empty(), "the control");
}

/// What stands in a template's place for `render`, `exec` and `check`.
#[test]
fn what_fails_in_a_command_tells_no_value() {
    let (mut ear, store) = (Ear::new(), TestStore::new());
    for (name, value) in failing::secrets() {
        store.set(name, value);
    }
    let template = store.folder().join("t.tpl");
    let mut failed = 0;
    for (number, expression) in EXPRESSIONS.iter().enumerate() {
        fs::write(&template, format!("A=<< {expression} >>\n<< secrets.v >>")).unwrap();
        let format = FORMATS[number % FORMATS.len()];
        let output = run(&store, &["render", "--format", format, "t.tpl"], "");
        ear.hear(expression, &output.stderr);
        failed += usize::from(!output.status.success());
        let exec = run(&store, &["exec", "--env-file", "t.tpl", "--", "true"], "");
        ear.hear_output(expression, &exec);
        ear.hear_output(expression, &run(&store, &["check", "t.tpl"], ""));
    }
    assert!(failed > EXPRESSIONS.len() / 2, "only {failed} fail");
    for args in [
        &["exec", "--env", "A=bytes", "--", "true"][..],
        &["exec", "--env", "A=big", "--", "true"],
        &["exec", "--env", "LD_PRELOAD=v", "--", "true"],
        &["exec", "--env", "A=v.nosuch", "--", "true"],
        &["exec", "--env", "A=v", "--", "./nosuch"],
        &["get", "v", "--field", "nosuch"],
        &["get", "v.nosuch"],
        &["rollback", "v", "--to", "9"],
        &["destroy", "v", "--version", "9", "--yes"],
    ] {
        fails(&mut ear, &store, args, "");
    }
}

/// Values that are refused when they come in: too large, of the wrong shape, broken on the way.
#[test]
fn what_is_refused_on_its_way_in_tells_no_value() {
    let (mut ear, store) = (Ear::new(), TestStore::new());
    for kind in ["basic-auth", "oauth", "connection-string", "certificate", "ssh-key"] {
        fails(&mut ear, &store, &["set", "x", "--type", kind], VALUE);
        let fields = serde_json::json!({"nosuch": VALUE}).to_string();
        fails(&mut ear, &store, &["set", "x", "--type", kind, "--from-json"], fields);
    }
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{VALUE}\n-----END PRIVATE KEY-----\n");
    let certificate = serde_json::json!({"cert": pem, "key": pem}).to_string();
    fails(&mut ear, &store, &["set", "x", "--type", "certificate", "--from-json"], certificate);
    fails(
        &mut ear,
        &store,
        &["set", "x", "--type", "connection-string"],
        format!("postgres://u:{VALUE}@[::/d"),
    );
    fails(&mut ear, &store, &["set", "x"], VALUE.repeat(20_000));
    fails(&mut ear, &store, &["set", "x", "--expires", "never"], VALUE);
    fails(&mut ear, &store, &["set", "../x"], VALUE);
    for broken in [format!("{{\"x\": \"{VALUE}"), format!("[\"{VALUE}\"]"), VALUE.to_owned()] {
        fails(&mut ear, &store, &["set", "x", "--from-json"], &broken);
        for name in ["f.json", "f.yaml", "f.env"] {
            fs::write(store.folder().join(name), format!("{broken}\n a: 'b\n=\"c")).unwrap();
            fails(&mut ear, &store, &["import", name], "");
        }
    }
    store.set("v", VALUE);
    fails(&mut ear, &store, &["set", "v", "--new"], VALUE);
    fails(&mut ear, &store, &["rotate", "v", "--expires", "x"], VALUE);
    fails(&mut ear, &store, &["rotate", "nosuch"], VALUE);
    // A key that is none, by each way that it can come.
    let key = store.folder().join("broken.key");
    fs::write(&key, VALUE).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    fails(&mut ear, &store, &["--key-file", "broken.key", "get", "v"], "");
    let mut command = store.command(&["get", "v"]);
    let given =
        command.env("SECRETFS_MASTER_KEY", VALUE.replace('\n', "")).env(TRACE.0, TRACE.1).output().unwrap();
    ear.hear("a master key that is none", &given.stderr);
    // A store of which something is broken.
    let database = store.path().join("store.db");
    if let Ok(mut bytes) = fs::read(&database) {
        let middle = bytes.len() / 2;
        bytes[middle..].fill(0x41);
        fs::write(&database, bytes).unwrap();
        fails(&mut ear, &store, &["get", "v"], "");
        ear.hear_output("verify", &run(&store, &["store", "verify"], ""));
    }
}

/// A fault of our own that has the value in its words, as that of an index into a text would.
#[test]
fn a_panic_tells_where_and_nothing_else() {
    let mut ear = Ear::new();
    let store = TestStore::new();
    store.set("v", VALUE);
    fs::write(store.folder().join("t.tpl"), "A=<< secrets.v | b64encode >> # panic").unwrap();
    for args in [&["render", "t.tpl"][..], &["exec", "--env-file", "t.tpl", "--", "true"]] {
        let mut command = store.command(args);
        command.env("SECRETFS_TEST_WEAKNESS", "panicking").env("RUST_BACKTRACE", "1");
        let output = command.output().unwrap();
        assert!(!output.status.success());
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("a fault of this program at src/"),
            "{output:?}"
        );
        ear.hear_output(args[0], &output);
    }
}
