//! `secretfs unmount`: who uses a mount is named, and loses it only if that is asked for. Dead mounts
//! go, foreign ones stay.

mod common;

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Map, Mounted, TestMount, TestStore, stdout_of, tool};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn mounted() -> Mounted {
    TestMount::new().secret("pw", "hunter2").template("f.tpl", "<< secrets.pw >>").start()
}

fn unmount(mounted: &Mounted, options: &[&str]) -> Output {
    let at = mounted.point();
    mounted.store().run(&[&["unmount", at.to_str().unwrap()], options].concat())
}

#[track_caller]
fn refused(output: &Output, status: i32, says: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    for words in says {
        assert!(stderr.contains(words), "no `{words}` in: {stderr}");
    }
}

fn is_mounted(at: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == at.to_str())
}

/// A process that does this and then waits.
struct User(Child);

impl User {
    fn start(script: &str, folder: &Path) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("{script}; echo; read -r line")]).current_dir(folder);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(child)
    }

    fn pid(&self) -> String {
        format!("pid {} (", self.0.id())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn who_uses_a_mount_is_named_and_keeps_it() {
    let mut mounted = mounted();
    let file = mounted.path("f");
    let reader = User::start(&format!("exec 3<{}", file.display()), Path::new("/"));
    let inside = User::start("true", &mounted.point());
    let here = File::open(&file).unwrap();
    let map = Map::of(&here, libc::MAP_PRIVATE).unwrap();
    drop(here);
    let own = format!("pid {} (", std::process::id());
    let path = file.to_str().unwrap();
    let refusal = unmount(&mounted, &[]);
    refused(&refusal, 75, &["is in use", &reader.pid(), &inside.pid(), &own, path, "--lazy"]);
    assert_eq!(mounted.read("f"), "hunter2", "it is still there");
    drop((reader, map));
    refused(&unmount(&mounted, &[]), 75, &[&inside.pid()]);
    drop(inside);
    assert_eq!(stdout_of(&unmount(&mounted, &[])), format!("unmounted {}\n", mounted.point().display()));
    assert!(!is_mounted(&mounted.point()));
    assert!(mounted.wait().success(), "who served it is done");
}

#[test]
fn a_lazy_end_leaves_readers_what_they_have() {
    let mut mounted = mounted();
    let mut open = File::open(mounted.path("f")).unwrap();
    stdout_of(&unmount(&mounted, &["--lazy"]));
    assert!(!mounted.path("f").exists());
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hunter2");
    drop(open);
    assert!(mounted.wait().success());
}

/// A reader that waits in FUSE cannot be killed: this lets it go.
#[test]
fn force_ends_whoever_waits_and_whoever_reads() {
    let mut mounted = mounted();
    let mut open = File::open(mounted.path("f")).unwrap();
    let daemon = Pid::from_raw(mounted.pid().cast_signed());
    kill(daemon, Signal::SIGSTOP).unwrap();
    await_stop(mounted.pid());
    let mut reading = open.try_clone().unwrap();
    let reading = std::thread::spawn(move || reading.read(&mut [0]).unwrap_err().raw_os_error());
    let mut waiting = Command::new("cat");
    let opening = waiting.arg(mounted.path("f")).env("LC_ALL", "C").stderr(Stdio::piped()).spawn().unwrap();
    await_open(opening.id());
    std::thread::sleep(Duration::from_millis(300));
    assert!(!reading.is_finished(), "the control: it waits, too");
    refused(&unmount(&mounted, &[]), 75, &["is in use"]);
    stdout_of(&unmount(&mounted, &["--force"]));
    assert_eq!(reading.join().unwrap(), Some(libc::ECONNABORTED));
    // It looks the path up once more, which is gone by then.
    refused(&opening.wait_with_output().unwrap(), 1, &["mnt/f: "]);
    open.rewind().unwrap();
    let errno = open.read_to_end(&mut Vec::new()).unwrap_err().raw_os_error();
    assert!(matches!(errno, Some(libc::ECONNABORTED | libc::ENOTCONN)), "{errno:?}");
    assert!(!is_mounted(&mounted.point()));
    kill(daemon, Signal::SIGCONT).unwrap();
    assert!(mounted.wait().success());
}

/// Until each of its threads has stopped: a signal takes its time.
fn await_stop(pid: u32) {
    let patience = Instant::now() + Duration::from_secs(10);
    let is_stopped = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|state| state.starts_with('T'))
    };
    let threads = || fs::read_dir(format!("/proc/{pid}/task")).unwrap().map_while(Result::ok);
    while !threads().all(is_stopped) {
        assert!(Instant::now() < patience, "it does not stop");
    }
}

/// Until it hangs in openat(2).
fn await_open(pid: u32) {
    let patience = Instant::now() + Duration::from_secs(10);
    let call = || fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    while !call().starts_with(&format!("{} ", libc::SYS_openat)) {
        assert!(Instant::now() < patience, "{}", call());
    }
}

#[test]
fn a_dead_mount_goes() {
    let mut mounted = mounted();
    kill(Pid::from_raw(mounted.pid().cast_signed()), Signal::SIGKILL).unwrap();
    mounted.wait();
    assert_eq!(fs::metadata(mounted.point()).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
    stdout_of(&unmount(&mounted, &[]));
    assert!(!is_mounted(&mounted.point()));
    refused(&unmount(&mounted, &[]), 66, &["nothing is mounted at", "findmnt"]);
}

#[test]
fn a_foreign_mount_stays() {
    let store = TestStore::new();
    let at = store.folder().join("foreign");
    fs::create_dir(&at).unwrap();
    stdout_of(&Command::new(tool("mount")).args(["-t", "tmpfs", "x"]).arg(&at).output().unwrap());
    for options in [&[][..], &["--lazy"], &["--force"]] {
        let output = store.run(&[&["unmount", "foreign"], options].concat());
        refused(&output, 66, &["not of secretfs (tmpfs)"]);
    }
    assert!(is_mounted(&at));
    nix::mount::umount(&at).unwrap();
    refused(&store.run(&["unmount"]), 64, &["MOUNTPOINT"]);
    refused(&store.run(&["unmount", "a", "--all"]), 64, &["--all"]);
}

/// In a view of mounts of its own: what others have mounted on this machine is none of our business.
#[test]
fn all_of_ours_go_at_once_and_nothing_else() {
    let mounted = [mounted(), mounted()];
    let places = mounted.each_ref().map(Mounted::point);
    let foreign: PathBuf = mounted[0].store().folder().join("templates");
    let script = "mount -t tmpfs x \"$1\" && shift && \"$@\" && findmnt -n -o FSTYPE,TARGET";
    let command = mounted[0].store().command(&["--json", "unmount", "--all"]);
    let mut unshare = Command::new(tool("unshare"));
    unshare.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]).arg(&foreign);
    unshare.arg(command.get_program()).args(command.get_args());
    let said = stdout_of(&unshare.output().unwrap());
    for place in &places {
        let line = serde_json::json!({"unmounted": place}).to_string();
        assert!(said.contains(&line), "{line} is not in: {said}");
    }
    assert!(!said.contains("fuse.secretfs") && said.contains(foreign.to_str().unwrap()), "{said}");
    mounted.iter().for_each(|mounted| assert_eq!(mounted.read("f"), "hunter2"));
}
