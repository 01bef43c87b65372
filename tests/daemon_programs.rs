//! What a worker has started ends with it, however it ends: programs that are asked for secrets at
//! once, with what they have started; a reaction when its time is up, and it is not begun again.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Daemon, TestDaemon, TestStore, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than a worker's first moments, in which a death counts as a failure to start, and than it
/// takes to note what was begun.
const A_WHILE: Duration = Duration::from_millis(300);

/// Says who it is, who heads its group and whom it has started; then it hangs.
const HANGS: &str = "#!/bin/sh
cd $(dirname \"$0\")
sleep 600 &
echo $$ $! $(cut -d' ' -f5 /proc/$$/stat) >> started
sleep 600
";

fn hanging() -> Daemon {
    let daemon = TestDaemon::new().template("f.tpl", "<< secret('p:a') >>").config(
        "providers: {p: {type: exec, command: [./program], timeout: 4s}}
mounts:
- {at: mnt, templates: templates, deadline: 6s}
",
    );
    let program = daemon.folder().join("program");
    fs::write(&program, HANGS).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    daemon.start()
}

/// Somebody who reads a file and waits.
struct Waiting(Child);

impl Waiting {
    fn for_file(daemon: &Daemon, name: &str) -> Self {
        let mut cat = Command::new("cat");
        cat.arg(daemon.path(name)).stdout(Stdio::null()).stderr(Stdio::null());
        Self(cat.spawn().unwrap())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A line for each start that this file tells of.
fn starts(daemon: &Daemon, file: &str) -> Vec<Vec<u32>> {
    let text = fs::read_to_string(daemon.folder().join(file)).unwrap_or_default();
    let line = |line: &str| line.split(' ').map(|pid| pid.parse().unwrap()).collect();
    text.split_inclusive('\n').filter_map(|it| it.strip_suffix('\n')).map(line).collect()
}

fn runs(pid: &u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn end(pid: u32) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
}

#[track_caller]
fn await_starts(daemon: &Daemon, file: &str, times: usize) -> Vec<Vec<u32>> {
    eventually("a program", || Some(starts(daemon, file)).filter(|starts| starts.len() >= times))
}

/// Each successor asks again, for the reader who still waits.
#[test]
fn programs_end_with_the_worker_that_asked_them() {
    let kills = if common::long() { 20 } else { 4 };
    let mut daemon = hanging();
    let reader = Waiting::for_file(&daemon, "f");
    for number in 1..=kills {
        let started = await_starts(&daemon, "started", number);
        assert_eq!(started.len(), number);
        assert!(started[number - 1].iter().all(runs), "the control: they run until then");
        let name = || fs::read_to_string(format!("/proc/{}/comm", started[number - 1][2])).ok();
        eventually("its name", || (name()? == "secretfs-minder\n").then_some(()));
        sleep(A_WHILE);
        let killed = Instant::now();
        end(daemon.worker_pid());
        eventually("their end", || (!started.iter().flatten().any(runs)).then_some(()));
        println!("nothing is left {:?} after the kill", killed.elapsed());
    }
    await_starts(&daemon, "started", kills + 1);
    drop(reader);
    assert!(daemon.stop().success());
    eventually("nothing is left", || (!starts(&daemon, "started").iter().flatten().any(runs)).then_some(()));
}

#[test]
fn a_reaction_goes_on_without_its_worker_until_its_time_is_up_and_is_not_repeated() {
    let folder = TestStore::new();
    let log = folder.folder().join("log");
    let script = format!("echo $$ >> {}; exec sleep 600", log.display());
    let on_change =
        format!("{{on_change: {{command: [/bin/sh, -c, '{script}'], debounce: 50ms, timeout: 3s}}}}");
    let daemon = TestDaemon::new()
        .secret("k", "one")
        .template("f.tpl", "<< secrets.k >>\n")
        .config(&format!("mounts:\n- at: mnt\n  templates: templates\n  files: {{f: {on_change}}}\n"))
        .start();
    // This process is the reader.
    daemon.read("f");
    eventually("a reader", || {
        String::from_utf8_lossy(&daemon.run(&["readers"]).stdout).contains("current").then_some(())
    });
    daemon.store().set("k", "two");
    let pid =
        eventually("the reaction", || fs::read_to_string(&log).ok()?.strip_suffix('\n')?.parse::<u32>().ok());
    sleep(A_WHILE);
    daemon.kill_worker();
    daemon.await_log("the worker serves", 2);
    assert!(runs(&pid), "a command that restarts something is not cut short");
    eventually("its end", || (!runs(&pid)).then_some(()));
    sleep(Duration::from_secs(2));
    assert_eq!(fs::read_to_string(&log).unwrap(), format!("{pid}\n"), "once");
}
