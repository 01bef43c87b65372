//! `exec --file` where the system does not let a file be covered: nothing starts, and the message
//! says in plain words what is in the way and what to do.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use common::{TestStore, USER, stdout_of, tool};

fn prepared(store: TestStore) -> TestStore {
    store.set("pw", "hunter2");
    let owner = std::os::unix::fs::MetadataExt::uid(&store.folder().metadata().unwrap());
    for (name, text) in [("t.tpl", "<< secrets.pw >>\n"), ("f", "none\n")] {
        let path = store.folder().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
    }
    store
}

/// `secretfs exec --file f=t.tpl -- cat f`.
fn line(store: &TestStore) -> Command {
    store.command(&["exec", "--file", "f=t.tpl", "--", "cat", "f"])
}

/// The same as the last step of a script that makes a machine of its own.
fn within(store: &TestStore, unshare: &[&str], script: &str) -> Output {
    let mut command = Command::new(tool("unshare"));
    command.args(unshare).args(["sh", "-c", script, "sh"]);
    let line = line(store);
    command.arg(line.get_program()).args(line.get_args());
    command.current_dir(store.folder()).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn refused(output: &Output, says: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{stderr}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    for words in says {
        assert!(stderr.contains(words), "no `{words}` in: {stderr}");
    }
}

#[test]
fn no_device() {
    let store = prepared(TestStore::new());
    // The control: the machine without its fault.
    assert_eq!(stdout_of(&within(&store, &["--mount"], "exec \"$@\"")), "hunter2\n");
    let hidden = within(&store, &["--mount"], "mount -t tmpfs none /dev && exec \"$@\"");
    refused(&hidden, &["this machine has no /dev/fuse", "modprobe fuse", "--device /dev/fuse"]);
    let masked = within(&store, &["--mount"], "mount --bind /dev/null /dev/fuse && exec \"$@\"");
    refused(&masked, &["this machine has no /dev/fuse"]);
}

#[test]
fn a_device_for_root_alone() {
    let store = prepared(TestStore::of(USER));
    let run = |mode: &str| {
        let node = format!(
            "mount -t tmpfs none /dev && mknod /dev/fuse c 10 229 && chmod {mode} /dev/fuse && \
             exec setpriv --reuid {USER} --regid {USER} --clear-groups \"$@\""
        );
        within(&store, &["--mount"], &node)
    };
    refused(&run("600"), &["/dev/fuse cannot be opened by this user", "chmod 0666 /dev/fuse"]);
    assert_eq!(stdout_of(&run("666")), "hunter2\n");
}

#[test]
fn namespaces_are_switched_off() {
    let store = prepared(TestStore::new());
    // In a user namespace of its own, where this uid is not root, the switch is the test's.
    let own = [format!("--map-user={USER}"), format!("--map-group={USER}")];
    let unshare = ["--user", &own[0], &own[1], "--keep-caps"];
    let run = |most: &str| {
        let script = format!("echo {most} >/proc/sys/user/max_user_namespaces && exec \"$@\"");
        within(&store, &unshare, &script)
    };
    refused(&run("0"), &["user.max_user_namespaces is 0", "try: sudo sysctl user.max_user_namespaces="]);
    assert_eq!(stdout_of(&run("9")), "hunter2\n");
}

#[test]
fn a_sandbox_forbids_namespaces() {
    let store = prepared(TestStore::of(USER));
    let mut command = line(&store);
    assert_eq!(stdout_of(&command.output().unwrap()), "hunter2\n");
    // SAFETY: between fork and exec: two system calls with memory of this frame.
    unsafe { command.pre_exec(forbid_unshare) };
    refused(&command.output().unwrap(), &["this container or sandbox", "--cap-add SYS_ADMIN"]);
}

#[test]
fn root_without_the_privilege() {
    let store = prepared(TestStore::new());
    let mut command = Command::new(tool("setpriv"));
    command.args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]);
    let line = line(&store);
    command.arg(line.get_program()).args(line.get_args()).current_dir(store.folder());
    refused(
        &command.output().unwrap(),
        &["this container or sandbox", "--cap-add SYS_ADMIN --device /dev/fuse"],
    );
}

/// A seccomp filter like a container's: unshare(2) answers EPERM, everything else goes through.
fn forbid_unshare() -> std::io::Result<()> {
    let step = |code, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_unshare as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its steps live until the kernel has copied them.
    let outcome = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    if outcome == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
