//! Copies of a provider's answers in the store (`cache.mirror`), through the real daemon: what is served while the
//! provider is down, also after a restart, and what never is. And `sync --now`, which asks anew.

#[macro_use]
mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::Duration;

use common::etcd::Etcd;
use common::programmed::eventually;
use common::{Daemon, TestDaemon, TestStore, stdout_of, tool};
use serde_json::Value;

/// Each prints its path's file, which may be missing, and can be made to fail.
const SCRIPT: &str =
    "#!/bin/sh\ncd \"$(dirname \"$0\")\"\n[ -e down ] && exit 1\ncat \"value-$1\" 2>/dev/null || exit 44\n";
const MIRROR: &str = "cache: {ttl: 200ms, negative_ttl: 200ms, mirror: true}";
const VALUE: &str = "31337-mirrored-value-31337";

fn config(provider: &str) -> String {
    format!(
        "providers: {{p: {provider}}}\nmounts: [{{at: mnt, templates: templates}}]\naudit: {{file: audit.log}}\n"
    )
}

fn program(name: &str, settings: &str) -> String {
    config(&format!("{{type: exec, command: [./{name}], {settings}}}"))
}

/// A daemon whose files `a` and `b` are what the program prints for them.
fn serving(settings: &str) -> Daemon {
    serving_on(TestStore::new(), settings)
}

fn serving_on(store: TestStore, settings: &str) -> Daemon {
    let daemon = TestDaemon::on(store);
    put_program(daemon.folder(), "program");
    fs::write(daemon.folder().join("value-a"), VALUE).unwrap();
    fs::write(daemon.folder().join("value-b"), "the other").unwrap();
    let daemon = daemon
        .template("a.tpl", "<< secret('p:a') >>")
        .template("b.tpl", "<< secret('p:b') >>")
        .template("d.tpl", "<< secret('p:a') | default('none') >>")
        .config(&program("program", settings))
        .start();
    assert_eq!((daemon.read("a"), daemon.read("b")), (VALUE.to_owned(), "the other".to_owned()));
    daemon
}

fn put_program(folder: &Path, name: &str) {
    let program = folder.join(name);
    fs::write(&program, SCRIPT).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn copies(daemon: &Daemon) -> usize {
    daemon.store().copies("p")
}

fn down(daemon: &Daemon) {
    fs::write(daemon.folder().join("down"), "").unwrap();
}

fn up(daemon: &Daemon) {
    fs::remove_file(daemon.folder().join("down")).unwrap();
}

fn restart(daemon: &mut Daemon) {
    daemon.stop();
    daemon.start_again();
}

fn stale(daemon: &Daemon, file: &str) -> Option<String> {
    let mut ask = Command::new(tool("getfattr"));
    ask.args(["--absolute-names", "--only-values", "-n", "user.secretfs.stale"]).arg(daemon.path(file));
    let said = ask.output().unwrap();
    said.status.success().then(|| stdout_of(&said))
}

/// Whether these bytes are in a file of the store.
fn is_in_store(daemon: &Daemon, bytes: &[u8]) -> bool {
    let has = |path: &Path| fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes);
    let files = fs::read_dir(daemon.store().path()).unwrap().flatten();
    files.map(|entry| entry.path()).filter(|path| path.is_file()).any(|path| has(&path))
}

on_both!(a_cold_start_without_the_provider_serves_the_stores_copy_and_marks_it);

