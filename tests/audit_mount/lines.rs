//! What the lines say: who got what by which rule, who did not, and what came of it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::common::{Daemon, STRANGER, TestDaemon, USER, eventually, stdout_of, tool};

fn config(access: &str) -> String {
    format!(
        "mounts:\n- {{at: mnt, templates: templates, mode: \"0444\", access: [{access}]}}\naudit: {{file: audit.log}}\n"
    )
}

fn daemon(access: &str) -> Daemon {
    let daemon = TestDaemon::new().secret("pw", "hunter2").template("f.tpl", "pw=<< secrets.pw >>\n");
    daemon.template("bad.tpl", "<< secrets.nothing >>\n").config(&config(access)).start()
}

/// The newest line of this kind that says this of the file `f`.
fn last(daemon: &Daemon, query: &[&str]) -> Value {
    lines(daemon, query).pop().expect("a line")
}

fn lines(daemon: &Daemon, query: &[&str]) -> Vec<Value> {
    let args = [&["audit", "query", "--json"], query].concat();
    let text = stdout_of(&daemon.run(&args));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn cat(daemon: &Daemon, uid: u32, name: &str) -> std::process::Output {
    let mut command = Command::new(tool("setpriv"));
    let ids = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()];
    command.args(ids).arg(tool("busybox")).arg("cat").arg(daemon.path(name)).output().unwrap()
}

#[track_caller]
fn says(line: &Value, wanted: &[(&str, Value)]) {
    for (key, value) in wanted {
        assert_eq!(line[key], *value, "{key}: {line}");
    }
}

#[test]
fn who_is_given_a_file_and_who_is_not() {
    let rules = format!("{{allow: {{uid: {USER}}}}}, {{placeholder: {{uid: {STRANGER}}}}}");
    let daemon = daemon(&rules);
    assert_eq!(stdout_of(&cat(&daemon, USER, "f")), "pw=hunter2\n");
    let file = daemon.path("f").to_string_lossy().into_owned();
    let line = last(&daemon, &["--file", &file]);
    let named = serde_json::json!([{"name": "pw", "provider": "store", "version": 1}]);
    let common = [("door", "mount".into()), ("file", file.clone().into()), ("secrets", named)];
    says(&line, &common);
    let exe = std::fs::canonicalize(tool("busybox")).unwrap().to_string_lossy().into_owned();
    says(
        &line,
        &[("uid", USER.into()), ("verdict", "real".into()), ("outcome", "ok".into()), ("exe", exe.into())],
    );
    let rule = line["rule"].as_str().unwrap();
    assert!(rule.contains("secretfs.yaml:"), "{rule}");
    assert!(line["micros"].as_u64().is_some_and(|micros| micros < 5_000_000), "{line}");

    assert_ne!(stdout_of(&cat(&daemon, STRANGER, "f")), "pw=hunter2\n");
    let line = last(&daemon, &["--uid", &STRANGER.to_string()]);
    says(&line, &common);
    says(&line, &[("verdict", "placeholder".into()), ("outcome", "ok".into())]);

    assert!(!cat(&daemon, 0, "f").status.success());
    let line = last(&daemon, &["--verdict", "denied"]);
    says(&line, &[("uid", 0.into()), ("file", file.into()), ("outcome", "denied".into())]);
    assert!(line["rule"].as_str().unwrap().contains("secretfs.yaml:"), "{line}");
    assert_eq!(lines(&daemon, &["--verdict", "denied"]).len(), 1, "one line for each open");
    assert!(stdout_of(&daemon.run(&["audit", "verify"])).contains("as they were written"));
}

/// Nobody washes out of the log what others have done.
#[test]
fn who_is_denied_again_and_again_is_counted() {
    let daemon = daemon(&format!("{{allow: {{uid: {USER}}}}}"));
    let denied = || lines(&daemon, &["--verdict", "denied"]);
    let open = || File::open(daemon.path("f")).unwrap_err().raw_os_error();
    for _ in 0..200 {
        assert_eq!(open(), Some(libc::EACCES));
    }
    assert_eq!(denied().len(), 1, "the first one at once");
    // What is given is a line each.
    for _ in 0..3 {
        assert!(cat(&daemon, USER, "f").status.success());
    }
    assert_eq!(lines(&daemon, &["--verdict", "real", "--uid", &USER.to_string()]).len(), 3);
    let told = eventually("they are told of", || Some(denied()).filter(|it| it.len() > 1));
    assert_eq!((told.len(), &told[1]["count"]), (2, &serde_json::json!(199)), "{told:#?}");
    says(&told[1], &[("uid", 0.into()), ("outcome", "denied".into())]);
    // What is left is told before the daemon goes.
    (0..7).for_each(|_| assert_eq!(open(), Some(libc::EACCES)));
    let mut daemon = daemon;
    daemon.stop();
    let told = lines(&daemon, &["--verdict", "denied"]);
    assert_eq!((told.len(), &told[2]["count"]), (3, &serde_json::json!(7)), "{told:#?}");
    assert!(daemon.run(&["audit", "verify"]).status.success());
}

#[test]
fn our_own_probe_has_no_line() {
    let daemon = daemon("");
    for _ in 0..3 {
        std::fs::read(daemon.path(".secretfs-probe")).unwrap();
    }
    assert!(cat(&daemon, USER, "f").status.success());
    std::thread::sleep(std::time::Duration::from_secs(3));
    let read = lines(&daemon, &["--event", "read"]);
    let files: Vec<_> = read.iter().map(|it| it["file"].as_str().unwrap_or_default()).collect();
    assert_eq!(files, [daemon.path("f").to_str().unwrap()]);
}

