//! A set is one version: for a moment, one process reads all files of a set as of one commit, and
//! everybody else what is current. Declared sets, those of typed secrets, and the controls without.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Mounted, TestMount, Writer, long, stdout_of, tool};
use secretfs::secret::SecretType;

/// After this time no process sees what was before.
const OVER: Duration = Duration::from_millis(1_050);

/// Files `a` and `b` of two secrets, which a writer changes in one transaction; `c` is of no set.
fn mount(options: &str) -> (Mounted, Rotation) {
    let config = format!(
        "mounts:\n- at: mnt\n  templates: templates\n  mode: \"0444\"\n  files:\n    a: {{{options}}}\n    b: {{{options}}}\n"
    );
    let mount = TestMount::new()
        .template("a.tpl", "<< secrets.a >>")
        .template("b.tpl", "<< secrets.b >>")
        .template("c.tpl", "<< secrets.b >>");
    Rotation::start(mount, &config, None)
}

/// The same of the fields of one secret.
fn mount_typed(kind: SecretType) -> (Mounted, Rotation) {
    let config = "mounts:\n- at: mnt\n  templates: templates\n  mode: \"0444\"\n";
    let mount = TestMount::new()
        .template("a.tpl", "<< secrets.tls.cert >>")
        .template("b.tpl", "<< secrets.tls.key >>")
        .template("mixed.tpl", "<< secrets.tls.key >> << secrets.other >>");
    Rotation::start(mount, config, Some(kind))
}

/// Writes everything in one transaction; each number has a length of its own.
struct Rotation {
    writer: Writer,
    /// `None`: of two secrets.
    kind: Option<SecretType>,
}

impl Rotation {
    fn start(mount: TestMount, config: &str, kind: Option<SecretType>) -> (Mounted, Self) {
        let mount = mount.secret("other", "1").config(config).env("SECRETFS_LOG", "info");
        let rotation = Self { writer: Writer::of(mount.store()), kind };
        rotation.write(1);
        (mount.start(), rotation)
    }

    fn write(&self, number: u64) {
        let text = text(number);
        match self.kind {
            Some(kind) => self.writer.put(&[("tls", kind, &[("cert", &text), ("key", &text)])]),
            None => {
                let value = &[("value", &*text)];
                self.writer.put(&["a", "b"].map(|name| (name, SecretType::Plain, &value[..])));
            }
        }
    }
}

/// The number, as much as makes its length its own, and what makes it good for a certificate and
/// for its key.
fn text(number: u64) -> String {
    let length = number as usize * 37 % 5_000;
    format!("{number}.{}\n{}", ".".repeat(length), include_str!("common/pair.pem"))
}

/// The number that a file tells, whole, and with the size that fstat(2) says.
#[track_caller]
fn number(path: &Path) -> u64 {
    let mut file = fs::File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let mut seen = String::new();
    file.read_to_string(&mut seen).unwrap();
    let number = seen.split('.').next().unwrap().parse().unwrap_or_else(|_| panic!("{seen:?}"));
    assert_eq!((seen.len() as u64, &*seen), (size, &*text(number)));
    number
}

fn numbers(mounted: &Mounted, names: &[&str]) -> Vec<u64> {
    names.iter().map(|name| number(&mounted.path(name))).collect()
}

/// What a process of its own reads.
fn elsewhere(mounted: &Mounted, name: &str) -> u64 {
    let seen = stdout_of(&Command::new("cat").arg(mounted.path(name)).output().unwrap());
    seen.split('.').next().unwrap().parse().unwrap()
}

#[test]
fn a_process_sees_a_set_as_of_one_commit_and_then_what_is_new() {
    let (mounted, rotation) = mount("set: pair");
    assert_eq!(numbers(&mounted, &["a"]), [1]);
    rotation.write(2);
    assert_eq!(numbers(&mounted, &["b", "a", "c"]), [1, 1, 2], "`c` is of no set");
    assert_eq!((elsewhere(&mounted, "a"), elsewhere(&mounted, "b")), (2, 2), "another process");
    let thread = std::thread::scope(|scope| scope.spawn(|| number(&mounted.path("b"))).join().unwrap());
    assert_eq!(thread, 1, "a thread of the same process");
    sleep(OVER);
    rotation.write(3);
    assert_eq!(numbers(&mounted, &["b", "a"]), [3, 3], "the next open is new");
    let is_told = || ["a@1", "b@1", "a@3", "b@3"].iter().all(|it| mounted.stderr().contains(it));
    let patience = Instant::now() + Duration::from_secs(5);
    while !is_told() && Instant::now() < patience {
        sleep(Duration::from_millis(10));
    }
    assert!(is_told(), "the log says who got which version: {}", mounted.stderr());
}

#[test]
fn without_a_set_the_next_open_is_new_at_once() {
    let (mounted, rotation) = mount("");
    assert_eq!(numbers(&mounted, &["a"]), [1]);
    rotation.write(2);
    assert_eq!(numbers(&mounted, &["b", "a"]), [2, 2]);
}