fn a_cold_start_without_the_provider_serves_the_stores_copy_and_marks_it(backend: &str) {
    let mut daemon = serving_on(TestStore::on(backend), MIRROR);
    eventually("copies", || copies(&daemon) == 2);
    assert!(!is_in_store(&daemon, VALUE.as_bytes()), "sealed");
    assert!(is_in_store(&daemon, b"secretfs store 1"), "the control");
    down(&daemon);
    restart(&mut daemon);
    sleep(Duration::from_secs(1));
    assert_eq!(daemon.read("a"), VALUE);
    let mark = stale(&daemon, "a").expect("marked");
    let age: u64 =
        mark.trim_start_matches("p: not confirmed for ").trim_end_matches(" s").parse().expect(&mark);
    assert!((1..600).contains(&age), "{mark}");
    daemon.await_log("mirror: the store's copy is served", 1);
    let status = stdout_of(&daemon.run(&["status"]));
    assert!(status.contains("served from memory or the store"), "{status}");
    let log = fs::read_to_string(daemon.folder().join("audit.log")).unwrap();
    assert!(log.lines().any(|line| line.contains("\"stale\":\"p: not confirmed")), "{log}");
    // It is back, with something else.
    fs::write(daemon.folder().join("value-a"), "changed").unwrap();
    up(&daemon);
    eventually("the change", || fs::read(daemon.path("a")).is_ok_and(|it| it == b"changed"));
    assert_eq!(stale(&daemon, "a"), None);
    let status = stdout_of(&daemon.run(&["status"]));
    assert!(!status.contains("served from memory") || stale(&daemon, "b").is_some(), "{status}");
}

#[test]
fn without_a_mirror_a_cold_start_without_the_provider_is_refused() {
    let mut daemon = serving("cache: {ttl: 200ms, max_stale: 1h}");
    sleep(Duration::from_millis(600));
    assert_eq!(copies(&daemon), 0);
    down(&daemon);
    restart(&mut daemon);
    assert_eq!(daemon.errno("a"), libc::EIO);
}

#[test]
fn a_daemon_that_runs_serves_the_copy_only_while_the_provider_fails_and_never_an_older_one() {
    let daemon = serving(MIRROR);
    eventually("copies", || copies(&daemon) == 2);
    sleep(Duration::from_millis(300));
    assert_eq!((daemon.read("a"), stale(&daemon, "a")), (VALUE.to_owned(), None));
    down(&daemon);
    sleep(Duration::from_millis(300));
    assert_eq!(daemon.read("a"), VALUE);
    assert!(stale(&daemon, "a").is_some());
    up(&daemon);
    // The store cannot take the next copy, and has only the one before.
    eventually("it is back", || daemon.read("a") == VALUE && stale(&daemon, "a").is_none());
    let lock = fs::File::open(daemon.store().path().join("sequence")).expect("the sequence");
    lock.lock().expect("a lock");
    fs::write(daemon.folder().join("value-a"), "newer").unwrap();
    eventually("the newer one", || daemon.read("a") == "newer");
    down(&daemon);
    sleep(Duration::from_millis(300));
    assert_eq!(daemon.errno("a"), libc::EIO, "no older one");
    assert_eq!(daemon.read("b"), "the other", "the control");
}

#[test]
fn what_is_gone_at_the_provider_is_gone_in_the_store() {
    let mut daemon = serving(MIRROR);
    eventually("copies", || copies(&daemon) == 2);
    fs::remove_file(daemon.folder().join("value-a")).unwrap();
    eventually("it is gone", || daemon.read("d") == "none");
    eventually("and its copy", || copies(&daemon) == 1);
    down(&daemon);
    restart(&mut daemon);
    assert_eq!((daemon.errno("a"), daemon.errno("d")), (libc::EIO, libc::EIO), "nobody knows what there is");
    assert_eq!(daemon.read("b"), "the other", "the control");
}

#[test]
fn another_place_has_no_copies_of_this_one() {
    let mut daemon = serving(MIRROR);
    eventually("copies", || copies(&daemon) == 2);
    down(&daemon);
    put_program(daemon.folder(), "elsewhere");
    daemon.config(&program("elsewhere", MIRROR));
    restart(&mut daemon);
    assert_eq!(daemon.errno("a"), libc::EIO);
    daemon.config(&program("program", MIRROR));
    restart(&mut daemon);
    assert_eq!(daemon.read("a"), VALUE, "the control");
    // It is switched off, and what is left is taken away.
    daemon.config(&program("program", "cache: {ttl: 200ms}"));
    restart(&mut daemon);
    assert_eq!(daemon.errno("a"), libc::EIO);
    stdout_of(&daemon.run(&["namespace", "rm", "mirror:p", "--yes"]));
    daemon.config(&program("program", MIRROR));
    restart(&mut daemon);
    assert_eq!(daemon.errno("a"), libc::EIO);
}

