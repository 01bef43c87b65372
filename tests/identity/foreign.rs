//! Readers whose request is not their own: other filesystems, other namespaces.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::common::{STRANGER, TestMount, USER, stdout_of, tool};
use crate::stage::{Stage, VALUE, placed, prepared};

fn text(output: std::process::Output) -> String {
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn case_12_a_setuid_program_reads_as_whose_rights_it_has() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let stage = Stage::new();
    let program = stage.program("reader");
    let read = || {
        let mut command = Command::new(&program);
        text(command.args(["read", &stage.file("own")]).uid(STRANGER).gid(STRANGER).output().unwrap())
    };
    assert_eq!(read(), "read: errno EACCES\n", "the control: without the bit");
    chown(&program, Some(USER), Some(USER)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(read(), format!("read: {VALUE}\n"));
}

/// An overlay reads with the rights of who has mounted it, for everybody.
#[test]
fn case_13_an_overlay_over_us_gets_nothing() {
    let stage = Stage::new();
    let folder = stage.mount.store().folder();
    let script = format!(
        "set -e; mkdir {0}/upper {0}/work {0}/merged
        mount -t overlay -o lowerdir={0}/mnt,upperdir={0}/upper,workdir={0}/work overlay {0}/merged
        {1} read {0}/merged/all; {1} as {0}/merged/all {STRANGER}; {1} as {0}/mnt/all {STRANGER}",
        folder.display(),
        stage.program("reader").display()
    );
    // What it mounts goes with its namespace.
    let said = Command::new(tool("unshare")).args(["--mount", "sh", "-c", &script]).output().unwrap();
    let expected = format!("read: {VALUE}\nread: errno EACCES\nread: {VALUE}\n");
    assert_eq!(text(said), expected, "root has mounted it, and would read the same below");
}

/// A loop device reads with a thread of the kernel.
#[test]
fn case_13_a_device_of_the_kernel_gets_nothing() {
    let stage = Stage::new();
    stage.mount.template("disk.tpl", format!("{}<< secrets.pw >>", "x".repeat(8_192)));
    let plain = stage.mount.store().folder().join("plain");
    fs::write(&plain, stage.mount.read("disk")).unwrap();
    let through_a_device = |file: &str| {
        let mut attach = Command::new(tool("losetup"));
        attach.args(["--find", "--show", "--read-only", file]);
        let device = stdout_of(&attach.output().unwrap()).trim().to_owned();
        let bytes = fs::read(&device).map_err(|error| error.raw_os_error());
        stdout_of(&Command::new(tool("losetup")).args(["--detach", &device]).output().unwrap());
        bytes
    };
    assert_eq!(through_a_device(&stage.file("disk")), Err(Some(libc::EIO)), "what a broken disk gives");
    assert!(through_a_device(plain.to_str().unwrap()).is_ok(), "the control: of a plain file");
}

/// The mount is in a pid namespace of its own: of readers elsewhere it knows nothing.
#[test]
fn case_17_a_reader_of_another_pid_namespace_gets_nothing() {
    let store = prepared(TestMount::new());
    let folder = store.folder().display().to_string();
    let program = placed(store.folder(), "reader").display().to_string();
    // The mount is shared with us; its daemon sees only what is in its own namespace.
    let mount = store.command_of(&["mount", "templates", "mnt"]);
    let line: Vec<_> =
        [mount.get_program()].into_iter().chain(mount.get_args()).map(|it| it.to_str().unwrap()).collect();
    let script = format!(
        "touch stdout; {} 2>stderr >stdout & until grep -q ready stdout; do sleep 0.05; done
        {program} read mnt/all; echo ready; read line; kill -TERM $!; wait $!",
        line.join(" ")
    );
    let mut inside = Command::new(tool("unshare"));
    inside.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script]);
    let mut inside =
        inside.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(inside.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.next(), Some(format!("read: {VALUE}")), "the control: who is in it");
    assert_eq!(said.next().as_deref(), Some("ready"));
    let outside = stdout_of(
        &Command::new(&program)
            .args(["read", &format!("/proc/{}/root{folder}/mnt/all", inside.id())])
            .output()
            .unwrap(),
    );
    drop(inside.stdin.take());
    inside.wait().unwrap();
    assert_eq!(outside, "read: errno EACCES\n");
    let stderr = fs::read_to_string(store.folder().join("stderr")).unwrap();
    assert!(stderr.contains("pid namespace"), "{stderr}");
}

/// A daemon that sees no other processes, in a mount namespace with such a `/proc`.
#[test]
fn case_16_where_processes_are_hidden_no_rule_on_programs_allows_anybody() {
    let store = prepared(TestMount::new());
    let folder = store.folder().display().to_string();
    let program = placed(store.folder(), "reader").display().to_string();
    let config = format!(
        "mounts:\n- at: mnt\n  templates: templates\n  mode: \"0444\"\n  files:\n    \
         slow: {{access: [{{deny: {{uid: 1}}}}]}}\n    \
         only: {{access: [{{allow: {{exe: {program}}}}}]}}\n    \
         shells: {{access: [{{deny: {{exe: /bin/false}}}}]}}\nproviders: {{p: {{type: exec, command: [./program]}}}}\n"
    );
    fs::write(store.folder().join("secretfs.yaml"), config).unwrap();
    let mount = store.command_of(&["--config", "secretfs.yaml", "mount"]);
    let line: Vec<_> =
        [mount.get_program()].into_iter().chain(mount.get_args()).map(|it| it.to_str().unwrap()).collect();
    let read = |with: &str| {
        let script = format!(
            "mount -t proc -o hidepid=2,gid={STRANGER} proc /proc; 
            : >stdout; {with} {} 2>stderr >stdout & until grep -q ready stdout; do sleep 0.05; done
            for file in all only shells; do {program} as mnt/$file {USER}; done
            kill -TERM $!; wait $!",
            line.join(" ")
        );
        let mut inside = Command::new(tool("unshare"));
        let inside = inside.args(["--mount", "sh", "-c", &script]).current_dir(&folder);
        let said = text(inside.output().unwrap());
        (said, fs::read_to_string(store.folder().join("stderr")).unwrap())
    };
    let (said, stderr) = read("setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace --");
    let denied = "read: errno EACCES\n";
    assert_eq!(said, format!("read: {VALUE}\n{denied}{denied}"), "{stderr}");
    assert!(stderr.contains("hidepid"), "{stderr}");
    assert_eq!(stderr.matches("a rule on programs").count(), 2, "{stderr}");
    let (said, stderr) = read("");
    let allowed = format!("read: {VALUE}\n");
    assert_eq!(said, allowed.repeat(3), "the control: with CAP_SYS_PTRACE\n{stderr}");
    assert!(!stderr.contains("hidepid") && !stderr.contains("a rule on programs"), "{stderr}");
}
