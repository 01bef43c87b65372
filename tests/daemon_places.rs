//! Places that a running daemon loses: each costs its own mount and no other, is told, and comes
//! back by itself.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Daemon, Manager, TestDaemon, eventually, stdout_of, tool};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;

const TWO: &str = "mounts:\n- {at: mnt, templates: templates}\n- {at: more, templates: others}\n";

/// `f` at `mnt`, `g` at `more`.
fn two_mounts() -> TestDaemon {
    let daemon = TestDaemon::new().secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n").config(TWO);
    for folder in ["more", "others"] {
        fs::create_dir(daemon.folder().join(folder)).unwrap();
    }
    fs::write(daemon.folder().join("others/g.tpl"), "g=<< secrets.k >>\n").unwrap();
    daemon
}

fn mount_foreign(at: &Path) {
    mount(Some("foreign"), at, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
}

fn next_worker(daemon: &Daemon, number: usize) {
    daemon.kill_worker();
    daemon.await_log("the worker serves", number);
}

fn other_mount(daemon: &Daemon) -> Option<String> {
    fs::read_to_string(daemon.folder().join("more/g")).ok()
}

fn ask(daemon: &Daemon, route: &str) -> String {
    let mut curl = Command::new(tool("curl"));
    curl.args(["-sS", "--unix-socket"]).arg(daemon.folder().join("run/control.sock"));
    stdout_of(&curl.arg(format!("http://secretfs{route}")).output().unwrap())
}

/// What is told of it: by `status`, to who asks whether all is ready, and as a figure.
#[track_caller]
fn tells(daemon: &Daemon, problem: &str) {
    let status = daemon.run(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(said.contains("not ready: the mount ") && said.contains(problem), "{said}");
    let ready = ask(daemon, "/readyz");
    assert!(ready.contains("\"ready\":false") && ready.contains(problem), "{ready}");
    assert_eq!(ask(daemon, "/healthz"), "ok\n");
    assert!(ask(daemon, "/metrics").contains("secretfs_mounts_lost 1\n"));
}

#[track_caller]
fn recovers(daemon: &Daemon) {
    let start = Instant::now();
    let text = eventually("the file", || fs::read_to_string(daemon.path("f")).ok());
    assert_eq!(text, "k=v1\n");
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert!(ask(daemon, "/readyz").contains("\"ready\":true"), "{}", ask(daemon, "/readyz"));
    assert!(ask(daemon, "/metrics").contains("secretfs_mounts_lost 0\n"));
    assert_eq!(daemon.mounts().len(), 2);
}

/// It was taken away, and somebody has used the folder meanwhile.
#[test]
fn a_place_that_is_taken_costs_its_own_mount() {
    let mut daemon = two_mounts().start();
    let at = daemon.path("");
    umount2(&at, MntFlags::empty()).unwrap();
    fs::write(daemon.path("precious"), "x").unwrap();
    next_worker(&daemon, 2);
    assert_eq!(other_mount(&daemon).as_deref(), Some("g=v1\n"));
    tells(&daemon, "is not empty");
    assert_eq!(daemon.stderr().matches("mount_lost").count(), 1, "{}", daemon.stderr());
    // It stands in the way of nothing else.
    daemon.config(&TWO.replace("others}", "others, mode: \"0444\"}"));
    stdout_of(&daemon.run(&["reload"]));
    assert_eq!(other_mount(&daemon).as_deref(), Some("g=v1\n"));
    daemon.signal(Signal::SIGUSR2);
    daemon.await_log("the worker serves", 3);
    tells(&daemon, "is not empty");
    fs::remove_file(daemon.path("precious")).unwrap();
    recovers(&daemon);
    assert!(daemon.stderr().contains("mount_restored"), "{}", daemon.stderr());
    assert!(daemon.stop().success());
    assert!(daemon.mounts().is_empty());
}

/// What is over it is nobody's business of ours: who has a file of it open goes on below.
#[test]
fn a_foreign_mount_over_ours_costs_no_successor_anything() {
    let daemon = two_mounts().start();
    let open = fs::File::open(daemon.path("f")).unwrap();
    mount_foreign(&daemon.path(""));
    fs::write(daemon.path("precious"), "x").unwrap();
    next_worker(&daemon, 2);
    assert_eq!(other_mount(&daemon).as_deref(), Some("g=v1\n"));
    tells(&daemon, "something else is mounted over it");
    assert!(daemon.path("precious").exists());
    assert_eq!(std::io::read_to_string(open).unwrap(), "k=v1\n");
    umount2(&daemon.path(""), MntFlags::empty()).unwrap();
    recovers(&daemon);
}

/// Its templates are gone, say with their disk. An empty folder would look like a config of
/// defaults, so the mount stays, dead.
#[test]
fn templates_that_are_gone_cost_their_own_mount() {
    let daemon = two_mounts().start();
    let (templates, away) = (daemon.folder().join("templates"), daemon.folder().join("away"));
    fs::rename(&templates, &away).unwrap();
    next_worker(&daemon, 2);
    assert_eq!(other_mount(&daemon).as_deref(), Some("g=v1\n"));
    assert_eq!(daemon.errno("f"), libc::ENOTCONN);
    tells(&daemon, "templates");
    fs::rename(&away, &templates).unwrap();
    recovers(&daemon);
}

/// A mount that is new must be had: else the config of before goes on in full.
#[test]
fn a_new_place_that_cannot_be_had_leaves_the_old_config() {
    let daemon = two_mounts().start();
    fs::create_dir_all(daemon.folder().join("full/x")).unwrap();
    daemon.config(&format!("{TWO}- {{at: full, templates: templates}}\n"));
    next_worker(&daemon, 2);
    assert_eq!((daemon.read("f").as_str(), other_mount(&daemon).as_deref()), ("k=v1\n", Some("g=v1\n")));
    let said = String::from_utf8_lossy(&daemon.run(&["status"]).stdout).into_owned();
    assert!(said.contains("the old config stays") && said.contains("is not empty"), "{said}");
}

/// Nobody can look whether it answers, so nobody waits for that.
#[test]
fn a_mount_that_is_covered_before_all_is_ready_holds_nobody_up() {
    let daemon = two_mounts().config(&format!("{TWO}ready: [late]\n"));
    let manager = Manager::new();
    let daemon = daemon.env("NOTIFY_SOCKET", &manager.socket().display().to_string()).start_unready();
    mount_foreign(&daemon.path(""));
    daemon.store().set("late", "x");
    eventually("readiness", || (manager.count("READY=1") > 0).then_some(()));
    assert_eq!(other_mount(&daemon).as_deref(), Some("g=v1\n"));
    tells(&daemon, "something else is mounted over it");
    umount2(&daemon.path(""), MntFlags::empty()).unwrap();
}

/// Somebody wanted it so: it stays away until it is asked for again, and that is told.
#[test]
fn a_mount_that_is_taken_away_is_told_until_a_reload_makes_it_again() {
    let daemon = two_mounts().start();
    assert_eq!(other_mount(&daemon).as_deref(), Some("g=v1\n"));
    stdout_of(&daemon.run(&["unmount", "more"]));
    eventually("its end", || other_mount(&daemon).is_none().then_some(()));
    eventually("that it is told", || ask(&daemon, "/readyz").contains("taken away").then_some(()));
    tells(&daemon, "`secretfs reload` mounts it again");
    stdout_of(&daemon.run(&["reload"]));
    assert_eq!(other_mount(&daemon).as_deref(), Some("g=v1\n"));
    assert_eq!(daemon.run(&["status"]).status.code(), Some(0));
}

#[test]
fn a_mount_that_is_moved_is_told() {
    let config = TWO.replace("at: more", "at: above/more");
    let daemon = two_mounts().config(&config);
    fs::create_dir_all(daemon.folder().join("above/more")).unwrap();
    let daemon = daemon.start();
    fs::rename(daemon.folder().join("above"), daemon.folder().join("elsewhere")).unwrap();
    tells(&daemon, "elsewhere/more now");
    fs::rename(daemon.folder().join("elsewhere"), daemon.folder().join("above")).unwrap();
    assert_eq!(daemon.run(&["status"]).status.code(), Some(0));
}