#[test]
fn an_open_that_fails_says_with_what() {
    let daemon = daemon("");
    assert!(!cat(&daemon, USER, "bad").status.success());
    let line = last(&daemon, &["--uid", &USER.to_string()]);
    says(&line, &[("verdict", "real".into()), ("outcome", "no_key".into()), ("rule", "mode".into())]);
    says(&line, &[("secrets", serde_json::json!([{"name": "nothing", "provider": "store"}]))]);
}

#[test]
fn a_read_that_new_rules_cut_off_is_written_down_once() {
    let daemon = daemon(&format!("{{allow: {{uid: [0, {USER}]}}}}"));
    let file = File::open(daemon.path("f")).unwrap();
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, 0).unwrap();
    daemon.config(&config(&format!("{{allow: {{uid: {USER}}}}}")));
    stdout_of(&daemon.run(&["reload"]));
    for _ in 0..5 {
        assert_eq!(file.read_at(&mut bytes, 0).unwrap_err().raw_os_error(), Some(libc::EACCES));
    }
    let cut = lines(&daemon, &["--verdict", "denied"]);
    assert_eq!(cut.len(), 1, "{cut:#?}");
    says(&cut[0], &[("outcome", "cut".into()), ("uid", 0.into()), ("pid", std::process::id().into())]);
    assert!(cut[0]["rule"].as_str().unwrap().contains("secretfs.yaml:"), "{}", cut[0]);
    assert_eq!(lines(&daemon, &["--event", "policy"]).len(), 1);
}

/// A bound file that somebody has open stays what it was for who opens it meanwhile.
#[test]
fn who_is_given_an_older_version_is_told_apart() {
    let daemon = daemon("");
    let held = File::open(daemon.path("f")).unwrap();
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
    let mut text = String::new();
    File::open(&link).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(last(&daemon, &["--event", "read"])["stale"], Value::Null, "the control: it is current");
    stdout_of(&daemon.store().run_with(&["rotate", "pw"], "hunter3"));
    let mut text = String::new();
    File::open(&link).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "pw=hunter2\n", "the other end has it open");
    let line = last(&daemon, &["--event", "read"]);
    says(&line, &[("stale", "somebody has an older version open".into())]);
    assert_eq!(line["secrets"][0]["version"], 1, "{line}");
}

/// What the worker before has rendered is named with the versions that are in it.
#[test]
fn who_is_given_what_another_process_has_rendered() {
    let daemon = daemon("");
    let held = File::open(daemon.path("f")).unwrap();
    daemon.kill_worker();
    stdout_of(&daemon.store().run_with(&["rotate", "pw"], "hunter3"));
    // Who knows nothing of the old template cannot find out.
    daemon.template("f.tpl", "new=<< secrets.pw >>\n");
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
    let mut text = String::new();
    File::open(&link).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "pw=hunter2\n", "the control: it is the old one");
    let named = serde_json::json!([{"name": "pw", "provider": "store", "version": 1}]);
    let line = last(&daemon, &["--secret", "pw", "--event", "read"]);
    says(&line, &[("secrets", named), ("stale", "somebody has an older version open".into())]);
}

/// A worker that is killed leaves to the next one where the chain stood.
#[test]
fn a_last_line_that_is_cut_off_between_two_workers_is_missed() {
    for is_cut in [false, true] {
        let daemon = daemon("");
        assert_eq!(daemon.read("f"), "pw=hunter2\n");
        let worker = nix::unistd::Pid::from_raw(daemon.worker_pid().cast_signed());
        kill(worker, Signal::SIGSTOP).unwrap();
        let log = daemon.folder().join("audit.log");
        let text = std::fs::read_to_string(&log).unwrap();
        let end = text.trim_end().rfind('\n').unwrap() + 1;
        if is_cut {
            File::options().write(true).open(&log).unwrap().set_len(end as u64).unwrap();
        }
        daemon.kill_worker();
        assert_eq!(daemon.read("f"), "pw=hunter2\n");
        let lost = lines(&daemon, &["--event", "log-lost"]).len();
        assert_eq!(lost, usize::from(is_cut));
        assert_eq!(daemon.run(&["audit", "verify"]).status.success(), !is_cut);
    }
}

#[test]
fn the_daemon_says_when_it_begins_and_ends() {
    let mut daemon = daemon("");
    daemon.stop();
    let kinds: Vec<_> =
        lines(&daemon, &[]).iter().map(|it| it["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        (kinds.iter().filter(|it| *it == "start").count(), kinds.last().unwrap().as_str()),
        (1, "stop"),
        "{kinds:?}"
    );
    eventually("it is gone", || daemon.run(&["audit", "verify"]).status.success().then_some(()));
}

/// Whoever names a file turns nothing round for who reads about it.
#[test]
fn a_name_that_turns_the_writing_is_spelt_out() {
    let daemon = daemon("");
    daemon.template("a\u{202e}b.tpl", "<< secrets.nothing >>\n");
    let name = "a\u{202e}b";
    eventually("it is there", || daemon.path(name).exists().then_some(()));
    assert!(!cat(&daemon, USER, name).status.success());
    let shown = "a\\u{202e}b";
    let said = eventually("it is told", || Some(daemon.stderr()).filter(|it| it.contains(shown)));
    assert!(!said.contains('\u{202e}'), "{said}");
    let path = daemon.path(name).to_string_lossy().into_owned();
    for args in [&["audit", "tail"][..], &["explain", &path]] {
        let output = daemon.run(args);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(shown) && !said.contains('\u{202e}'), "{args:?}: {said}");
    }
    let told = last(&daemon, &["--uid", &USER.to_string()]);
    assert_eq!(told["file"], path.as_str(), "the control: JSON has it as it is");
}
