//! What is done when a value changes, by a real daemon for real readers: once, for those alone who
//! hold an old version, and never twice because a worker died. nginx serves its new certificate
//! without anybody's help. Under systemd: `tests/systemd/reactions.rs`.

mod common;

#[path = "servers/certificate.rs"]
#[allow(dead_code)]
mod certificate;

#[path = "servers/server.rs"]
#[allow(dead_code)]
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use certificate::Certificate;
use common::ready::{ready_template, set_secrets};
use common::{Daemon, TestDaemon, TestStore, eventually, nginx, stdout_of, tool};
use serde_json::{Value, json};
use server::{Server, free_port};

/// A shell that reads the file now, and again at each HUP; what it reads goes into `seen`.
struct Reader {
    child: Child,
    seen: PathBuf,
}

impl Reader {
    fn start(daemon: &Daemon, name: &str) -> Self {
        let seen = daemon.folder().join(format!("seen-{}", name.replace('/', "-")));
        let read = format!("read line < {}; echo $line >> {}", daemon.path(name).display(), seen.display());
        let script = format!("trap '{read}' HUP; {read}; echo ready; while :; do sleep 0.05; done");
        let mut child = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("sh");
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut ready).expect("it reads");
        Self { child, seen }
    }

    fn seen(&self) -> String {
        fs::read_to_string(&self.seen).unwrap_or_default()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(files: &str) -> String {
    format!("mounts:\n- at: mnt\n  templates: templates\n  files: {files}\n")
}

fn last(daemon: &Daemon, name: &str) -> Option<Value> {
    let path = daemon.path(name);
    let output = daemon.run(&["explain", path.to_str().unwrap(), "--json"]);
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    Some(explained["reaction"].clone()).filter(|reaction| !reaction.is_null())
}

#[track_caller]
fn await_outcome(daemon: &Daemon, name: &str, outcome: &str) -> Value {
    eventually(outcome, || last(daemon, name).filter(|reaction| reaction["outcome"] == outcome))
}

#[test]
fn a_signal_makes_a_reader_look_again() {
    let daemon = TestDaemon::new()
        .secret("k", "one")
        .secret("other", "1")
        .template("f.tpl", "<< secrets.k >>\n")
        .template("g.tpl", "<< secrets.k >>\n")
        .template("h.tpl", "<< secrets.other >>\n")
        .config(&config("{f: {on_change: {signal: HUP, debounce: 100ms}}, h: {on_change: {signal: HUP}}}"))
        .start();
    let (told, not_told, other) =
        (Reader::start(&daemon, "f"), Reader::start(&daemon, "g"), Reader::start(&daemon, "h"));
    daemon.store().set("k", "two");
    eventually("the new value", || (told.seen() == "one\ntwo\n").then_some(()));
    let reaction = await_outcome(&daemon, "f", "ok");
    assert_eq!(reaction["action"], "signal HUP");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(told.seen(), "one\ntwo\n", "once");
    assert_eq!(not_told.seen(), "one\n", "the control: without on_change it keeps what it has");
    assert_eq!(other.seen(), "1\n", "who reads something else is left alone");
    assert_eq!(last(&daemon, "h"), None);
    daemon.await_log("reacted", 1);
    assert!(
        daemon.stderr().contains("action=\"signal HUP\" readers=1 outcome=\"ok\""),
        "{}",
        daemon.stderr()
    );
}

/// An old node can be opened for as long as somebody keeps it open.
#[test]
fn who_is_given_old_content_has_no_command_run_again() {
    let test = TestDaemon::new().secret("k", "one").template("f.tpl", "<< secrets.k >>\n");
    let runs = test.folder().join("runs");
    let command =
        format!("{{on_change: {{command: [sh, -c, 'echo run >> {}'], debounce: 100ms}}}}", runs.display());
    let daemon = test.config(&config(&format!("{{f: {command}}}"))).start();
    let ran = || fs::read_to_string(&runs).unwrap_or_default().lines().count();
    let keeper = Shell::start(&format!("exec 3< {}; read line <&3; echo $line", daemon.path("f").display()));
    daemon.store().set("k", "two");
    eventually("the command", || (ran() == 1).then_some(()));
    let old = format!("read line < /proc/{}/fd/3; echo $line", keeper.0.id());
    let again: Vec<_> = (0..4).map(|_| Shell::start(&old)).collect();
    assert!(again.iter().all(|shell| shell.1 == "one\n"), "the control: it is the old one");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(ran(), 1);
    daemon.store().set("k", "three");
    eventually("the command", || (ran() == 2).then_some(()));
}

/// A shell that says one line and stays.
struct Shell(Child, String);

impl Shell {
    fn start(script: &str) -> Self {
        let script = format!("{script}; while :; do sleep 0.1; done");
        let mut child = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("sh");
        let mut line = String::new();
        let mut said = std::io::BufReader::new(child.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut said, &mut line).expect("it reads");
        Self(child, line)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Beside files whose provider hangs, more than are judged at once, a file reacts as ever, and who
/// asks for the readers is told of all that is known.
#[test]
fn a_provider_that_hangs_delays_no_other_file() {
    const HUNG: usize = 20;
    let mut test = TestDaemon::new().secret("k", "one").template("f.tpl", "<< secrets.k >>\n");
    for number in 0..HUNG {
        test = test.template(&format!("hung{number}.tpl"), format!("<< secret('p:{number}') >>\n"));
    }
    let program = test.folder().join("program");
    fs::write(
        &program,
        format!("#!/bin/sh\n[ -e {}/hang ] && sleep 4302; echo v\n", test.folder().display()),
    )
    .unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let daemon = test
        .config(
            "providers: {p: {type: exec, command: [./program], timeout: 8s, cache: {ttl: 1s}}}
mounts:
- at: mnt
  templates: templates
  deadline: 10s
  files: {f: {on_change: {signal: HUP, debounce: 100ms}}}
",
        )
        .start();
    let reader = Reader::start(&daemon, "f");
    (0..HUNG).for_each(|number| drop(daemon.read(&format!("hung{number}"))));
    fs::write(daemon.folder().join("hang"), "").unwrap();
    // They are asked anew when their time is up.
    thread::sleep(Duration::from_millis(2500));
    let start = Instant::now();
    daemon.store().set("k", "two");
    eventually("the new value", || (reader.seen() == "one\ntwo\n").then_some(()));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    let start = Instant::now();
    let readers: Vec<Value> = serde_json::from_str(&stdout_of(&daemon.run(&["readers", "--json"]))).unwrap();
    println!("reacted after {took:?}, readers told after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let stale = |name: &str| {
        let path = daemon.path(name);
        let reader = readers.iter().find(|it| it["file"] == path.to_str().unwrap());
        reader.unwrap_or_else(|| panic!("{name} is not in {readers:?}"))["stale"].clone()
    };
    assert_eq!(stale("f"), false, "it has read the new one");
    assert_eq!(stale("hung0"), Value::Null, "nobody knows: {readers:?}");
}

/// What changed while no worker looked is found by the next one; what was done is not done again.
#[test]
fn a_worker_that_dies_takes_no_reaction_with_it_and_repeats_none() {
    let log = TestStore::new();
    let log = log.folder().join("log");
    let command = format!("[/bin/sh, -c, \"echo $SECRETFS_FILES >> {}\"]", log.display());
    let daemon = TestDaemon::new()
        .secret("k", "one")
        .template("f.tpl", "<< secrets.k >>\n")
        .config(&config(&format!("{{f: {{on_change: {{command: {command}, debounce: 100ms}}}}}}")))
        .start();
    let _reader = Reader::start(&daemon, "f");
    let readers = || stdout_of(&daemon.run(&["readers"])).lines().count() - 1;
    eventually("a reader", || (readers() == 1).then_some(()));
    daemon.store().set("k", "two");
    daemon.kill_worker();
    let line = format!("{}\n", daemon.path("f").display());
    let said = || fs::read_to_string(&log).unwrap_or_default();
    eventually("the command", || (said() == line).then_some(()));
    await_outcome(&daemon, "f", "ok");
    for _ in 0..2 {
        daemon.kill_worker();
        thread::sleep(Duration::from_millis(1500));
    }
    assert_eq!(said(), line, "the reader holds the old version still, and nothing is done again");
    let stale = stdout_of(&daemon.run(&["readers", "--stale"]));
    assert!(stale.contains("stale"), "{stale}");
}

#[test]
fn what_fails_is_told() {
    let daemon = TestDaemon::new()
        .secret("k", "one")
        .template("f.tpl", "<< secrets.k >>\n")
        .config(&config("{f: {on_change: {command: [/bin/false, an-argument], debounce: 100ms}}}"))
        .start();
    let reader = Reader::start(&daemon, "f");
    // The reader is known by the time that the value changes.
    stdout_of(&daemon.run(&["readers"]));
    daemon.store().set("k", "two");
    let failed = await_outcome(&daemon, "f", "failed");
    assert_eq!(failed["problem"], "/bin/false: exit status: 1");
    assert!(daemon.stderr().contains("outcome=\"failed\"") && !daemon.stderr().contains("an-argument"));
    assert_eq!(daemon.read("f"), "two\n", "no reader is kept from anything by it");
    assert!(stdout_of(&daemon.run(&["readers"])).contains("stale (command /bin/false: failed)"));
    drop(reader);
}

fn nginx_config(folder: &Path, mnt: &Path, port: u16) -> String {
    let mnt = mnt.display();
    let server = format!("ssl_certificate {mnt}/cert.pem; ssl_certificate_key {mnt}/key.pem; return 200;");
    let main = format!("user www-data; worker_processes 1; error_log {}/error.log;", folder.display());
    nginx::config(folder, port, &main, &server)
}

fn is_served(certificate: &Certificate, port: u16) -> bool {
    let mut curl = Command::new(tool("curl"));
    curl.args(["--disable", "--noproxy", "*", "--silent", "--max-time", "10", "--cacert"])
        .arg(&certificate.file);
    curl.arg(format!("https://127.0.0.1:{port}/")).output().expect("curl can be started").status.success()
}

/// With `on_change` and without, which is the control.
#[test]
fn nginx_serves_the_new_certificate_by_itself() {
    for reacts in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        fs::set_permissions(place, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let [old, new] = ["old", "new"].map(|name| Certificate::make(place, name));
        let conf = place.join("nginx.conf");
        let (nginx, log) = (tool("nginx"), place.join("reloads"));
        let reload = format!(
            "echo reload >> {}; exec {} -p {} -c {} -e {}/early.log -s reload",
            log.display(),
            nginx.display(),
            place.display(),
            conf.display(),
            place.display()
        );
        let on_change = format!("{{on_change: {{command: [/bin/sh, -c, \"{reload}\"], debounce: 200ms}}}}");
        let files =
            if reacts { format!("{{cert.pem: {on_change}, key.pem: {on_change}}}") } else { "{}".into() };
        let store = TestStore::new();
        set_secrets(&store, &json!({"web_tls": old.fields()}));
        let daemon = TestDaemon::on(store)
            .template("cert.pem.tpl", ready_template("nginx/cert.pem"))
            .template("key.pem.tpl", ready_template("nginx/key.pem"))
            .config(&config(&files))
            .start();
        let port = free_port();
        fs::write(&conf, nginx_config(place, &daemon.folder().join("mnt"), port)).unwrap();
        // Nobody has read it yet: a change is nobody's concern.
        set_secrets(daemon.store(), &json!({"web_tls": new.fields()}));
        set_secrets(daemon.store(), &json!({"web_tls": old.fields()}));
        thread::sleep(Duration::from_millis(2500));
        assert!(!log.exists());
        let mut command = server::server("nginx");
        command.arg("-p").arg(place).arg("-c").arg(&conf).arg("-e").arg(place.join("early.log"));
        let _nginx = Server::start(&mut command, &place.join("log")).when(|| is_served(&old, port));
        set_secrets(daemon.store(), &json!({"web_tls": new.fields()}));
        if reacts {
            server::eventually("the new certificate is served", || is_served(&new, port));
            await_outcome(&daemon, "cert.pem", "ok");
            thread::sleep(Duration::from_millis(2500));
            assert_eq!(fs::read_to_string(&log).unwrap(), "reload\n", "once for both files");
            let stale = daemon.run(&["readers", "--stale", "--json"]);
            assert_eq!(stdout_of(&stale).trim(), "[]", "nginx holds nothing old");
        } else {
            thread::sleep(Duration::from_secs(3));
            assert!(is_served(&old, port), "the control: nobody has told nginx");
        }
    }
}
