//! A mount outlives the process that serves it: killed at any moment, it is gone on with by the
//! next, and no reader notices more than a pause. Through real mounts, real processes, SIGKILL.

#[path = "../common/mod.rs"]
mod common;
mod readers;
mod server;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use readers::Way;
use secretfs::ledger::{Kind, Ledger};
use server::{Held, text};

#[test]
#[ignore = "the server of the other tests, which run it in processes of their own"]
fn serve() {
    server::serve();
}

fn held() -> Held {
    Held::new(Some(&Ledger::create().expect("a ledger")), 8)
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
    race(&held(), Duration::from_secs(if common::long() { 120 } else { 8 }));
}

/// The ledger of a user who cannot mount: its pages are locked.
#[test]
fn nobody_fails_while_servers_of_a_user_are_killed() {
    let ledger = thread::spawn(|| {
        // Of this thread alone; the rights of the others stay.
        // SAFETY: takes three integers.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, -1, common::USER, -1) };
        assert_eq!(changed, 0);
        Ledger::create().expect("a ledger")
    });
    let ledger = ledger.join().unwrap();
    race(&Held::new(Some(&ledger), 8).by(common::USER), Duration::from_secs(3));
}

fn race(held: &Held, time: Duration) {
    let mut server = held.serve("first");
    let bound = held.folder().join("bound");
    File::create(&bound).unwrap();
    let bind = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(&held.path("f7")), &bound, None::<&str>, bind, None::<&str>).unwrap();
    let ways = [Way::Read, Way::Mapped, Way::Sendfile, Way::Offsets, Way::Listed, Way::Slow, Way::Bound];
    let mut kills = 0;
    let tally = readers::race(held, &bound, &ways, || {
        let end = Instant::now() + time;
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(20 + kills * 7 % 100));
            let next = held.prepare("next");
            server.end();
            server = next.go().expect("it goes on");
            kills += 1;
        }
    });
    let _ = nix::mount::umount2(&bound, nix::mount::MntFlags::MNT_DETACH);
    println!("{kills} kills; {tally}");
    assert!(kills > 5 && tally.reads() > 200, "too little happened to mean anything");
    assert_eq!(tally.faults(), Vec::<String>::new());
}

/// Readers are killed as well, some of them while nobody serves.
#[test]
fn kills_leave_nothing_behind() {
    let kills = if common::long() { 300 } else { 30 };
    let held = held();
    let mut server = held.serve("first");
    let mut most = 0;
    for round in 0..kills {
        let mut readers = loops(&held);
        thread::sleep(Duration::from_millis(30));
        server.end();
        kill(&mut readers[0]);
        held.turn();
        server = held.serve("next");
        readers[1..].iter_mut().for_each(kill);
        if round > kills / 3 {
            most = most.max(held.kept_bytes());
        } else {
            most = held.kept_bytes().max(1 << 20);
        }
    }
    // What the kernel has forgotten by itself is asked for at the start and each second.
    thread::sleep(Duration::from_millis(2_500));
    server.end();
    let left = held.ledger();
    let counts = [Kind::Handle, Kind::Snapshot, Kind::Node].map(|kind| left.take(kind).len());
    println!("left after {kills} kills: {counts:?} handles, snapshots, nodes; {most} bytes at most");
    assert_eq!(counts[0], 0, "nobody has a file open");
    assert!(counts[1] <= 9 && counts[2] <= 3 * 9, "{counts:?}");
    assert!(most <= 1 << 20, "{most} bytes");
}

/// With what it has started.
fn kill(reader: &mut Child) {
    killpg(Pid::from_raw(reader.id() as i32), Signal::SIGKILL).unwrap();
    reader.wait().unwrap();
}

/// Programs that read for ever.
fn loops(held: &Held) -> Vec<Child> {
    let reader = |file: usize| {
        let script = format!("while cat f{file} slow f{file}; do :; done");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(held.path("")).process_group(0);
        shell.stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().expect("a shell")
    };
    (0..4).map(reader).collect()
}

#[test]
fn a_thousand_open_files_go_on_and_are_closed() {
    let held = held();
    let first = held.serve("first");
    let mut files = Vec::new();
    for number in 1..=10 {
        files
            .extend((0..100).map(|file| (number, File::open(held.path(&format!("f{}", file % 8))).unwrap())));
        held.turn();
    }
    first.kill();
    let second = held.serve("next");
    for (number, file) in &mut files {
        let mut whole = String::new();
        file.read_to_string(&mut whole).unwrap();
        assert_eq!(whole, text(*number));
    }
    drop(files);
    // RELEASE has no answer that anybody waits for.
    thread::sleep(Duration::from_millis(300));
    second.kill();
    assert_eq!(held.ledger().take(Kind::Handle).len(), 0);
}

#[test]
fn what_its_readers_may_not_read_any_more_is_not_read_on() {
    let held = held();
    let first = held.serve("first");
    let open = ["f0", "f1"].map(|name| File::open(held.path(name)).unwrap());
    first.kill();
    fs::remove_file(held.folder().join("templates/f0.tpl")).unwrap();
    let _next = held.serve("next");
    let read = |file: &File| file.read_at(&mut [0; 3], 0).map_err(|error| error.raw_os_error().unwrap());
    assert_eq!(read(&open[0]), Err(libc::EACCES), "there is no such file any more");
    assert_eq!(read(&open[1]), Ok(3));
}

/// The control of the slow rendering: who takes over and does not ask for it gets nothing of what
/// was read and not answered, and its reader waits until the mount is ended.
#[test]
fn nothing_comes_again_unless_it_is_asked_for() {
    let held = held();
    let first = held.serve("first");
    let path = held.path("slow");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(fs::read_to_string(path)));
    thread::sleep(server::SLOW / 2);
    first.kill();
    let mut device = [PollFd::new(held.device().as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut device, 500u16).unwrap(), 0, "nothing comes");
    assert!(told.try_recv().is_err());
    held.abort();
    assert!(told.recv_timeout(Duration::from_secs(5)).expect("an abort frees who waits").is_err());
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
