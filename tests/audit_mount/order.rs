//! The order of the system calls: the write of the line, then the reply to the kernel. Seen by strace.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Mounted, TestMount, eventually, tool};

const CONFIG: &str = "mounts:\n- {at: mnt, templates: templates}\naudit: {file: audit.log}\n";
/// Of `fuse_in_header`, linux/fuse.h.
const OPEN: u32 = 14;

/// strace of a process that runs.
struct Traced {
    strace: Child,
    log: PathBuf,
}

/// A system call: where in the trace it begins and ends, its thread, and what strace says of it.
struct Call {
    begin: usize,
    end: usize,
    thread: u32,
    text: String,
}

/// An OPEN that was answered with a handle, and what was done for it.
struct Opened {
    asked: usize,
    answered: usize,
    thread: u32,
}

impl Traced {
    fn start(pid: u32, folder: &Path, calls: &str) -> Self {
        let log = folder.join("trace");
        let mut strace = Command::new(tool("strace"));
        strace.args(["-f", "-y", "-x", "-s", "256", "-e", "signal=none", "-e"]);
        strace.arg(format!("trace={calls}")).arg("-o").arg(&log).args(["-p", &pid.to_string()]);
        let strace = strace.stderr(Stdio::null()).spawn().unwrap();
        eventually("strace holds all threads", || {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
            let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let tracer = format!("TracerPid:\t{}\n", strace.id());
            tasks.map(of).all(|it| it.is_empty() || it.contains(&tracer)).then_some(())
        });
        Self { strace, log }
    }

    fn end(mut self) -> Vec<Call> {
        kill(Pid::from_raw(self.strace.id() as i32), Signal::SIGINT).unwrap();
        self.strace.wait().unwrap();
        calls(&fs::read_to_string(&self.log).unwrap())
    }
}

fn calls(trace: &str) -> Vec<Call> {
    let (mut calls, mut begun) = (Vec::new(), HashMap::new());
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, text)) = line.split_once(' ') else { continue };
        let (Ok(thread), text) = (thread.parse(), text.trim_start()) else { continue };
        if let Some(head) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (at, head.to_owned()));
        } else if text.starts_with("<... ") {
            let (begin, head) = begun.remove(&thread).unwrap_or((at, String::new()));
            let rest = text.split_once("resumed>").unwrap().1;
            calls.push(Call { begin, end: at, thread, text: head + rest });
        } else {
            calls.push(Call { begin: at, end: at, thread, text: text.to_owned() });
        }
    }
    calls
}

impl Call {
    fn is(&self, name: &str, file: &str) -> bool {
        self.text.starts_with(name) && self.text.split('"').next().unwrap().contains(&format!("{file}>"))
    }

    /// The bytes of its buffer, as far as strace has kept them.
    fn bytes(&self) -> Vec<u8> {
        let text = self.text.split('"').nth(1).unwrap_or_default();
        text.split("\\x").skip(1).map(|it| u8::from_str_radix(it, 16).unwrap()).collect()
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The OPENs that were answered with a handle.
fn opened(calls: &[Call]) -> Vec<Opened> {
    let mut asked = HashMap::new();
    let mut opened = Vec::new();
    for call in calls {
        let bytes = call.bytes();
        if bytes.len() < 16 {
            continue;
        }
        let unique = bytes[8..16].to_vec();
        if call.is("read", "/dev/fuse") && word(&bytes, 4) == OPEN {
            asked.insert(unique, (call.end, call.thread));
        } else if call.is("write", "/dev/fuse")
            && word(&bytes, 4) == 0
            && let Some((asked, thread)) = asked.remove(&unique)
        {
            opened.push(Opened { asked, answered: call.begin, thread });
        }
    }
    opened
}

/// Whether for each OPEN a line was written whole before the answer to it began.
fn is_written_first(calls: &[Call]) -> bool {
    let opened = opened(calls);
    assert_eq!(opened.len(), 3, "each reader was answered");
    let is_first = |it: &Opened| {
        let own = calls.iter().filter(|call| call.begin > it.asked && call.end < it.answered);
        own.filter(|call| call.is("write", "audit.log")).count() == 1
    };
    opened.iter().all(is_first)
}

fn mounted(mount: TestMount) -> Mounted {
    mount.secret("pw", "hunter2").template("f.tpl", "<< secrets.pw >>\n").config(CONFIG).start()
}

fn traced(mount: &Mounted, calls: &str) -> Vec<Call> {
    assert_eq!(mount.read("f"), "hunter2\n", "all that is made once is there");
    let traced = Traced::start(mount.pid(), mount.store().folder(), calls);
    for _ in 0..3 {
        assert_eq!(mount.read("f"), "hunter2\n");
    }
    traced.end()
}

#[test]
fn the_line_is_written_before_the_reader_has_its_answer() {
    let calls = traced(&mounted(TestMount::new()), "read,readv,write,writev");
    assert!(is_written_first(&calls));
}

/// The control: it is found out who answers first.
#[test]
fn who_answers_before_the_line_is_written_is_found_out() {
    let mount = mounted(TestMount::new().env("SECRETFS_TEST_AUDIT_AFTER", "1"));
    let calls = traced(&mount, "read,readv,write,writev");
    assert!(!is_written_first(&calls));
    let log = mount.store().folder().join("audit.log");
    eventually("it is written all the same", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        (text.matches("\"read\"").count() == 4).then_some(())
    });
}

/// For the verdict and for the line together.
#[test]
fn an_opener_is_asked_once_who_it_is() {
    let calls = traced(&mounted(TestMount::new()), "all");
    for open in opened(&calls) {
        let own = calls.iter().filter(|it| it.thread == open.thread);
        let own = own.filter(|it| it.begin > open.asked && it.end < open.answered);
        let asks = own.filter(|it| {
            it.text.contains("PIDFD") || it.text.contains("pidfd") || it.text.contains("/proc/")
        });
        let asks: Vec<_> = asks.map(|it| it.text.clone()).collect();
        assert!(!asks.is_empty(), "the control: it is asked");
        let once: std::collections::HashSet<_> = asks.iter().collect();
        assert_eq!(once.len(), asks.len(), "{asks:#?}");
    }
}

/// What the page says of a power cut: the last second, as far as it was not synced.
#[test]
fn what_was_written_is_synced_each_second() {
    let mount = mounted(TestMount::new());
    assert_eq!(mount.read("f"), "hunter2\n");
    let traced = Traced::start(mount.pid(), mount.store().folder(), "write,fdatasync,fsync");
    let end = std::time::Instant::now() + std::time::Duration::from_millis(3_300);
    while std::time::Instant::now() < end {
        mount.read("f");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    let calls = traced.end();
    let of_log = |name: &str| {
        calls.iter().filter(|it| it.is(name, "audit.log")).map(|it| it.begin).collect::<Vec<_>>()
    };
    let (writes, syncs) = (of_log("write"), of_log("fdatasync"));
    assert!((3..=6).contains(&syncs.len()), "{} syncs in four seconds", syncs.len());
    assert!(writes.len() > 50 && syncs.last() > writes.last(), "nothing is left behind");
    let most =
        syncs.windows(2).map(|it| writes.iter().filter(|at| (it[0]..it[1]).contains(at)).count()).max();
    assert!(most.unwrap() < writes.len(), "the control: not all at the end");
}
