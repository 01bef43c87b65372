//! What can become of the log: its disk full or read-only, the file gone, exchanged, open to others or
//! changed. Each through the mount, where the log is required and where it is not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::common::{Mounted, TestMount, eventually, stdout_of, tool};

/// A disk of its own for the log, which a test may fill.
struct Logs {
    at: PathBuf,
}

impl Logs {
    fn mount(at: PathBuf) -> Self {
        fs::create_dir(&at).unwrap();
        let logs = Self { at };
        logs.mount_with(MsFlags::empty());
        logs
    }

    fn mount_with(&self, flags: MsFlags) {
        mount(Some("none"), &self.at, Some("tmpfs"), flags, Some("size=64k,mode=0700")).unwrap();
    }

    fn log(&self) -> PathBuf {
        self.at.join("audit.log")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

fn mounted(required: bool) -> (Mounted, Logs) {
    let config = format!(
        "mounts:\n- {{at: mnt, templates: templates}}\naudit: {{file: logs/audit.log, required: {required}}}\n"
    );
    let mount = TestMount::new().secret("pw", "hunter2").template("f.tpl", "<< secrets.pw >>\n");
    let logs = Logs::mount(mount.folder().join("logs"));
    (mount.config(&config).start(), logs)
}

/// Why nothing is given.
fn reason(mount: &Mounted) -> String {
    let args = ["--only-values", "-n", "user.secretfs.error"];
    stdout_of(&Command::new(tool("getfattr")).args(args).arg(mount.path("f")).output().unwrap())
}

/// Something that happens to the log, what it is called, and what mends it.
struct Fault {
    happens: fn(&Mounted, &Logs),
    says: &'static str,
    mends: fn(&Logs),
}

const FAULTS: [Fault; 5] = [
    Fault {
        happens: |mount, logs| {
            let mut zeroes = fs::File::create(logs.at.join("fill")).unwrap();
            let _ = std::io::copy(&mut std::io::repeat(0), &mut zeroes);
            // What is left of the log's last page takes a few lines.
            eventually("it is full", || {
                let is_told = || mount.stderr().contains("audit_failed");
                (fs::read(mount.path("f")).is_err() || is_told()).then_some(())
            });
        },
        says: "No space left on device",
        mends: |logs| fs::remove_file(logs.at.join("fill")).unwrap(),
    },
    Fault {
        // What is open for writing cannot become read-only; something read-only comes in its place.
        happens: |_, logs| logs.mount_with(MsFlags::MS_RDONLY),
        says: "Read-only file system",
        mends: |logs| umount2(&logs.at, MntFlags::empty()).unwrap(),
    },
    Fault {
        happens: |_, logs| {
            fs::rename(logs.log(), logs.at.join("x")).unwrap();
            symlink("x", logs.log()).unwrap();
        },
        says: "a symbolic link",
        mends: |logs| fs::rename(logs.at.join("x"), logs.log()).unwrap(),
    },
    Fault {
        happens: |_, logs| chmod(&logs.log(), 0o644),
        says: "open to others",
        mends: |logs| chmod(&logs.log(), 0o600),
    },
    Fault {
        happens: |_, logs| fs::hard_link(logs.log(), logs.at.join("x")).unwrap(),
        says: "linked from elsewhere",
        mends: |logs| fs::remove_file(logs.at.join("x")).unwrap(),
    },
];

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn nothing_is_given_while_the_log_takes_nothing_and_it_is_said_why() {
    let (mount, logs) = mounted(true);
    assert_eq!(mount.read("f"), "hunter2\n");
    for Fault { happens, says, mends } in FAULTS {
        happens(&mount, &logs);
        assert_eq!(mount.errno("f"), libc::EIO, "{says}");
        assert!(reason(&mount).contains(says), "{says}: {}", reason(&mount));
        mends(&logs);
        assert_eq!(mount.read("f"), "hunter2\n", "after {says}");
    }
    let verified = stdout_of(&mount.store().run(&["audit", "verify"]));
    assert!(verified.contains("as they were written"), "{verified}");
    assert!(logs.text().matches("log-missed").count() >= FAULTS.len(), "each time it says how many");
}

#[test]
fn what_is_not_required_is_served_and_told() {
    let (mount, logs) = mounted(false);
    assert_eq!(mount.read("f"), "hunter2\n");
    for Fault { happens, says, mends } in FAULTS {
        happens(&mount, &logs);
        assert_eq!(mount.read("f"), "hunter2\n", "{says}");
        eventually(says, || {
            let is_it = |line: &str| line.contains("audit_failed") && line.contains(says);
            mount.stderr().lines().any(is_it).then_some(())
        });
        mends(&logs);
        assert_eq!(mount.read("f"), "hunter2\n");
    }
    assert!(logs.text().matches("log-missed").count() >= FAULTS.len());
}

/// What becomes of the lines that are there keeps nobody from reading; the next line says it, or the
/// check does.
#[test]
fn what_was_written_and_is_changed_is_told() {
    type Change = fn(&Logs);
    let changes: [(&str, Change, &str); 4] = [
        ("removed", |logs| fs::remove_file(logs.log()).unwrap(), "records 1 to"),
        (
            "replaced",
            |logs| {
                fs::rename(logs.log(), logs.at.join("old")).unwrap();
                fs::write(logs.log(), "").unwrap();
                chmod(&logs.log(), 0o600);
            },
            "records 1 to",
        ),
        (
            "cut",
            |logs| {
                let text = logs.text();
                let keep: String = text.split_inclusive('\n').take(2).collect();
                fs::write(logs.log(), keep).unwrap();
            },
            "missing",
        ),
        (
            "changed",
            |logs| {
                let text = logs.text().replacen("\"verdict\":\"real\"", "\"verdict\":\"sham\"", 1);
                fs::write(logs.log(), text).unwrap();
            },
            "was changed",
        ),
    ];
    for (what, change, found) in changes {
        let (mount, logs) = mounted(true);
        (0..3).for_each(|_| assert_eq!(mount.read("f"), "hunter2\n"));
        assert!(mount.store().run(&["audit", "verify"]).status.success(), "the control");
        change(&logs);
        assert_eq!(mount.read("f"), "hunter2\n", "{what}");
        let verified = mount.store().run(&["audit", "verify"]);
        let text = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(verified.status.code() == Some(1) && text.contains(found), "{what}: {text}");
        assert_eq!(logs.text().contains("log-lost"), what != "changed", "{what}");
    }
}
