//! `secretfs demo` as root, as an ordinary user, and as one who may not mount.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{USER, stdout_of, tool};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The programs that the tour uses and every machine of ours has.
const READERS: &[&str] = &["python3", "node", "jq", "git", "openssl"];

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.arg("demo").stdin(Stdio::null()).current_dir("/");
    command
}

/// The tour went to its end, and its folder is gone.
#[track_caller]
fn toured(output: &Output) -> String {
    let text = stdout_of(output);
    assert!(text.contains("not one of them is there"), "{text}");
    assert!(text.contains("Required key not available"), "{text}");
    assert!(text.contains("Read-only file system"), "{text}");
    let last = text.lines().last().unwrap();
    let folder =
        last.trim().strip_prefix("unmounted, and ").and_then(|rest| rest.strip_suffix(" is removed"));
    let folder = folder.unwrap_or_else(|| panic!("{text}"));
    assert!(!Path::new(folder).exists(), "{folder} is left");
    assert!(!mounts().contains(folder), "{folder} is still mounted");
    text
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap()
}

#[test]
fn as_root() {
    for reader in READERS {
        tool(reader);
    }
    let output = demo().output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = toured(&output);
    for reader in READERS {
        assert!(text.contains(&format!("{reader} ")), "{reader} is not shown: {text}");
    }
    assert!(!text.contains("not on this machine"), "{text}");
    assert!(!text.contains('\x1b'), "colours in a pipe: {text}");
    assert_eq!(not_in_the_demo(&picture(), &text), "", "draw it anew: docs/picture");
    let wrong = picture().replace("mnt/app", "mnt/elsewhere");
    assert_ne!(not_in_the_demo(&wrong, &text), "", "the control: a picture of something else");
}

/// The lines of the README's picture.
fn picture() -> String {
    let drawn = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/demo.svg")).unwrap();
    let text = |line: &str| {
        Some(line.strip_prefix("<text ")?.split_once('>')?.1.strip_suffix("</text>")?.to_owned())
    };
    let lines: Vec<String> = drawn.lines().filter_map(text).collect();
    lines.join("\n").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// The lines that the demo has not printed, folds, times and random parts aside.
fn not_in_the_demo(picture: &str, demo: &str) -> String {
    let plain = |text: &str| -> String {
        text.chars().filter(|it| !it.is_ascii_hexdigit() && !matches!(it, '\n' | ':')).collect()
    };
    let demo = plain(demo);
    let missing = picture.lines().filter(|line| !demo.contains(&plain(line)));
    missing.map(|line| format!("{line}\n")).collect()
}

#[test]
fn as_an_ordinary_user() {
    let own = OwnBinary::new();
    let mut command = own.command();
    let text = toured(&command.output().unwrap());
    // Helper or namespace: this uid has no name, so some fusermount3 refuse it.
    assert!(text.contains("$ cat mnt/app/config.json"), "{text}");
}

#[test]
fn as_a_user_without_a_helper() {
    let own = OwnBinary::new();
    let mut command = own.command();
    command.env("PATH", own.path_without("fusermount3"));
    let text = toured(&command.output().unwrap());
    assert!(text.contains("$ secretfs mount -- secretfs demo --tour "), "{text}");
}

#[test]
fn an_interruption_leaves_nothing() {
    let place = TempDir::new().unwrap();
    let mut command = demo();
    let mut child =
        command.env("TMPDIR", place.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(150));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let status = child.wait().unwrap();
    assert!(matches!(status.code(), Some(130 | 0)), "{status}");
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let folder = text.lines().find_map(|line| line.trim().strip_prefix("store  ")?.strip_suffix("/store"));
    if let Some(folder) = folder {
        assert!(!Path::new(folder).exists() && !mounts().contains(folder), "{folder} is left:\n{text}");
    }
}

#[test]
fn a_reader_that_goes_away_leaves_nothing() {
    let place = TempDir::new().unwrap();
    let mut child = demo().env("TMPDIR", place.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    while !first.contains("store  ") {
        first.clear();
        assert_ne!(reader.read_line(&mut first).unwrap(), 0, "the demo says where its store is");
    }
    drop(reader);
    let status = child.wait().unwrap();
    assert!(matches!(status.code(), Some(130)), "{status}");
    let store = first.trim().strip_prefix("store  ").unwrap();
    let folder = Path::new(store).parent().unwrap();
    assert!(!folder.exists() && !mounts().contains(folder.to_str().unwrap()), "{first} is left");
}

/// A copy of the binary that an ordinary user can reach, whatever the clone's permissions are.
struct OwnBinary(TempDir);

impl OwnBinary {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = TempDir::with_prefix("secretfs-test-").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        common::copy_program(env!("CARGO_BIN_EXE_secretfs"), &folder.path().join("secretfs"));
        Self(folder)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.0.path().join("secretfs"));
        command.arg("demo").stdin(Stdio::null()).current_dir("/").uid(USER).gid(USER);
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command
    }

    /// A PATH with everything but one program.
    fn path_without(&self, missing: &str) -> PathBuf {
        let bin = self.0.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for folder in ["/usr/bin", "/bin"] {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_name() != missing {
                    // /bin may be the same folder.
                    let _ = symlink(entry.path(), bin.join(entry.file_name()));
                }
            }
        }
        bin
    }
}
