//! Who holds which version of what, asked of a real daemon: `secretfs readers`, `status`, `explain`
//! and the figures, while processes read, go on, end, and workers die.

mod common;

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{Daemon, TestDaemon, USER, eventually, stdout_of, tool};
use serde_json::Value;

/// A shell that has read a file and runs until it is dropped.
struct Holder(Child);

impl Holder {
    fn of(daemon: &Daemon, name: &str) -> Self {
        let script =
            format!("cat {} > /dev/null; exec 3< {0}; echo ready; sleep 1000", daemon.path(name).display());
        Self::run(&script)
    }

    fn run(script: &str) -> Self {
        let mut command = Command::new("sh");
        let mut child = command.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The shell's own child sleeps on; nobody waits for it, but it must not stay.
        let children = format!("/proc/{0}/task/{0}/children", self.pid());
        for pid in fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid.parse().unwrap()),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn readers(daemon: &Daemon, args: &[&str]) -> Vec<Value> {
    let output = daemon.run(&[&["readers", "--json"], args].concat());
    serde_json::from_str::<Vec<Value>>(&stdout_of(&output)).unwrap()
}

/// The reader of this process, if it is one.
fn of(readers: &[Value], pid: u32) -> Option<&Value> {
    readers.iter().find(|reader| reader["pid"] == pid)
}

fn figure(daemon: &Daemon, name: &str) -> Option<f64> {
    let text = figures(daemon);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

fn figures(daemon: &Daemon) -> String {
    ask(daemon, "/metrics")
}

fn ask(daemon: &Daemon, target: &str) -> String {
    let socket = daemon.folder().join("run/control.sock");
    let mut curl = Command::new(tool("curl"));
    curl.args(["-s", "--unix-socket"]).arg(socket).arg(format!("http://a{target}"));
    stdout_of(&curl.output().unwrap())
}

#[test]
fn each_reader_has_its_version_until_it_ends() {
    let daemon = TestDaemon::new()
        .secret("db/password", "one")
        .secret("other", "x")
        .template("app.env.tpl", "A=<< secrets[\"db/password\"] >>\nB=<< secrets.other >>\n")
        .template("plain.tpl", "nothing secret\n")
        .start();
    let (old, plain) = (Holder::of(&daemon, "app.env"), Holder::of(&daemon, "plain"));
    let first = readers(&daemon, &[]);
    let reader = of(&first, old.pid()).unwrap_or_else(|| panic!("{first:?}"));
    assert_eq!(reader["file"], daemon.path("app.env").to_str().unwrap());
    assert!(reader["exe"].as_str().unwrap().ends_with("sh"), "{reader}");
    assert_eq!(reader["stale"], false);
    let held = |reader: &Value| {
        let references = reader["references"].as_array().unwrap();
        references
            .iter()
            .map(|it| {
                (it["reference"].as_str().unwrap().to_owned(), it["held"].as_u64(), it["current"].as_u64())
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(held(reader), [("db/password".into(), Some(1), Some(1)), ("other".into(), Some(1), Some(1))]);
    assert_eq!(held(of(&first, plain.pid()).unwrap()), []);
    assert!(readers(&daemon, &["--stale"]).is_empty());

    daemon.store().set("db/password", "two");
    let new = Holder::of(&daemon, "app.env");
    let stale = readers(&daemon, &["--stale"]);
    assert_eq!(stale.len(), 1, "{stale:?}");
    let reader = of(&stale, old.pid()).unwrap();
    assert_eq!(held(reader)[0], ("db/password".into(), Some(1), Some(2)));
    let all = readers(&daemon, &[]);
    assert_eq!(of(&all, new.pid()).unwrap()["stale"], false);
    assert_eq!(of(&all, plain.pid()).unwrap()["stale"], false, "no other file is stale");
    let table = stdout_of(&daemon.run(&["readers", "--stale"]));
    assert!(table.contains("db/password") && table.contains("stale"), "{table}");
    assert_eq!(figure(&daemon, "secretfs_readers{state=\"stale\"}"), Some(1.0));
    assert_eq!(figure(&daemon, "secretfs_readers{state=\"current\"}"), Some(2.0));

    drop(old);
    assert!(readers(&daemon, &["--stale"]).is_empty(), "who has ended holds nothing");
}

#[test]
fn an_edited_template_makes_stale_what_differs_only() {
    let daemon = TestDaemon::new().secret("k", "one").template("f.tpl", "<< secrets.k >>\n").start();
    let holder = Holder::of(&daemon, "f");
    daemon.template("f.tpl", "<< secrets.k >>\n");
    thread::sleep(Duration::from_millis(50));
    assert_eq!(of(&readers(&daemon, &[]), holder.pid()).unwrap()["stale"], false, "written again, the same");
    daemon.template("f.tpl", "# <<< a comment\n<< secrets.k >>\n");
    eventually("stale", || (of(&readers(&daemon, &[]), holder.pid())?["stale"] == true).then_some(()));
    daemon.store().run(&["rm", "--yes", "k"]);
    eventually("unknown: it cannot be read now", || {
        of(&readers(&daemon, &[]), holder.pid())?["stale"].is_null().then_some(())
    });
}

#[test]
fn readers_outlive_the_worker() {
    let daemon = TestDaemon::new().secret("k", "one").template("f.tpl", "<< secrets.k >>\n").start();
    let (a, b) = (Holder::of(&daemon, "f"), Holder::of(&daemon, "f"));
    assert_eq!(readers(&daemon, &[]).len(), 2);
    daemon.kill_worker();
    assert_eq!(readers(&daemon, &[]).len(), 2);
    drop(b);
    daemon.kill_worker();
    daemon.store().set("k", "two");
    let stale = readers(&daemon, &["--stale"]);
    assert_eq!(
        of(&stale, a.pid()).map(|it| it["references"][0]["held"].clone()),
        Some(1.into()),
        "{stale:?}"
    );
    assert_eq!(stale.len(), 1);
}

/// The daemon looks at it again and again, by processes that may take their time on a busy machine.
#[test]
fn who_looks_whether_a_mount_answers_is_no_reader() {
    let daemon = TestDaemon::new().secret("k", "one").template("f.tpl", "<< secrets.k >>\n").start();
    let _looks = Holder::of(&daemon, ".secretfs-probe");
    let reads = Holder::of(&daemon, "f");
    let all = readers(&daemon, &[]);
    assert!(all.len() == 1 && of(&all, reads.pid()).is_some(), "{all:?}");
}

#[test]
fn a_read_through_a_thread_is_its_process() {
    let daemon = TestDaemon::new().secret("k", "one").template("f.tpl", "<< secrets.k >>\n").start();
    let path = daemon.path("f");
    thread::spawn(move || drop(File::open(path).unwrap())).join().unwrap();
    let readers = readers(&daemon, &[]);
    assert!(of(&readers, std::process::id()).is_some(), "{readers:?}");
}

#[test]
fn explain_says_why() {
    let daemon = TestDaemon::new()
        .secret("k", "one")
        .template("good.tpl", "<< secrets.k >>\n")
        .template("dir/bad.json.tpl", "{\"a\": << secrets.nothing >>}\n")
        .template("broken.tpl", "<< secrets. >>\n")
        .start();
    assert_eq!(daemon.read("good"), "one\n");
    let explain = |name: &str| daemon.run(&["explain", daemon.path(name).to_str().unwrap()]);
    let text = |name: &str| String::from_utf8(explain(name).stdout).unwrap();
    let good = text("good");
    for words in ["can be read, 4 bytes", "good.tpl (as text)", "mode 0400", "k          store     1", "real"]
    {
        assert!(good.contains(words), "{words} is not in\n{good}");
    }
    assert_eq!(daemon.errno("dir/bad.json"), libc::ENOKEY);
    let bad = explain("dir/bad.json");
    assert_eq!(bad.status.code(), Some(1));
    let bad = String::from_utf8(bad.stdout).unwrap();
    assert!(bad.contains("ENOKEY: ") && bad.contains("nothing") && bad.contains("(as json)"), "{bad}");
    assert!(text("broken").contains("EIO: "), "{}", text("broken"));
    for name in ["missing", "../elsewhere"] {
        assert_eq!(explain(name).status.code(), Some(66), "{name}");
    }
    // Somebody who may not read it has a view of his own.
    let denied = Command::new("setpriv")
        .args([&format!("--reuid={USER}"), "--clear-groups", "cat"])
        .arg(daemon.path("good"))
        .output()
        .unwrap();
    assert!(!denied.status.success());
    assert!(text("good").contains("EACCES: denied"), "{}", text("good"));
}

#[test]
fn what_happens_is_counted() {
    let daemon = TestDaemon::new()
        .secret("k", "one")
        .template("good.tpl", "<< secrets.k >>\n")
        .template("bad.tpl", "<< secrets.nothing >>\n")
        .start();
    for _ in 0..3 {
        daemon.read("good");
    }
    assert_eq!(daemon.errno("bad"), libc::ENOKEY);
    let all = figures(&daemon);
    let figure = |name: &str| figure(&daemon, name).unwrap_or_else(|| panic!("{name} is not in\n{all}"));
    // The daemon looks into its mounts, too.
    assert!(figure("secretfs_requests_total{operation=\"open\",outcome=\"ok\"}") >= 3.0);
    assert_eq!(figure("secretfs_requests_total{operation=\"open\",outcome=\"ENOKEY\"}"), 1.0);
    assert!(figure("secretfs_renderings_total{outcome=\"ok\"}") >= 1.0);
    assert!(figure("secretfs_renderings_total{outcome=\"no_key\"}") >= 1.0);
    assert_eq!(figure("secretfs_renderings_in_flight"), 0.0);
    assert!(figure("secretfs_request_seconds_count{operation=\"open_ready\"}") >= 3.0);
    assert!(figure("secretfs_request_seconds_count{operation=\"lookup_waited\"}") >= 1.0);
    assert!(figure("secretfs_descriptors_free") > 10.0);
    let at = daemon.folder().join("mnt");
    assert_eq!(figure(&format!("secretfs_files{{mount=\"{}\"}}", at.display())), 2.0);
    assert_eq!(ask(&daemon, "/healthz"), "ok\n");

    let status: Value = serde_json::from_str(&stdout_of(&daemon.run(&["status", "--json"]))).unwrap();
    assert_eq!(status["worker"], daemon.worker_pid());
    assert_eq!(status["mounts"][0]["files"], 2);
    let providers = status["providers"].as_array().unwrap();
    assert!(providers.iter().any(|it| it["name"] == "store" && it["problem"].is_null()), "{providers:?}");
}

/// A value in every place where it could slip through: none of them shows it, however much is asked
/// for.
#[test]
fn no_value_is_told() {
    const CANARY: &str = "canary-4f1d-value";
    let daemon = TestDaemon::new()
        .env("SECRETFS_LOG", "trace")
        .secret("k", CANARY)
        .secret("list", format!("[\"{CANARY}\", 1"))
        .template("good.env.tpl", "K=<< secrets.k >>\n")
        .template("json.json.tpl", "{\"a\": << secrets.k | from_json >>}\n")
        .template("number.tpl", "<< secrets.k | indent(secrets.list) >>\n")
        .template("missing.tpl", "<< secrets.k >> << secrets.nothing >>\n")
        .template("verify.json.tpl", "{\"a\": \"<< secrets.k >>\", << secrets.list | raw >>}\n")
        .start();
    let holder = Holder::of(&daemon, "good.env");
    for name in ["good.env", "json.json", "number", "missing", "verify.json"] {
        let _ = fs::read(daemon.path(name));
        let _ = Command::new("getfattr").args(["-d", "--absolute-names"]).arg(daemon.path(name)).output();
    }
    daemon.store().set("k", format!("{CANARY}-2"));
    let mut told = String::new();
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["readers"],
        &["readers", "--json"],
        &["readers", "--stale"],
    ] {
        let output = daemon.run(args);
        told += &format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    for name in ["good.env", "json.json", "number", "missing", "verify.json"] {
        for json in [&[][..], &["--json"]] {
            let path = daemon.path(name);
            let output = daemon.run(&[&["explain", path.to_str().unwrap()], json].concat());
            told += &String::from_utf8_lossy(&output.stdout);
        }
    }
    told += &figures(&daemon);
    told += &ask(&daemon, "/readyz");
    drop(holder);
    told += &daemon.stderr();
    assert!(
        told.contains("good.env") && told.contains("WARN request"),
        "the test looks where things are told"
    );
    assert!(!told.contains(CANARY), "{}", told.lines().find(|line| line.contains(CANARY)).unwrap());
}

/// Every line of a request has its number, and who asked.
#[test]
fn a_line_of_the_log_has_its_request() {
    let daemon = TestDaemon::new()
        .env("SECRETFS_LOG", "info")
        .template("bad.tpl", "<< secrets.nothing >>\n")
        .template("good.tpl", "x\n")
        .start();
    daemon.errno("bad");
    daemon.errno("bad");
    let denied = Command::new("setpriv")
        .args([&format!("--reuid={USER}"), "--clear-groups", "cat"])
        .arg(daemon.path("good"))
        .output()
        .unwrap();
    assert!(!denied.status.success());
    let pid = std::process::id();
    let line = eventually("a line", || {
        daemon.stderr().lines().find(|line| line.contains("cannot be rendered")).map(str::to_owned)
    });
    assert!(
        line.contains("request{id=") && line.contains("uid=0}") && line.contains("errno=ENOKEY"),
        "{line}"
    );
    assert!(line.contains("pid="), "{line} of {pid}");
    let denied = eventually("a denial", || {
        daemon.stderr().lines().find(|line| line.contains("denied")).map(str::to_owned)
    });
    assert!(denied.contains("request{id=") && denied.contains(&format!("uid={USER}")), "{denied}");
}
