//! A disk that does not answer any more: whoever waits for its line is refused in time, or served where
//! the line is not required; nobody else waits, and all goes on by itself when the disk does.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Mounted, TestMount, eventually, stdout_of, tool};
use crate::slow_disk::{LONG, SlowDisk};

/// What the page says, and what a machine with other work may add.
const BUDGET: Duration = Duration::from_millis(550);
const SLACK: Duration = Duration::from_millis(1_200);

fn mounted(required: bool) -> (SlowDisk, Mounted) {
    mounted_with(required, "SECRETFS_TEST_NOTHING")
}

fn mounted_with(required: bool, switch: &str) -> (SlowDisk, Mounted) {
    let config = format!(
        "mounts:\n- {{at: mnt, templates: templates}}\naudit: {{file: disk/audit.log, required: {required}}}\n"
    );
    let mount = TestMount::new().secret("pw", "hunter2").template("f.tpl", "<< secrets.pw >>\n");
    let mount = mount.template("g.tpl", "g << secrets.pw >>\n").config(&config).env(switch, "1");
    let disk = SlowDisk::mount(&mount.folder().join("disk"));
    (disk, mount.start())
}

/// The errno of an open, or none, and how long it took.
fn open(path: &Path) -> (Option<i32>, Duration) {
    let start = Instant::now();
    let outcome = File::open(path);
    (outcome.err().map(|error| error.raw_os_error().unwrap()), start.elapsed())
}

fn lines(disk: &SlowDisk, what: &str) -> usize {
    disk.text().lines().filter(|line| line.contains(what)).count()
}

/// More at once than there are threads that serve. How many were refused, and the longest that one took.
fn open_eight(mount: &Mounted) -> (usize, Duration) {
    thread::scope(|scope| {
        let opens: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&mount.path("f")))).collect();
        let opens: Vec<_> = opens.into_iter().map(|it| it.join().unwrap()).collect();
        let refused = opens.iter().filter(|(errno, _)| *errno == Some(libc::EIO)).count();
        (refused, opens.iter().map(|(_, took)| *took).max().unwrap())
    })
}

/// The control: without the one who answers in its place, a reader hangs for as long as the disk does.
#[test]
fn a_reader_whom_nobody_answers_hangs_with_the_disk() {
    let (disk, mount) = mounted_with(true, "SECRETFS_TEST_AUDIT_UNWATCHED");
    assert_eq!(open(&mount.path("f")).0, None);
    disk.stop();
    let (refused, slowest) = open_eight(&mount);
    assert!(refused < 8 && slowest > LONG - SLACK, "{refused} refused, {slowest:?}");
}

#[test]
fn a_disk_that_hangs_refuses_those_whose_line_it_does_not_take() {
    let (disk, mount) = mounted(true);
    let held = File::open(mount.path("g")).unwrap();
    assert_eq!(open(&mount.path("f")).0, None);
    disk.stop();
    let (refused, slowest) = open_eight(&mount);
    println!("the slowest of eight was refused after {slowest:?}");
    assert!(refused == 8 && slowest < BUDGET + SLACK, "{refused} refused, {slowest:?}");
    assert_eq!(disk.waiting(), 1, "the control: a write hangs, and one only");
    // From now on nobody waits.
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(open(&mount.path("f")).0, Some(libc::EIO));
    }
    assert!(start.elapsed() < BUDGET, "{:?}", start.elapsed());
    let start = Instant::now();
    for _ in 0..50 {
        let mut bytes = [0; 9];
        held.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"g hunter2");
        assert!(std::fs::metadata(mount.path("f")).unwrap().len() > 0);
        std::fs::read_dir(mount.point()).unwrap();
    }
    println!("fifty reads, stats and listings took {:?}", start.elapsed());
    assert!(start.elapsed() < BUDGET, "nothing else waits: {:?}", start.elapsed());
    let said = Command::new(tool("getfattr"))
        .args(["--only-values", "-n", "user.secretfs.error"])
        .arg(mount.path("f"))
        .output();
    assert!(stdout_of(&said.unwrap()).ends_with("disk/audit.log did not answer within 500 ms"));

    let before = lines(&disk, "\"read\"");
    disk.go_on();
    let mut refused_later = 0;
    eventually("it goes on by itself", || {
        let is_given = open(&mount.path("f")).0.is_none();
        refused_later += usize::from(!is_given);
        is_given.then_some(())
    });
    assert_eq!(open(&mount.path("f")).0, None);
    let missed = disk.text().lines().filter(|it| it.contains("log-missed")).map(str::to_owned).next();
    let missed: serde_json::Value =
        serde_json::from_str(&missed.expect("it says what it has missed")).unwrap();
    assert_eq!(missed["detail"], "no place took these");
    let (counted, written) = (missed["count"].as_u64().unwrap() as usize, lines(&disk, "\"read\"") - before);
    println!("{counted} were missed, {written} are in the log");
    // Of those who were refused one was on its way; two at least were given.
    assert_eq!(counted, 27 + refused_later);
    assert!(written >= 3, "{written}");
    assert!(mount.stderr().contains("audit_blocked"), "{}", mount.stderr());
}

