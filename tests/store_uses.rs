//! How often a secret was used, and when last: counted by every door, on both backends, true after a
//! sudden death to within the last few seconds, and never in the way.

mod common;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Mounted, TestDaemon, TestMount, TestStore, eventually, stdout_of, tool};
use nix::sys::signal::Signal;

/// As often is it written down while somebody serves.
const NOTED: Duration = Duration::from_secs(5);

fn used(store: &TestStore, name: &str) -> u64 {
    let shown = stdout_of(&store.run(&["show", name, "--json"]));
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["use_count"] == 0, shown["last_used_at"].is_null(), "{shown}");
    shown["use_count"].as_u64().unwrap()
}

fn mounted(store: TestStore) -> Mounted {
    let mount = TestMount::on(store).secret("a", "one").secret("b", "two").secret("c", "three");
    mount.template("ab.conf.tpl", "<< secrets.a >> << secrets.b >> << secrets[\"a\"] >>\n").start()
}

#[test]
fn every_door_counts_and_nothing_else_does() {
    for backend in ["sqlite", "file"] {
        let store = TestStore::on(backend);
        store.set("a", "one").set("b", "two");
        assert_eq!(stdout_of(&store.run(&["get", "a"])), "one");
        assert_eq!((used(&store, "a"), used(&store, "b")), (1, 0), "get, {backend}");
        let exec = [
            "exec",
            "--env",
            "A=a",
            "--env",
            "AGAIN=a",
            "--env",
            "B=b",
            "--",
            "/bin/sh",
            "-c",
            "printf $A$B",
        ];
        assert_eq!(stdout_of(&store.run(&exec)), "onetwo");
        assert_eq!((used(&store, "a"), used(&store, "b")), (2, 1), "exec, {backend}");
        fs::write(store.folder().join("t.tpl"), "<< secrets.a >> << secrets.a.version >>\n").unwrap();
        assert_eq!(stdout_of(&store.run(&["render", "t.tpl"])), "one 1\n");
        assert_eq!((used(&store, "a"), used(&store, "b")), (3, 1), "render, {backend}");
        // Nobody gets a value by these, nor by what fails.
        let config = "profiles: {web: {env: {A: a}}}\n";
        fs::write(store.folder().join("secretfs.yaml"), config).unwrap();
        for args in [&["check"][..], &["list"], &["versions", "a"], &["exists", "a"], &["show", "a"]] {
            stdout_of(&store.run(args));
        }
        assert!(!store.run(&["get", "a.nofield"]).status.success());
        assert!(!store.run(&["exec", "--env", "A=a", "--env", "N=none", "--", "true"]).status.success());
        let file = format!("{}=t.tpl", store.folder().join("covered").display());
        stdout_of(&store.run(&["exec", "--file", &file, "--", "true"]));
        assert_eq!((used(&store, "a"), used(&store, "b")), (3, 1), "nobody was given anything, {backend}");
        // A new version is the same secret; a new secret of the same name is another one.
        store.set("a", "new");
        assert_eq!(used(&store, "a"), 3);
        stdout_of(&store.run(&["rm", "a", "--yes"]));
        store.set("a", "new");
        assert_eq!((used(&store, "a"), used(&store, "b")), (0, 1));
        let mode = fs::metadata(store.path().join("uses")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
}

#[test]
fn an_open_is_one_use_of_each_secret_in_the_file() {
    let mut mounted = mounted(TestStore::new());
    let begin = jiff::Timestamp::now();
    for _ in 0..20 {
        assert_eq!(mounted.read("ab.conf"), "one two one\n");
    }
    // To look at it is no use.
    for _ in 0..20 {
        fs::metadata(mounted.path("ab.conf")).unwrap();
    }
    assert!(mounted.stop().success());
    let store = mounted.store();
    let counts = ["a", "b", "c"].map(|name| used(store, name));
    assert_eq!(counts, [20, 20, 0], "written down at the orderly end");
    let listed = stdout_of(&store.run(&["list", "--json"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let last: jiff::Timestamp = listed[0]["last_used_at"].as_str().unwrap().parse().unwrap();
    assert!(last.as_millisecond() >= begin.as_millisecond() && last <= jiff::Timestamp::now(), "{last}");
    assert!(stdout_of(&store.run(&["show", "a"])).contains("used         20 times, last 20"));
    assert!(stdout_of(&store.run(&["show", "c"])).contains("used         never"));
}

#[test]
fn a_sudden_death_loses_what_was_not_written_down_yet_and_no_more() {
    for backend in ["sqlite", "file"] {
        let mut mounted = mounted(TestStore::on(backend));
        (0..7).for_each(|_| drop(mounted.read("ab.conf")));
        let begin = Instant::now();
        let written = eventually("the uses are written down", || {
            Some(used(mounted.store(), "a")).filter(|&count| count == 7)
        });
        assert!(begin.elapsed() < NOTED + Duration::from_secs(3), "{:?}", begin.elapsed());
        // Right after that there is time before the next: these are lost, and only these.
        (0..5).for_each(|_| drop(mounted.read("ab.conf")));
        mounted.abort();
        assert_eq!((written, used(mounted.store(), "a")), (7, 7), "{backend}");
        // What a death has torn in the middle is passed over, and the next goes on behind it.
        let uses = mounted.store().path().join("uses");
        let whole = fs::read(&uses).unwrap();
        fs::write(&uses, [&whole[..], &[7; 23]].concat()).unwrap();
        assert_eq!(used(mounted.store(), "a"), 7);
        stdout_of(&mounted.store().run(&["get", "a"]));
        assert_eq!(used(mounted.store(), "a"), 8);
    }
}

#[test]
fn a_daemon_counts_through_a_worker_that_is_killed() {
    let mut daemon = TestDaemon::new().secret("a", "one").template("a.conf.tpl", "<< secrets.a >>\n").start();
    (0..3).for_each(|_| drop(daemon.read("a.conf")));
    eventually("the uses are written down", || (used(daemon.store(), "a") == 3).then_some(()));
    daemon.kill_worker();
    (0..4).for_each(|_| drop(daemon.read("a.conf")));
    assert!(daemon.stop().success());
    assert_eq!(used(daemon.store(), "a"), 7, "the rest is written down at the end");
}

/// Who opens a file that somebody keeps open gets what that one has, be it of a process that is gone.
#[test]
fn an_older_version_that_is_given_once_more_is_counted_whoever_has_rendered_it() {
    for dies in [false, true] {
        let daemon = TestDaemon::new().secret("a", "one").secret("b", "two");
        let mut daemon = daemon.template("ab.conf.tpl", "<< secrets.a >> << secrets.b >>\n").start();
        let held = fs::File::open(daemon.path("ab.conf")).unwrap();
        eventually("the use is written down", || (used(daemon.store(), "a") == 1).then_some(()));
        if dies {
            daemon.kill_worker();
            daemon.await_log("the worker serves", 2);
        }
        daemon.store().set("a", "new");
        let again = format!("/proc/self/fd/{}", held.as_raw_fd());
        for _ in 0..3 {
            assert_eq!(fs::read_to_string(&again).unwrap(), "one two\n", "what the open one has");
        }
        assert_eq!(daemon.read("ab.conf"), "new two\n", "the control");
        drop(held);
        assert!(daemon.stop().success());
        assert_eq!(["a", "b"].map(|name| used(daemon.store(), name)), [5, 5], "worker killed: {dies}");
    }
}

/// Where nothing can be written, values come as ever.
#[test]
fn a_reader_who_cannot_write_counts_nothing_and_says_so_once() {
    let store = TestStore::new();
    store.set("a", "one");
    let (from, at) = (store.path(), store.folder().join("ro"));
    fs::create_dir(&at).unwrap();
    let mount = |args: &[&str]| {
        let done = Command::new(tool("mount")).args(args).arg(&at).status().unwrap();
        assert!(done.success(), "this test mounts: run it as root");
    };
    mount(&["--bind", from.to_str().unwrap()]);
    mount(&["-o", "remount,bind,ro"]);
    let yaml = format!("store: {}\nmounts: [{{at: mnt, templates: templates}}]\n", at.display());
    let here = at.display().to_string();
    let get = stdout_of(&store.run(&["get", "a", "--store", &here]));
    let mounting = TestMount::on(store).template("a.conf.tpl", "<< secrets.a >>\n").config(&yaml);
    let mut command = mounting.command_of(&["--config", "secretfs.yaml", "mount", "--store", &here]);
    fs::write(mounting.folder().join("secretfs.yaml"), &yaml).unwrap();
    let stderr = mounting.folder().join("stderr");
    let mut child = command.stderr(fs::File::create(&stderr).unwrap()).spawn().unwrap();
    let file = mounting.folder().join("mnt/a.conf");
    eventually("the mount is there", || fs::read_to_string(&file).ok().filter(|text| text == "one\n"));
    let told = || fs::read_to_string(&stderr).unwrap().matches("it is not counted").count();
    eventually("it is said", || (told() == 1).then_some(()));
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!((fs::read_to_string(&file).unwrap(), told()), ("one\n".to_owned(), 1));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    Command::new("umount").arg(&at).status().unwrap();
    assert_eq!((get.as_str(), used(mounting.store(), "a")), ("one", 0));
}
