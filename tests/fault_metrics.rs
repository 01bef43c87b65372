//! Whoever watches the figures alone sees each fault of a provider or a worker, and how many readers
//! one question has answered.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use common::http::get_unix;
use common::{Daemon, TestDaemon, eventually};

/// A daemon whose mount names secrets of this script, as `p:PATH`.
fn daemon(script: &str, settings: &str, files: &[(&str, &str)]) -> Daemon {
    let mut daemon = TestDaemon::new();
    let program = daemon.folder().join("program");
    fs::write(&program, format!("#!/bin/sh\ncd {}\n{script}\n", daemon.folder().display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for (name, text) in files {
        daemon = daemon.template(&format!("{name}.tpl"), text);
    }
    let provider = format!("providers: {{p: {{type: exec, command: [./program], {settings}}}}}");
    daemon.config(&format!("{provider}\nmounts:\n- {{at: mnt, templates: templates}}\n")).start()
}

fn figure(daemon: &Daemon, name: &str) -> f64 {
    let text = get_unix(&daemon.folder().join("run/control.sock"), "/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Fails for as long as its provider hangs; then it is refused at once.
#[test]
fn a_provider_that_hangs() {
    let script = "[ -e hang ] && sleep 4301; echo v";
    let daemon = daemon(script, "timeout: 300ms, cache: {ttl: 1ms}", &[("f", "<< secret('p:a') >>")]);
    let timeouts = "secretfs_provider_errors_total{provider=\"p\",kind=\"timeout\"}";
    let state = "secretfs_breaker_state{provider=\"p\"}";
    assert_eq!(daemon.read("f"), "v");
    assert_eq!((figure(&daemon, timeouts), figure(&daemon, state)), (0.0, 0.0), "the control");
    fs::write(daemon.folder().join("hang"), "").unwrap();
    // What was asked for a moment ago is good for who has waited for it.
    eventually("it is over", || fs::read(daemon.path("f")).err());
    let read = || {
        let start = Instant::now();
        daemon.errno("f");
        start.elapsed()
    };
    // A read may be more than one question.
    let slow: Vec<_> = (0..3).map(|_| read()).collect();
    assert!(slow.iter().all(|took| *took > Duration::from_millis(250)), "the control: {slow:?}");
    eventually("it is open", || (read(), figure(&daemon, state) == 2.0).1.then_some(()));
    assert_eq!(figure(&daemon, timeouts), 5.0);
    assert_eq!(figure(&daemon, "secretfs_breaker_opened_total{provider=\"p\"}"), 1.0);
    let mut refused: Vec<_> = (0..50).map(|_| read()).collect();
    refused.sort();
    println!("refused within {:?}, at the median {:?}", refused[49], refused[25]);
    assert!(refused[40] < Duration::from_millis(100), "{refused:?}");
    let answers = "secretfs_requests_total{operation=\"open\",outcome=\"ETIMEDOUT\"}";
    assert!(figure(&daemon, answers) >= 1.0);
    fs::remove_file(daemon.folder().join("hang")).unwrap();
    eventually("an answer", || fs::read(daemon.path("f")).ok());
    assert_eq!(figure(&daemon, state), 0.0);
}

#[test]
fn a_program_that_fails_and_one_that_floods() {
    let script = "case $1 in huge) head -c 2000000 /dev/zero;; *) exit 1;; esac";
    let files = [("huge", "<< secret('p:huge') >>"), ("fails", "<< secret('p:fails') >>")];
    let daemon = daemon(script, "timeout: 2s", &files);
    for name in ["huge", "fails"] {
        assert_eq!(daemon.errno(name), libc::EIO);
    }
    let of = |kind: &str| {
        figure(&daemon, &format!("secretfs_provider_errors_total{{provider=\"p\",kind=\"{kind}\"}}"))
    };
    assert_eq!((of("too_large"), of("unavailable"), of("timeout")), (1.0, 3.0, 0.0), "three tries");
}

#[test]
fn a_worker_that_is_killed() {
    let daemon = daemon("echo v", "timeout: 2s", &[("f", "<< secret('p:a') >>")]);
    let figures = || {
        let resumes = figure(&daemon, "secretfs_resumes_total{outcome=\"ok\"}");
        let crashes = figure(&daemon, "secretfs_worker_starts_total{cause=\"crash\"}");
        (resumes, figure(&daemon, "secretfs_resends_total"), crashes)
    };
    assert_eq!(figures(), (0.0, 0.0, 0.0), "the control");
    daemon.kill_worker();
    daemon.await_log("the worker serves", 2);
    assert_eq!(daemon.read("f"), "v");
    assert_eq!(figures(), (1.0, 1.0, 1.0));
}

/// Of several files, since the kernel itself lets the readers of one wait for its first lookup.
#[test]
fn many_readers_of_a_secret_that_nobody_has_asked_for_yet() {
    const FILES: usize = 8;
    let names: Vec<_> = (0..FILES).map(|number| format!("f{number}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), "<< secret('p:a') >>")).collect();
    let daemon = daemon("sleep 1; echo v", "timeout: 4s", &files);
    let barrier = Barrier::new(25 * FILES);
    std::thread::scope(|scope| {
        for name in names.iter().cycle().take(25 * FILES) {
            let (path, barrier) = (daemon.path(name), &barrier);
            scope.spawn(move || {
                barrier.wait();
                assert_eq!(fs::read(path).unwrap(), b"v");
            });
        }
    });
    let of = |name: &str, label: &str| figure(&daemon, &format!("{name}{{provider=\"p\"{label}}}"));
    assert_eq!(of("secretfs_provider_calls_total", ""), 1.0);
    assert_eq!(of("secretfs_cache_answers_total", ",answer=\"joined\""), FILES as f64 - 1.0);
    assert_eq!(figure(&daemon, "secretfs_renderings_in_flight"), 0.0);
}
