//! Who gets what somebody else has open, or what was rendered before: rules are about the bytes that
//! are given, not about what the template says by now.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use common::{Daemon, STRANGER, TestDaemon, become_user, stdout_of};

const BOTH: &str = "a=<< secrets.a >> b=<< secrets.b >>\n";
const ONE: &str = "b=<< secrets.b >>\n";

fn config(policy: &str) -> String {
    format!("mounts:\n- {{at: mnt, templates: templates, mode: \"0444\"}}\npolicy: {policy}\n")
}

fn daemon(policy: &str) -> Daemon {
    let daemon = TestDaemon::new().env("SECRETFS_LOG", "info").secret("a", "AAA").secret("b", "BBB");
    let daemon = daemon.template("two.tpl", BOTH).template("other.tpl", "other\n");
    daemon.config(&config(policy)).start()
}

/// A single file of the mount at a place of its own.
struct Bound(PathBuf);

impl Bound {
    fn of(daemon: &Daemon, name: &str) -> Self {
        let at = daemon.folder().join("bound");
        fs::write(&at, "").unwrap();
        let mut mount = Command::new("mount");
        stdout_of(&mount.arg("--bind").arg(daemon.path(name)).arg(&at).output().unwrap());
        Self(at)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// In one thread, as the kernel's own sequence is: first a look elsewhere, then the read.
fn read_by(uid: u32, look: Option<PathBuf>, path: &Path) -> Result<String, Option<i32>> {
    let path = path.to_owned();
    let read = move || {
        become_user(uid);
        look.iter().for_each(|path| drop(fs::metadata(path)));
        fs::read_to_string(path).map_err(|error| error.raw_os_error())
    };
    thread::spawn(read).join().unwrap()
}

fn read_at(file: &File) -> Result<String, Option<i32>> {
    let mut bytes = [0; 64];
    let count = file.read_at(&mut bytes, 0).map_err(|error| error.raw_os_error())?;
    Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

const DENIED: Result<String, Option<i32>> = Err(Some(libc::EACCES));
const ONLY_ROOT: &str = "[{secrets: a, allow: {uid: 0}}]";

#[test]
fn a_bound_file_gives_nobody_what_somebody_else_may_have() {
    let served = daemon(ONLY_ROOT);
    let bound = Bound::of(&served, "two");
    let held = File::open(&bound.0).unwrap();
    assert_eq!(read_by(STRANGER, None, &bound.0), DENIED);
    served.template("two.tpl", ONE);
    assert_eq!(read_by(STRANGER, None, &served.path("two")), Ok("b=BBB\n".to_owned()));
    assert_eq!(read_by(STRANGER, None, &bound.0), DENIED, "what is open has a secret that is not his");
    served.await_log("secretfs.yaml:4:10: secrets a: allow uid 0", 2);
    assert_eq!(read_by(0, None, &bound.0), Ok("a=AAA b=BBB\n".to_owned()), "the control");
    drop(held);
    let own = common::eventually("its own content", || read_by(STRANGER, None, &bound.0).ok());
    assert_eq!(own, "b=BBB\n", "when nobody has it open any more");
}

/// In its first second a worker takes an open without a LOOKUP for one that was looked up again.
#[test]
fn a_new_worker_gives_nobody_what_somebody_else_may_have() {
    let served = daemon(ONLY_ROOT);
    let bound = Bound::of(&served, "two");
    let held = File::open(&bound.0).unwrap();
    served.template("two.tpl", ONE);
    assert_eq!(read_by(STRANGER, None, &served.path("two")), Ok("b=BBB\n".to_owned()));
    served.kill_worker();
    let look = Some(served.path("other"));
    assert_eq!(read_by(STRANGER, look.clone(), &bound.0), DENIED);
    served.kill_worker();
    assert_eq!(read_by(0, look, &bound.0), Ok("a=AAA b=BBB\n".to_owned()), "the control");
    assert_eq!(read_at(&held), Ok("a=AAA b=BBB\n".to_owned()));
}

#[test]
fn a_new_worker_knows_which_secrets_an_open_file_has() {
    let served = daemon("[]");
    let open_by = |uid| {
        let path = served.path("two");
        let open = move || {
            become_user(uid);
            File::open(path).unwrap()
        };
        thread::spawn(open).join().unwrap()
    };
    let read_on = |file: File| {
        let read = move || {
            become_user(STRANGER);
            read_at(&file)
        };
        thread::spawn(read).join().unwrap()
    };
    let [cut, other] = [open_by(STRANGER), open_by(STRANGER)];
    served.template("two.tpl", ONE);
    assert_eq!(read_by(STRANGER, None, &served.path("two")), Ok("b=BBB\n".to_owned()));
    served.kill_worker();
    let reload = |policy: &str| {
        served.config(&config(policy));
        stdout_of(&served.run(&["reload", "--socket", "run/control.sock"]));
    };
    reload("[{secrets: c, allow: {uid: 0}}]");
    assert_eq!(read_on(other), Ok("a=AAA b=BBB\n".to_owned()), "the control: a rule on another secret");
    reload(ONLY_ROOT);
    assert_eq!(read_on(cut), DENIED);
}

/// The text names secrets and providers.
#[test]
fn who_is_denied_is_not_told_why_but_by_what_the_log_knows_it() {
    let served = daemon("[]");
    served.template("two.tpl", "<< secrets.nothing >>\n");
    let yaml = config(&format!("[{{secrets: nothing, deny: {{uid: {STRANGER}}}}}]"));
    served.config(&yaml);
    stdout_of(&served.run(&["reload", "--socket", "run/control.sock"]));
    assert_eq!(read_by(0, None, &served.path("two")), Err(Some(libc::ENOKEY)));
    let bound = Bound::of(&served, "two");
    let reason_for = |uid: u32, path: &Path| {
        let mut ask = Command::new(common::tool("setpriv"));
        ask.args([
            format!("--reuid={uid}"),
            "--clear-groups".to_owned(),
            common::tool("getfattr").display().to_string(),
        ]);
        ask.args(["--only-values", "--absolute-names", "-n", "user.secretfs.error"]).arg(path);
        stdout_of(&ask.output().unwrap())
    };
    assert!(reason_for(0, &bound.0).contains("nothing"), "the control");
    let told = reason_for(STRANGER, &bound.0);
    let mark =
        told.strip_prefix("denied ").filter(|mark| mark.len() == 8).unwrap_or_else(|| panic!("{told}"));
    assert_eq!(read_by(STRANGER, None, &served.path("two")), DENIED);
    assert_eq!(reason_for(STRANGER, &served.path("two")), told, "by path, too");
    served.await_log(&format!("denial=\"{mark}\""), 1);
}
