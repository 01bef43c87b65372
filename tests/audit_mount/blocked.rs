//! Who asks how the daemon is learns that nobody gets anything, because the log takes nothing; and it
//! goes on by itself when it does, though nobody reads.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::common::{Daemon, TestDaemon, eventually, stdout_of, tool};

fn daemon(required: bool) -> Daemon {
    let daemon = TestDaemon::new().secret("pw", "hunter2").template("f.tpl", "<< secrets.pw >>\n");
    let config = format!(
        "mounts:\n- {{at: mnt, templates: templates}}\naudit: {{file: logs/audit.log, required: {required}}}\n"
    );
    fs::create_dir(daemon.folder().join("logs")).unwrap();
    daemon.config(&config).start()
}

fn ask(daemon: &Daemon, route: &str) -> String {
    let mut curl = Command::new(tool("curl"));
    curl.args(["-sS", "-w", "%{http_code}", "--unix-socket"]).arg(daemon.folder().join("run/control.sock"));
    stdout_of(&curl.arg(format!("http://secretfs{route}")).output().unwrap())
}

fn status(daemon: &Daemon) -> String {
    String::from_utf8_lossy(&daemon.run(&["status"]).stdout).into_owned()
}

#[test]
fn it_is_told_and_recovers_while_nobody_reads() {
    let daemon = daemon(true);
    assert!(ask(&daemon, "/readyz").contains("\"ready\":true"), "the control");
    let log = format!("audit     {}", daemon.folder().join("logs/audit.log").display());
    assert!(status(&daemon).contains(&log), "{}", status(&daemon));
    fs::rename(daemon.folder().join("logs"), daemon.folder().join("away")).unwrap();
    assert_eq!(daemon.errno("f"), libc::EIO);
    let ready = ask(&daemon, "/readyz");
    assert!(
        ready.ends_with("503") && ready.contains("the audit, without which nobody gets anything"),
        "{ready}"
    );
    let said = status(&daemon);
    assert!(
        said.contains("not ready: the audit, ") && said.contains("audit     blocked, nobody gets"),
        "{said}"
    );
    assert!(ask(&daemon, "/metrics").contains("secretfs_audit_blocked 1\n"));
    assert_eq!(ask(&daemon, "/healthz"), "ok\n200");
    // Nobody reads, and the log of the daemon is not filled.
    let before = daemon.stderr().len();
    thread::sleep(Duration::from_secs(5));
    let told = daemon.stderr().split_off(before);
    assert!(told.lines().count() <= 1, "{told}");
    fs::rename(daemon.folder().join("away"), daemon.folder().join("logs")).unwrap();
    eventually("it goes on", || ask(&daemon, "/readyz").contains("\"ready\":true").then_some(()));
    assert!(ask(&daemon, "/metrics").contains("secretfs_audit_blocked 0\n"));
    let tail = stdout_of(&daemon.run(&["audit", "tail", "-n", "1"]));
    assert!(tail.contains("log-missed") && tail.contains("no place took these  1 event\n"), "{tail}");
    assert_eq!(daemon.read("f"), "hunter2\n");
}

#[test]
fn what_is_not_required_is_told_and_makes_nobody_unready() {
    let daemon = daemon(false);
    fs::rename(daemon.folder().join("logs"), daemon.folder().join("away")).unwrap();
    assert_eq!(daemon.read("f"), "hunter2\n");
    assert!(ask(&daemon, "/readyz").contains("\"ready\":true"));
    let said = status(&daemon);
    assert!(said.contains("audit     not written, which is not required: cannot write"), "{said}");
    fs::rename(daemon.folder().join("away"), daemon.folder().join("logs")).unwrap();
    eventually("it goes on", || (!status(&daemon).contains("not required")).then_some(()));
}