#[test]
fn a_copy_in_the_place_of_another_is_refused() {
    let mut daemon = serving(MIRROR);
    eventually("copies", || copies(&daemon) == 2);
    down(&daemon);
    restart(&mut daemon);
    assert_eq!(daemon.read("b"), "the other", "the control");
    daemon.stop();
    let database = rusqlite::Connection::open(daemon.store().path().join("store.db")).unwrap();
    let query = "SELECT name_mac, record FROM versions ORDER BY name_mac";
    let rows: Vec<(Vec<u8>, Vec<u8>)> = database
        .prepare(query)
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows.len(), 2, "nothing else is in this store");
    for (to, from) in [(0, 1), (1, 0)] {
        let swap = "UPDATE versions SET record = ?1 WHERE name_mac = ?2";
        database.execute(swap, (&rows[from].1, &rows[to].0)).unwrap();
    }
    drop(database);
    daemon.start_again();
    assert_eq!((daemon.errno("a"), daemon.errno("b")), (libc::EIO, libc::EIO));
    daemon.await_log("mirror: the store's copy cannot be read", 1);
    assert!(!daemon.run(&["store", "verify"]).status.success(), "it is found");
}

#[test]
fn copies_outlive_new_keys_of_the_store() {
    let mut daemon = serving(MIRROR);
    eventually("copies", || copies(&daemon) == 2);
    stdout_of(&daemon.run(&["key", "rotate", "--all"]));
    fs::write(daemon.folder().join("value-b"), "after it").unwrap();
    eventually("the change", || daemon.read("b") == "after it");
    sleep(Duration::from_millis(600));
    stdout_of(&daemon.run(&["store", "verify"]));
    down(&daemon);
    restart(&mut daemon);
    assert_eq!((daemon.read("a"), daemon.read("b")), (VALUE.to_owned(), "after it".to_owned()));
}

#[test]
fn a_copy_that_is_too_old_is_not_served() {
    let mut daemon = serving("cache: {ttl: 200ms, mirror: true, max_stale: 3s}");
    eventually("copies", || copies(&daemon) == 2);
    down(&daemon);
    restart(&mut daemon);
    sleep(Duration::from_secs(4));
    assert_eq!(daemon.errno("a"), libc::EIO);
}

/// Denied is an answer. The control is only down.
#[test]
fn whoever_is_denied_at_the_provider_gets_no_copy_either() {
    for is_denied in [false, true] {
        let etcd = Etcd::start();
        etcd.put("/secrets/a", VALUE);
        etcd.enable_auth("right", "/secrets/");
        let password = etcd.file("password", "right\n");
        let auth = format!("auth: {{username: app, password: 'file:{password}'}}");
        let etcd_at =
            format!("{{type: etcd, address: '{}', prefix: /secrets/, {auth}, {MIRROR}}}", etcd.url());
        let daemon = TestDaemon::new().template("a.tpl", "<< secret('p:a') >>").config(&config(&etcd_at));
        let mut daemon = daemon.start();
        assert_eq!(daemon.read("a"), VALUE);
        eventually("a copy", || copies(&daemon) == 1);
        // It is not served, even if it cannot be taken away yet.
        let lock = fs::File::open(daemon.store().path().join("sequence")).expect("the sequence");
        if is_denied {
            lock.lock().expect("a lock");
            let revoke = ["--user", "root:root", "user", "revoke-role", "app", "reader"];
            stdout_of(&etcd.ctl(&revoke, b""));
            // A watch says nothing of rights.
            assert!(!daemon.run(&["sync", "--now"]).status.success());
            assert_eq!(copies(&daemon), 1);
        }
        etcd.stop();
        eventually("it is down", || match is_denied {
            true => fs::read(daemon.path("a")).is_err(),
            false => daemon.read("a") == VALUE && stale(&daemon, "a").is_some(),
        });
        drop(lock);
        eventually("its copy goes", || copies(&daemon) == usize::from(!is_denied));
        restart(&mut daemon);
        assert_eq!(fs::read(daemon.path("a")).is_ok(), !is_denied, "{}", daemon.stderr());
        assert_eq!(stale(&daemon, "a").is_some(), !is_denied);
    }
}

