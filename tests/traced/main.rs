//! No process of ours can be looked into by its own user, nor leaves a core file behind. The control
//! of each is the same program, told to keep itself open.

#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use common::{NAMED, Running, TestDaemon, TestStore, eventually, stdout_of, tool};

const OPEN: (&str, &str) = ("SECRETFS_TEST_WEAKNESS", "open");
const WAYS: [&str; 7] = ["environ", "mem", "maps", "exe", "root", "ptrace", "process_vm_readv"];

/// The processes that run a program, whoever has started them.
fn running(program: &Path) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|it| it == program)).collect()
}

fn name_of(pid: i32) -> String {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.replace('\0', " ")
}

/// A program that says what its user gets of another process.
fn look(folder: &Path) -> PathBuf {
    let program = folder.join("look");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traced/look.c");
    let mut gcc = Command::new(tool("gcc"));
    gcc.args(["-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(source);
    stdout_of(&gcc.output().unwrap());
    program
}

fn open_ways(look: &Path, pid: i32) -> Vec<String> {
    let output = Command::new(look).arg(pid.to_string()).uid(NAMED).gid(NAMED).output().unwrap();
    let said = stdout_of(&output);
    assert_eq!(said.lines().count(), WAYS.len(), "{said}");
    said.lines().filter_map(|line| line.strip_suffix(" open").map(str::to_owned)).collect()
}

/// Waits for the rest of its value.
fn setting(store: &TestStore, env: Option<(&str, &str)>) -> Child {
    let mut command = store.command(&["set", "unfinished"]);
    command.envs(env).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"canary").unwrap();
    let waits = || fs::read_to_string(format!("/proc/{}/wchan", child.id())).ok();
    eventually("it reads its stdin", || waits().filter(|it| it.contains("pipe")).map(drop));
    child
}

/// A daemon, a command that waits for its value, and one with a parent that serves its files: what
/// each process of ours lets its own user do.
fn open_processes(env: Option<(&str, &str)>) -> Vec<(String, Vec<String>)> {
    let mut daemon =
        TestDaemon::on(TestStore::of(NAMED)).secret("k", "v").template("f.tpl", "<< secrets.k >>\n");
    if let Some((name, value)) = env {
        daemon = daemon.env(name, value);
    }
    let daemon = daemon.start();
    let store = daemon.store();
    let mut set = setting(store, env);
    fs::write(store.folder().join("covered"), "").unwrap();
    let options = ["--file", "covered=templates/f.tpl"];
    let mut exec = Running::start_with(store, &options, env);
    assert_eq!((exec.say().0, exec.ask("cat covered")), (String::new(), "v\n".to_owned()));
    let look = look(store.folder());
    let pids = running(&store.folder().join("secretfs"));
    let seen = pids.into_iter().map(|pid| (name_of(pid), open_ways(&look, pid))).collect();
    exec.end();
    set.kill().and_then(|()| set.wait()).unwrap();
    seen
}

/// As the user whose processes they are.
#[test]
fn nobody_looks_into_our_processes() {
    let seen = open_processes(None);
    for what in ["daemon ", "--worker", "set unfinished", "exec --file"] {
        assert!(seen.iter().any(|(name, _)| name.contains(what)), "no {what}: {seen:?}");
    }
    // Who owns a user namespace may look at whatever becomes a program in it. The keeper of covered files has no
    // value (exec_keep.rs), and reaches no more than the command beside it, which its user may trace.
    let is_keeper = |name: &str| name.contains("--keep");
    let open: Vec<_> = seen.iter().filter(|(name, ways)| !ways.is_empty() && !is_keeper(name)).collect();
    assert!(open.is_empty(), "{open:?}");
    let control = open_processes(Some(OPEN));
    let worker = control.iter().find(|(name, _)| name.contains("--worker")).unwrap();
    assert_eq!(worker.1, WAYS, "the control");
}

/// What gdb says when its user attaches to the daemon.
#[test]
fn no_debugger_attaches() {
    let told = |daemon: TestDaemon| {
        let daemon = daemon.start();
        let mut gdb = Command::new(tool("gdb"));
        gdb.args(["-nx", "-batch", "-iex", "set auto-load off", "-ex", "info registers rip", "-p"]);
        gdb.arg(daemon.worker_pid().to_string()).uid(NAMED).gid(NAMED).env("HOME", daemon.folder());
        let output = gdb.current_dir("/").output().unwrap();
        [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat()
    };
    let new = || TestDaemon::on(TestStore::of(NAMED)).secret("k", "v").template("f.tpl", "<< secrets.k >>\n");
    let refused = told(new());
    assert!(refused.contains("Operation not permitted") && !refused.contains("rip  "), "{refused}");
    let control = told(new().env(OPEN.0, OPEN.1));
    assert!(control.contains("rip  "), "the control: {control}");
}

/// Ends this process as a crash would, and answers whether the kernel has made a core file of it. Where
/// core dumps go, and whether they are asked for at all, does not matter to a process that has none.
fn dumps(mut child: Child) -> bool {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGABRT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32));
    status.core_dumped()
}

#[test]
fn no_core_file_is_left() {
    let store = TestStore::new();
    let set = |env: Option<(&str, &str)>| {
        let mut command = store.command(&["set", "unfinished"]);
        let folder = tempfile::tempdir().unwrap();
        command.envs(env).stdin(Stdio::piped()).current_dir(folder.path());
        unlimited(&mut command);
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"canary").unwrap();
        let waits = || fs::read_to_string(format!("/proc/{}/wchan", child.id())).ok();
        eventually("it reads its stdin", || waits().filter(|it| it.contains("pipe")).map(drop));
        (dumps(child), fs::read_dir(folder.path()).unwrap().count())
    };
    assert_eq!(set(None), (false, 0));
    let (is_dumped, files) = set(Some(OPEN));
    assert!(is_dumped, "the control: this system makes core dumps");
    let to_a_file =
        !fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().starts_with(['|', '/', '@']);
    assert_eq!(files, usize::from(to_a_file), "the control");
}

/// Holder and worker, crashed one after the other, in a folder that they may write to.
#[test]
fn no_core_file_is_left_of_a_daemon() {
    let cores = |env: Option<(&str, &str)>| {
        let mut daemon = TestDaemon::new().secret("k", "v").template("f.tpl", "<< secrets.k >>\n");
        if let Some((name, value)) = env {
            daemon = daemon.env(name, value);
        }
        let mut daemon = daemon.start_with(unlimited);
        assert_eq!(daemon.read("f"), "v\n");
        let worker = daemon.worker_pid();
        kill(Pid::from_raw(worker.cast_signed()), Signal::SIGABRT).unwrap();
        eventually("another worker", || daemon.workers().into_iter().find(|pid| *pid != worker));
        daemon.signal(Signal::SIGABRT);
        daemon.abort();
        let names = fs::read_dir(daemon.folder()).unwrap().map(|it| it.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("core")).count()
    };
    assert_eq!(cores(None), 0);
    if fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().starts_with("core") {
        assert!(cores(Some(OPEN)) > 0, "the control");
    }
}

/// As much of a core as there is, whatever the limit here.
fn unlimited(command: &mut Command) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    // SAFETY: two system calls, after the fork.
    unsafe {
        command.pre_exec(|| {
            let (_, most) = getrlimit(Resource::RLIMIT_CORE)?;
            Ok(setrlimit(Resource::RLIMIT_CORE, most, most)?)
        })
    };
}