#[test]
fn certificates_and_ssh_keys_make_a_set_of_their_files() {
    let (mounted, rotation) = mount_typed(SecretType::Certificate);
    assert_eq!(numbers(&mounted, &["a"]), [1]);
    rotation.write(2);
    mounted.store().set("other", "2");
    assert_eq!(numbers(&mounted, &["b"]), [1]);
    assert_eq!(mounted.read("mixed"), format!("{} 2", text(1)), "what else a file has is current");
    mounted.store().set("other", "3");
    assert_eq!(mounted.read("mixed"), format!("{} 3", text(1)));
    sleep(OVER);
    assert_eq!(numbers(&mounted, &["b", "a"]), [2, 2]);
}

/// The control: other types make none.
#[test]
fn other_secrets_make_no_set() {
    let (mounted, rotation) = mount_typed(SecretType::Custom);
    assert_eq!(numbers(&mounted, &["a"]), [1]);
    rotation.write(2);
    assert_eq!(numbers(&mounted, &["b"]), [2]);
}

#[test]
fn a_program_that_takes_the_place_of_another_goes_on_with_its_set() {
    let (mounted, rotation) = mount("set: pair");
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "read -r line <a; echo \"$line\"; read -r line; exec cat b"])
        .current_dir(mounted.point());
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(shell.stdout.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    rotation.write(2);
    writeln!(shell.stdin.take().unwrap()).unwrap();
    let mut second = String::new();
    said.read_to_string(&mut second).unwrap();
    shell.wait().unwrap();
    let text = text(1);
    assert_eq!((first.trim_end(), &*second), (text.lines().next().unwrap(), &*text));
}

/// There is no path that could be looked up again.
#[test]
fn bound_files_are_of_one_version_too() {
    let (mounted, rotation) = mount("set: pair");
    let folder = tempfile::tempdir().unwrap();
    let bound = ["a", "b"].map(|name| {
        let at = folder.path().join(name);
        fs::write(&at, "").unwrap();
        stdout_of(
            &Command::new(tool("mount")).arg("--bind").arg(mounted.path(name)).arg(&at).output().unwrap(),
        );
        at
    });
    let _unbind = Unbind(bound.to_vec());
    let first = fs::read_to_string(&bound[0]).unwrap();
    rotation.write(2);
    let second = fs::read_to_string(&bound[1]).unwrap();
    assert_eq!((&*first, &*second), (&*text(1), &*text(1)));
    sleep(OVER);
    assert_eq!(fs::read_to_string(&bound[1]).unwrap(), text(2));
    assert_eq!(fs::read_to_string(&bound[0]).unwrap(), text(2));
}

struct Unbind(Vec<PathBuf>);

impl Drop for Unbind {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

#[test]
fn a_set_with_a_broken_member_serves_the_others() {
    let (mounted, rotation) = mount("set: pair");
    mounted.template("b.tpl", "<< secrets.b");
    assert_eq!(numbers(&mounted, &["a"]), [1]);
    assert_eq!(mounted.errno("b"), libc::EIO);
    rotation.write(2);
    sleep(OVER);
    mounted.template("b.tpl", "<< secrets.b >>");
    assert_eq!(numbers(&mounted, &["b", "a"]), [2, 2]);
}

/// What a race has seen.
#[derive(Debug, Default)]
struct Seen {
    loads: u64,
    mismatched: u64,
    /// Older than it may be.
    stale: u64,
    written: u64,
}

/// Loads `a` and `b` as fast as it goes, while both are rotated together as fast as it goes.
fn race(mounted: &Mounted, rotation: &Rotation, time: Duration) -> Seen {
    let written = Mutex::new(vec![(Instant::now(), 1)]);
    let write = |number| {
        rotation.write(number);
        written.lock().unwrap().push((Instant::now(), number));
    };
    let load = || {
        let mut seen = Seen::default();
        let start = Instant::now();
        while start.elapsed() < time {
            let at = Instant::now();
            let pair = numbers(mounted, &["a", "b"]);
            seen.loads += 1;
            seen.mismatched += u64::from(pair[0] != pair[1]);
            let before = |(when, _): &&(Instant, u64)| *when + OVER < at;
            let least = written.lock().unwrap().iter().rev().find(before).map_or(0, |(_, number)| *number);
            seen.stale += u64::from(pair[0] < least || pair[1] < least);
        }
        seen
    };
    let (seen, written) = Writer::while_writing(write, load);
    Seen { written, ..seen }
}

#[test]
fn pairs_always_match_while_both_are_rotated() {
    let time = Duration::from_secs(if long() { 60 } else { 6 });
    for (mounted, rotation) in [mount("set: pair"), mount_typed(SecretType::Certificate)] {
        let seen = race(&mounted, &rotation, time);
        println!("with a set: {seen:?}");
        assert!(seen.loads > 100 && seen.written > 50, "too little happened to mean anything: {seen:?}");
        assert_eq!((seen.mismatched, seen.stale), (0, 0), "{seen:?}");
    }
}

/// The control.
#[test]
fn without_a_set_some_pairs_do_not_match() {
    let (mounted, rotation) = mount("");
    let seen = race(&mounted, &rotation, Duration::from_secs(3));
    println!("without: {seen:?}");
    assert!(seen.mismatched > 0 && seen.stale == 0, "{seen:?}");
}
