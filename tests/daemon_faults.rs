//! What goes wrong around a running daemon: its store is replaced, its disk is full or
//! read-only. Files that are not concerned are served, and it comes back by itself.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use common::{TestDaemon, TestStore, eventually, stdout_of, tool};

/// A small disk in memory that has the store, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// In place of a store that has nothing in it yet.
    fn of(store: &TestStore) -> Self {
        fs::remove_dir_all(store.path()).unwrap();
        fs::create_dir(store.path()).unwrap();
        let mut mount = Command::new(tool("mount"));
        let options = ["-t", "tmpfs", "-o", "size=600k,mode=700", "x"];
        stdout_of(&mount.args(options).arg(store.path()).output().unwrap());
        let disk = Self(store.path());
        stdout_of(&store.run(&["init"]));
        disk
    }

    fn remount(&self, how: &str) {
        let mut mount = Command::new(tool("mount"));
        stdout_of(&mount.args(["-o", &format!("remount,{how}")]).arg(&self.0).output().unwrap());
    }

    /// Answers with what has to be removed.
    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = File::create(&filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// It goes on with the store that it has opened, and then with the one that is there.
#[test]
fn a_store_that_was_replaced_is_noticed() {
    let daemon = TestDaemon::new().secret("k", "v1").template("f.tpl", "<< secrets.k >>");
    let daemon = daemon.template("g.tpl", "without a secret").start();
    assert_eq!(daemon.read("f"), "v1");
    fs::rename(daemon.store().path(), daemon.folder().join("away")).unwrap();
    daemon.await_log("there is no store at", 1);
    assert_eq!(daemon.read("f"), "v1");
    stdout_of(&daemon.store().run(&["init"]));
    eventually("the other store", || fs::read(daemon.path("f")).err());
    assert_eq!(daemon.errno("f"), libc::ENOKEY);
    assert!(daemon.stderr().contains("errno=ENOKEY"), "{}", daemon.stderr());
    assert_eq!(daemon.read("g"), "without a secret");
    daemon.store().set("k", "v2");
    assert_eq!(daemon.read("f"), "v2");
}

/// What is served needs no room on a disk, nor does a take-over.
#[test]
fn a_full_disk_hinders_writers_alone() {
    let daemon = TestDaemon::new();
    let disk = SmallDisk::of(daemon.store());
    let daemon = daemon.secret("k", "v1").template("f.tpl", "<< secrets.k >>").start();
    let filler = disk.fill();
    let set = |value: &str| daemon.store().run_with(&["set", "k"], value);
    assert_eq!(set("v2").status.code(), Some(74));
    assert_eq!(daemon.read("f"), "v1");
    daemon.kill_worker();
    daemon.await_log("the worker serves", 2);
    daemon.template("g.tpl", "g<< secrets.k >>");
    assert_eq!((daemon.read("f"), daemon.read("g")), ("v1".to_owned(), "gv1".to_owned()));
    fs::remove_file(filler).unwrap();
    assert!(set("v2").status.success());
    assert_eq!((daemon.read("f"), daemon.read("g")), ("v2".to_owned(), "gv2".to_owned()));
}

#[test]
fn a_read_only_disk_is_served() {
    let daemon = TestDaemon::new();
    let disk = SmallDisk::of(daemon.store());
    let daemon = daemon.secret("k", "v1").template("f.tpl", "<< secrets.k >>");
    disk.remount("ro");
    let daemon = daemon.start();
    assert_eq!(daemon.read("f"), "v1");
    daemon.kill_worker();
    daemon.await_log("the worker serves", 2);
    assert_eq!(daemon.read("f"), "v1");
    assert_eq!(daemon.store().run_with(&["set", "k"], "v2").status.code(), Some(73));
    disk.remount("rw");
    daemon.store().set("k", "v2");
    assert_eq!(daemon.read("f"), "v2");
}
