//! A mount outlives the process that serves it: killed at any moment, it is gone on with by the
//! next, and no reader notices more than a pause. Through real mounts, real processes, SIGKILL.

#[path = "../common/mod.rs"]
mod common;
mod readers;
mod server;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use readers::Way;
use secretfs::ledger::Ledger;
use server::{Held, text};

#[test]
#[ignore = "the server of the other tests, which run it in processes of their own"]
fn serve() {
    server::serve();
}

fn held() -> Held {
    Held::new(Some(Ledger::create().expect("a ledger")), 8)
}

#[test]
fn open_files_go_on_with_their_bytes() {
    let held = held();
    let first = held.serve("first");
    let mut old = File::open(held.path("f0")).unwrap();
    let before = old.metadata().unwrap();
    let mut folder = fs::read_dir(held.path("")).unwrap();
    folder.next().unwrap().unwrap();
    let mut part = [0; 3];
    old.read_exact_at(&mut part, 0).unwrap();
    first.kill();
    held.turn();
    let _next = held.serve("next");
    let mut whole = String::new();
    old.read_to_string(&mut whole).unwrap();
    assert_eq!(whole, text(1), "an open file keeps its bytes over a rotation");
    assert_eq!(fs::read_to_string(held.path("f0")).unwrap(), text(2), "a new open has the new ones");
    assert_eq!(fs::read_to_string(held.path("below/f")).unwrap(), text(2));
    let after = old.metadata().unwrap();
    assert_eq!((after.ino(), after.size()), (before.ino(), before.size()));
    old.seek(SeekFrom::Start(0)).unwrap();
    assert_eq!(old.read(&mut part).unwrap(), 3);
    assert!(folder.all(|entry| entry.is_ok()), "an open folder can be listed on");
}

#[test]
fn the_same_content_keeps_its_node() {
    let held = held();
    let first = held.serve("first");
    let of = |name: &str| fs::metadata(held.path(name)).unwrap();
    let before = (of("f0").ino(), of("below").ino(), of("f0").mtime());
    let open = File::open(held.path("f1")).unwrap();
    first.kill();
    let second = held.serve("next");
    assert_eq!((of("f0").ino(), of("below").ino(), of("f0").mtime()), before);
    assert_eq!(of("f1").ino(), open.metadata().unwrap().ino());
    second.kill();
    held.turn();
    let _third = held.serve("next");
    assert_ne!(of("f0").ino(), before.0, "another content is another node");
    assert_eq!(of("below").ino(), before.1);
}

#[test]
fn an_open_that_waits_for_a_slow_rendering_is_answered_by_the_next_process() {
    let held = held();
    let first = held.serve("first");
    let path = held.path("slow");
    let reader = thread::spawn(move || fs::read_to_string(path));
    thread::sleep(server::SLOW / 2);
    first.kill();
    let _next = held.serve("next");
    assert_eq!(reader.join().unwrap().unwrap(), text(1));
}

/// Killed as fast as processes can be started, under readers of every kind, while the number turns.
#[test]
fn nobody_fails_while_servers_are_killed() {
    let time = Duration::from_secs(if common::long() { 120 } else { 8 });
    let held = held();
    let mut server = held.serve("first");
    let bound = held.folder().join("bound");
    File::create(&bound).unwrap();
    let bind = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(&held.path("f7")), &bound, None::<&str>, bind, None::<&str>).unwrap();
    let ways = [Way::Read, Way::Mapped, Way::Sendfile, Way::Offsets, Way::Listed, Way::Slow, Way::Bound];
    let mut kills = 0;
    let tally = readers::race(&held, &bound, &ways, || {
        let end = Instant::now() + time;
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(20 + kills * 7 % 100));
            server.end();
            server = held.serve("next");
            kills += 1;
        }
    });
    let _ = nix::mount::umount2(&bound, nix::mount::MntFlags::MNT_DETACH);
    println!("{kills} kills; {tally}");
    assert!(kills > 10 && tally.reads() > 200, "too little happened to mean anything");
    assert_eq!(tally.faults(), Vec::<String>::new());
}

/// The control: without its ledger the next process knows no open file.
#[test]
fn without_a_ledger_nothing_can_be_resumed() {
    let held = Held::new(None, 1);
    let first = held.serve("first");
    let old = File::open(held.path("f0")).unwrap();
    first.kill();
    assert!(held.try_serve("next").is_none(), "there is nothing to go on with");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(old.read_at(&mut [0; 3], 0)));
    assert!(told.recv_timeout(Duration::from_millis(300)).is_err(), "nobody serves it");
    held.abort();
    let outcome = told.recv_timeout(Duration::from_secs(5)).expect("an abort frees who waits");
    assert!(outcome.is_err());
}
