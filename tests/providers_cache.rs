//! What is kept of a provider's answers, and for how long, through the real mount: the program
//! counts its calls, so that each claim has its figure, and the control beside it another.

mod common;

use std::fs;
use std::sync::Barrier;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::programmed::{Programmed, aside, attribute, calls, eventually};

const COUNTED: &str =
    "echo \"$1\" >> calls; [ -e down ] && exit 1; [ -e slow ] && sleep 3; [ -e none ] && exit 44; cat value";

fn counted(settings: &str) -> Programmed {
    let programmed = Programmed::new(COUNTED).settings(settings).file("f", "<< secret('p:a') >>");
    fs::write(programmed.mount.folder().join("value"), "one").unwrap();
    programmed
}

#[test]
fn within_its_time_nobody_asks_and_after_it_the_next_open_has_the_change() {
    let mount = counted("cache: {ttl: 700ms}").start();
    for _ in 0..200 {
        assert_eq!(mount.read("f"), "one");
    }
    // A reader may have come a moment too late.
    assert!(calls(&mount) <= 2, "{} calls", calls(&mount));
    fs::write(aside(&mount, "value"), "two").unwrap();
    sleep(Duration::from_millis(700));
    assert_eq!(mount.read("f"), "two", "the first open after its time");
}

#[test]
fn one_file_that_learns_of_a_change_tells_the_others() {
    let mount = counted("cache: {ttl: 3s}").file("g", "<< secret('p:a') >>!").start();
    assert_eq!((mount.read("f"), mount.read("g")), ("one".into(), "one!".into()));
    let asked = calls(&mount);
    assert_eq!(asked, 1, "one secret, two files");
    fs::write(aside(&mount, "value"), "two").unwrap();
    eventually("f has it", || mount.read("f") == "two");
    assert_eq!(mount.read("g"), "two!");
    assert_eq!(calls(&mount), 2);
}

/// The first of its answers is too old when the last is there, each time anew. The control is a file with one
/// secret of the same kind.
#[test]
fn what_takes_longer_to_ask_for_than_it_is_good_is_served_all_the_same() {
    let slowly = Programmed::new("echo x >> calls; sleep 1.1; cat value")
        .settings("timeout: 20s, concurrency: 1, cache: {ttl: 500ms}")
        .mounts("{at: mnt, templates: templates, deadline: 30s}")
        .file("one", "<< secret('p:a') >>")
        .file("three", "<< secret('p:b') >><< secret('p:c') >><< secret('p:d') >>");
    fs::write(slowly.mount.folder().join("value"), "1").unwrap();
    let mount = slowly.start();
    assert_eq!(mount.read("three"), "111");
    assert!(calls(&mount) <= 4, "asked once, and perhaps looked after since: {} calls", calls(&mount));
    for _ in 0..2 {
        assert_eq!((mount.read("one"), mount.read("three")), ("1".into(), "111".into()));
    }
}

#[test]
fn that_there_is_none_is_kept_for_a_moment() {
    let mount =
        counted("cache: {negative_ttl: 1s}").file("d", "<< secret('p:a') | default('none') >>").start();
    fs::write(aside(&mount, "none"), "").unwrap();
    for _ in 0..20 {
        assert_eq!(mount.read("d"), "none");
    }
    assert!(calls(&mount) <= 2, "{} calls", calls(&mount));
    fs::remove_file(aside(&mount, "none")).unwrap();
    sleep(Duration::from_secs(1));
    assert_eq!(mount.read("d"), "one");
}

#[test]
fn a_name_that_is_not_to_be_kept_is_asked_for_each_time() {
    let mount = counted("cache: {ttl: 1h, no_cache: [a]}").file("kept", "<< secret('p:b') >>").start();
    for number in 0..5 {
        fs::write(aside(&mount, "value"), number.to_string()).unwrap();
        assert_eq!(mount.read("f"), number.to_string());
        assert_eq!(mount.read("kept"), "0", "the control");
        sleep(Duration::from_millis(150));
    }
}

#[test]
fn without_max_stale_an_old_answer_is_never_served() {
    let mount = counted("cache: {ttl: 300ms}").start();
    assert_eq!(mount.read("f"), "one");
    fs::write(aside(&mount, "down"), "").unwrap();
    sleep(Duration::from_millis(300));
    assert_eq!(mount.errno("f"), libc::EIO);
    assert_eq!(attribute(&mount, "f", "stale"), None);
}