#[test]
fn a_disk_that_hangs_keeps_nobody_from_reading_if_the_log_is_not_required() {
    let (disk, mount) = mounted(false);
    assert_eq!(open(&mount.path("f")).0, None);
    disk.stop();
    let (errno, took) = open(&mount.path("f"));
    assert_eq!(errno, None);
    assert!(took < BUDGET + SLACK, "{took:?}");
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(mount.read("f"), "hunter2\n");
    }
    assert!(start.elapsed() < BUDGET, "from then on nobody waits: {:?}", start.elapsed());
    assert_eq!(disk.waiting(), 1, "the control: a write hangs");
    eventually("it is told", || mount.stderr().contains("audit_failed").then_some(()));
    disk.go_on();
    eventually("it is written again", || {
        mount.read("f");
        (lines(&disk, "log-missed") == 1 && lines(&disk, "\"read\"") >= 3).then_some(())
    });
}

/// It is gone before it has its answer: the line stays, and nothing of it is left behind.
#[test]
fn a_reader_that_dies_before_its_answer_leaves_its_line() {
    let (disk, mount) = mounted(true);
    assert_eq!(open(&mount.path("f")).0, None);
    disk.stop();
    let mut reader = Command::new(tool("cat")).arg(mount.path("f")).spawn().unwrap();
    eventually("its line is on its way", || (disk.waiting() == 1).then_some(()));
    reader.kill().unwrap();
    thread::sleep(Duration::from_millis(100));
    disk.go_on();
    assert!(!reader.wait().unwrap().success());
    let own = format!("\"pid\":{},", reader.id());
    let line = disk.text().lines().find(|line| line.contains(&own)).expect("its line is there").to_owned();
    assert!(line.contains("\"verdict\":\"real\"") && line.contains("\"outcome\":\"ok\""), "{line}");
    for _ in 0..20 {
        assert_eq!(mount.read("f"), "hunter2\n");
    }
    let busy = std::fs::read_dir(format!("/proc/{}/fd", mount.pid())).map(Iterator::count);
    assert!(busy.is_ok_and(|count| count < 64));
}

/// A command is its own reader: it waits as any program does that writes there, and shows nothing.
#[test]
fn a_command_shows_nothing_before_its_line_is_written() {
    let (disk, mount) = mounted(true);
    disk.stop();
    let mut get = mount.store().command(&["get", "pw", "--reveal"]);
    get.stdout(std::process::Stdio::piped());
    let mut get = get.spawn().unwrap();
    eventually("its line is on its way", || (disk.waiting() == 1).then_some(()));
    thread::sleep(BUDGET);
    assert!(get.try_wait().unwrap().is_none());
    disk.go_on();
    let output = get.wait_with_output().unwrap();
    assert_eq!(stdout_of(&output), "hunter2");
    let error = File::open(mount.path("nothing")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