/// Answers all with this status, in words that are not the server's.
fn stand_in(url: &str, status: Arc<AtomicU16>) {
    let listener = TcpListener::bind(url.trim_start_matches("http://")).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let status = status.load(Ordering::SeqCst);
            let head = format!("HTTP/1.1 {status} No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
            let _ = stream.write_all(head.as_bytes());
        }
    });
}

/// Whoever throttles has no time for us, and a proxy's 403 is no refusal of the server's: the copy is served, and
/// stays. The control is asked as somebody else.
#[test]
fn a_server_that_throttles_and_a_proxy_that_refuses_leave_copies_as_they_are() {
    let etcd = Etcd::start();
    etcd.put("/secrets/a", VALUE);
    etcd.enable_auth("right", "/secrets/");
    let password = etcd.file("password", "right\n");
    let as_user = |user: &str| {
        let auth = format!("auth: {{username: {user}, password: 'file:{password}'}}");
        config(&format!("{{type: etcd, address: '{}', prefix: /secrets/, {auth}, {MIRROR}}}", etcd.url()))
    };
    let daemon = TestDaemon::new().template("a.tpl", "<< secret('p:a') >>").config(&as_user("app"));
    let mut daemon = daemon.start();
    assert_eq!(daemon.read("a"), VALUE);
    eventually("a copy", || copies(&daemon) == 1);
    etcd.stop();
    let status = Arc::new(AtomicU16::new(429));
    stand_in(&etcd.url(), status.clone());
    for said in [429, 403] {
        status.store(said, Ordering::SeqCst);
        restart(&mut daemon);
        assert_eq!(daemon.read("a"), VALUE, "{said}: {}", daemon.stderr());
        assert!(stale(&daemon, "a").is_some(), "{said}");
        sleep(Duration::from_millis(700));
        assert_eq!(copies(&daemon), 1, "{said}");
    }
    let said = daemon.stderr();
    assert!(said.contains("the store's copy is served") && said.contains("secret=\"a\""), "{said}");
    daemon.config(&as_user("other"));
    restart(&mut daemon);
    assert_eq!(daemon.errno("a"), libc::EIO, "the control");
    daemon.config(&as_user("app"));
    restart(&mut daemon);
    assert_eq!(daemon.read("a"), VALUE);
}

#[test]
fn without_a_store_it_is_said_that_nothing_is_kept() {
    let daemon = TestDaemon::new();
    put_program(daemon.folder(), "program");
    fs::write(daemon.folder().join("value-a"), VALUE).unwrap();
    fs::remove_dir_all(daemon.store().path()).unwrap();
    let yaml = format!("{}secrets: {{from: p}}\n", program("program", MIRROR));
    let daemon = daemon.template("a.tpl", "<< secrets.a >>").config(&yaml).start();
    assert_eq!(daemon.read("a"), VALUE);
    daemon.await_log("mirror: nothing is kept", 1);
    let check = daemon.run(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout) + String::from_utf8_lossy(&check.stderr);
    assert!(!check.status.success() && said.contains("to keep copies in"), "{said}");
    let shown = stdout_of(&daemon.run(&["provider", "show", "p"]));
    assert!(shown.contains("cache.mirror") && shown.contains("copies in the store"), "{shown}");
}