#[test]
fn with_max_stale_an_old_answer_is_served_and_marked_until_the_provider_answers() {
    let mount = counted("cache: {ttl: 300ms, max_stale: 4s}").start();
    assert_eq!(mount.read("f"), "one");
    assert_eq!(attribute(&mount, "f", "stale"), None);
    fs::write(aside(&mount, "down"), "").unwrap();
    fs::write(aside(&mount, "value"), "two").unwrap();
    sleep(Duration::from_millis(300));
    assert_eq!(mount.read("f"), "one");
    let mark = attribute(&mount, "f", "stale").expect("marked");
    assert!(mark.starts_with("p: not confirmed for "), "{mark}");
    mount.await_log("stale: an old answer is served", 1);
    fs::remove_file(aside(&mount, "down")).unwrap();
    eventually("the change", || mount.read("f") == "two");
    assert_eq!(attribute(&mount, "f", "stale"), None);
    // And not for ever.
    fs::write(aside(&mount, "down"), "").unwrap();
    eventually("its end", || {
        fs::read(mount.path("f")).is_err_and(|error| error.raw_os_error() == Some(libc::EIO))
    });
}

#[test]
fn a_provider_that_lets_wait_costs_a_moment_where_an_old_answer_may_be_served() {
    let mount = counted("timeout: 4s, cache: {ttl: 300ms, max_stale: 1m}").start();
    assert_eq!(mount.read("f"), "one");
    fs::write(aside(&mount, "slow"), "").unwrap();
    fs::write(aside(&mount, "value"), "two").unwrap();
    sleep(Duration::from_millis(300));
    let start = Instant::now();
    assert_eq!(mount.read("f"), "one");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(mount.read("f"), "one");
    assert!(start.elapsed() < Duration::from_millis(200), "known to be slow: {:?}", start.elapsed());
    eventually("the change", || mount.read("f") == "two");
}

#[test]
fn what_is_kept_is_bounded() {
    let script = "echo x >> calls; head -c 20000 /dev/zero | tr '\\0' a";
    let mut programmed = Programmed::new(script).settings("cache: {ttl: 1h, size: 64KiB}");
    for number in 0..10 {
        programmed = programmed.file(&format!("f{number}"), &format!("<< secret('p:{number}') >>"));
    }
    // One more file for each secret, so that its snapshot is not what answers.
    for number in 0..10 {
        programmed = programmed.file(&format!("g{number}"), &format!("<< secret('p:{number}') >>!"));
    }
    let mount = programmed.start();
    for number in (0..10).rev() {
        assert_eq!(mount.read(&format!("f{number}")).len(), 20_000);
    }
    assert_eq!(calls(&mount), 10);
    for number in 0..3 {
        mount.read(&format!("g{number}"));
    }
    assert_eq!(calls(&mount), 10, "those that were used last are kept");
    mount.read("g9");
    assert_eq!(calls(&mount), 11, "the first is not");
}

/// Readers of one slow secret that nobody has asked for yet: one question. The control asks with
/// nothing kept, one after the other.
#[test]
fn many_cold_readers_are_one_question() {
    let readers = if common::long() { 10_000 } else { 1_000 };
    let (right, asked) = read_at_once(readers);
    println!("{readers} cold readers of one slow secret: {right} right answers, {asked} upstream calls");
    assert_eq!((right, asked), (readers, 1));
    let mount = counted("cache: {no_cache: [a]}").start();
    for _ in 0..5 {
        mount.read("f");
        sleep(Duration::from_millis(120));
    }
    assert!(calls(&mount) >= 5, "the control: {} calls", calls(&mount));
}

fn read_at_once(readers: usize) -> (usize, usize) {
    let mount = Programmed::new("echo x >> calls; sleep 2; cat value").file("f", "<< secret('p:a') >>");
    fs::write(mount.mount.folder().join("value"), "hunter2").unwrap();
    let mount =
        mount.settings("timeout: 20s").mounts("{at: mnt, templates: templates, deadline: 30s}").start();
    let (path, barrier) = (mount.path("f"), Barrier::new(readers));
    let right = std::thread::scope(|scope| {
        let read = || {
            barrier.wait();
            fs::read(&path).is_ok_and(|bytes| bytes == b"hunter2")
        };
        let spawn =
            |_| std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, read).expect("a thread");
        let threads: Vec<_> = (0..readers).map(spawn).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
    });
    (right, calls(&mount))
}
