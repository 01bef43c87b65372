//! Units: by control groups of our own, named as systemd would name them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::STRANGER;
use crate::stage::{Stage, VALUE};

/// A slice with two units, one of which has made a group for itself.
struct Slice(PathBuf);

const A: &str = "a.service";
const POSING: &str = "a.service/sshd.service";
const SSHD: &str = "sshd.service";

impl Slice {
    fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let unified =
            mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("a kernel with cgroup2");
        let root = PathBuf::from(unified.split(' ').nth(4).unwrap());
        let slice = Self(root.join(format!("secretfs-test-{name}-{}.slice", std::process::id())));
        [A, POSING, SSHD].iter().for_each(|group| fs::create_dir_all(slice.0.join(group)).unwrap());
        slice
    }

    fn procs(&self, group: &str) -> PathBuf {
        self.0.join(group).join("cgroup.procs")
    }

    /// A program that reads in this group.
    fn reader(&self, group: &str, stage: &Stage, file: &str) -> Command {
        let script = format!("echo $$ > {} && exec \"$0\" \"$@\"", self.procs(group).display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(stage.program("reader")).args(["as", &stage.file(file)]);
        command.arg(STRANGER.to_string()).stdin(Stdio::null());
        command
    }

    fn said(&self, group: &str, stage: &Stage, file: &str) -> String {
        let output = self.reader(group, stage, file).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        for group in [POSING, A, SSHD, ""] {
            let _ = fs::remove_dir(self.0.join(group));
        }
    }
}

fn stage() -> Stage {
    let allow = |unit: &str| format!("mode: \"0444\", access: [{{allow: {{unit: {unit}}}}}]");
    Stage::with(&format!(
        "    only: {{{}}}\n    shells: {{{}}}\n    slow: {{{}}}\n    \
         reader: {{mode: \"0444\", access: [{{deny: {{unit: sshd.service}}}}]}}\n",
        allow(SSHD),
        allow(A),
        allow(A)
    ))
}

#[test]
fn case_18_a_unit_cannot_pose_as_another_by_a_group_that_it_makes() {
    let (stage, slice) = (stage(), Slice::new("posing"));
    let (allowed, denied) = (format!("read: {VALUE}\n"), "read: errno EACCES\n");
    assert_eq!(slice.said(POSING, &stage, "only"), denied);
    assert_eq!(slice.said(POSING, &stage, "shells"), allowed, "it is the unit that made the group");
    assert_eq!(slice.said(SSHD, &stage, "only"), allowed, "the control: the unit itself");
    assert_eq!(slice.said(SSHD, &stage, "shells"), denied);
    assert_eq!(
        slice.said(POSING, &stage, "reader"),
        format!("read: {STRANGER}|{VALUE}\n"),
        "nor is it denied as the other"
    );
    assert_eq!(slice.said(SSHD, &stage, "reader"), denied);
    let nowhere = stage.run("reader", &["as", &stage.file("only"), &STRANGER.to_string()]);
    assert_eq!(nowhere, denied, "who is in no unit");
}

/// Somebody moves it while it waits: the open is judged by where it is then.
#[test]
fn case_21_who_is_moved_while_it_waits_is_judged_by_where_it_is() {
    let (stage, slice) = (stage(), Slice::new("moved"));
    let read = |moves: bool| {
        let child = slice.reader(A, &stage, "slow").stdout(Stdio::piped()).spawn().unwrap();
        thread::sleep(Duration::from_millis(400));
        let target = if moves { SSHD } else { A };
        fs::write(slice.procs(target), child.id().to_string()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    assert_eq!(read(true), "read: errno EACCES\n");
    assert_eq!(read(false), format!("read: {VALUE}\n"), "the control: it stays");
}