/// And a mirror can be switched on while the daemon runs.
#[test]
fn a_command_uses_copies_and_writes_none() {
    let daemon = serving("cache: {ttl: 200ms}");
    let mirrored = program("program", MIRROR);
    daemon.config(&mirrored);
    let exec = || daemon.run(&["exec", "--env", "V=p:a", "--", "sh", "-c", "printf %s \"$V\""]);
    assert_eq!(stdout_of(&exec()), VALUE);
    assert_eq!(copies(&daemon), 0);
    down(&daemon);
    assert!(!exec().status.success(), "the control");
    up(&daemon);
    stdout_of(&daemon.run(&["reload"]));
    eventually("copies", || {
        daemon.read("a") == VALUE && daemon.read("b") == "the other" && copies(&daemon) == 2
    });
    down(&daemon);
    assert_eq!(stdout_of(&exec()), VALUE);
    let log = fs::read_to_string(daemon.folder().join("audit.log")).unwrap();
    let is_marked =
        |line: &str| line.contains("\"door\":\"exec\"") && line.contains("\"stale\":\"p: not confirmed");
    assert!(log.lines().any(is_marked), "{log}");
}

#[test]
fn sync_asks_anew_for_what_is_held_and_says_what_came_of_it() {
    let daemon = serving("cache: {ttl: 1h}");
    fs::write(daemon.folder().join("value-a"), "two").unwrap();
    sleep(Duration::from_millis(300));
    assert_eq!(daemon.read("a"), VALUE, "the control: nobody asks");
    let told = |args: &[&str]| -> Value {
        let said = daemon.run(&[&["sync", "--now", "--json"], args].concat());
        serde_json::from_slice(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    };
    let of = |said: &Value, name: &str| {
        let all = said["providers"].as_array().unwrap();
        all.iter().find(|it| it["name"] == name).cloned().unwrap_or_default()
    };
    let said = of(&told(&[]), "p");
    assert_eq!(
        (&said["asked"], &said["changed"], &said["failed"]),
        (&2.into(), &1.into(), &0.into()),
        "{said}"
    );
    assert_eq!(daemon.read("a"), "two", "the next open");
    let only = told(&["p"]);
    assert_eq!(only["providers"].as_array().unwrap().len(), 1);
    assert_eq!(of(&only, "p")["changed"], 0);
    let text = stdout_of(&daemon.run(&["sync", "--now", "p"]));
    assert_eq!(text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>(), ["p", "2", "0", "0"]);
    // What is known stays if there is no answer.
    down(&daemon);
    let failed = daemon.run(&["sync", "--now"]);
    let stderr = String::from_utf8_lossy(&failed.stderr);
    assert!(!failed.status.success() && stderr.contains("secretfs provider test p"), "{stderr}");
    assert_eq!(daemon.read("a"), "two");
    let lines = daemon.run(&["--json", "audit", "query", "--event", "sync"]);
    let lines: Vec<Value> =
        stdout_of(&lines).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().map(|line| (&line["outcome"], &line["detail"])).collect();
    let (first, failed) = (told[0], told[told.len() - 1]);
    let of_p = |what: &str| format!("p: 2 asked, {what} failed");
    assert_eq!(told.len(), 4, "one for each: {told:?}");
    assert!(first.0 == "ok" && first.1.as_str().unwrap().contains(&of_p("1 changed, 0")), "{told:?}");
    assert!(failed.0 == "failed" && failed.1.as_str().unwrap().contains(&of_p("0 changed, 2")), "{told:?}");
    let who = (&lines[0]["uid"], lines[0]["exe"].as_str().unwrap_or_default());
    assert!(*who.0 == 0 && who.1.ends_with("/secretfs") && lines[0]["pid"] != daemon.pid(), "{:?}", lines[0]);
    for (args, says) in [(&["sync", "--now", "q"][..], "no provider `q`"), (&["sync"], "--now")] {
        let refused = daemon.run(args);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(says), "{said}");
    }
}
