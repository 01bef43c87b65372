//! What is done, for whom and how often. Processes and programs are real ones.

use std::fs;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::sys::running;

/// Readers that hold old content until something was done for them.
struct Old {
    processes: Vec<ProcessId>,
    is_done: AtomicBool,
    dones: AtomicUsize,
}

impl Old {
    fn of(processes: Vec<ProcessId>) -> Arc<Self> {
        Arc::new(Self { processes, is_done: AtomicBool::new(false), dones: AtomicUsize::new(0) })
    }

    fn this_process() -> Arc<Self> {
        Self::of(vec![running::running(std::process::id()).unwrap()])
    }
}

impl Subject for Old {
    fn due(&self) -> Vec<Due> {
        let due = |process: &ProcessId| Due { process: *process, content: [1; 4] };
        if self.is_done.load(Ordering::SeqCst) { vec![] } else { self.processes.iter().map(due).collect() }
    }

    fn done(&self, due: &[Due]) {
        assert_eq!(due.iter().map(|it| it.process).collect::<Vec<_>>(), self.processes);
        self.dones.fetch_add(1, Ordering::SeqCst);
        self.is_done.store(true, Ordering::SeqCst);
    }
}

fn command(script: &str) -> Reaction {
    let words = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Reaction {
        action: Action::Command(words),
        debounce: Duration::from_millis(50),
        timeout: Duration::from_secs(5),
    }
}

#[track_caller]
fn last(reactions: &Reactions, file: &str) -> Reacted {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        match reactions.last(Path::new(file)) {
            Some(last) if last.outcome != Outcome::Running => return last,
            _ => assert!(Instant::now() < patience, "nothing was done"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_command_for_all_files_and_wishes_within_its_debounce() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let reaction = command(&format!("echo $SECRETFS_FILES $SECRETFS_PIDS >> {}", log.display()));
    let reactions = Reactions::start();
    let (cert, key) = (Old::this_process(), Old::this_process());
    for _ in 0..5 {
        reactions.want(&reaction, Path::new("/run/cert"), cert.clone());
        reactions.want(&reaction, Path::new("/run/key"), key.clone());
    }
    assert_eq!(last(&reactions, "/run/cert").outcome, Outcome::Done);
    thread::sleep(Duration::from_millis(200));
    let pid = std::process::id();
    assert_eq!(fs::read_to_string(&log).unwrap(), format!("/run/cert /run/key {pid}\n"));
    assert_eq!(cert.dones.load(Ordering::SeqCst), 1);
    // Who holds nothing old needs nothing: the same wish is for nobody.
    reactions.want(&reaction, Path::new("/run/cert"), cert.clone());
    thread::sleep(Duration::from_millis(300));
    assert_eq!(last(&reactions, "/run/cert").outcome, Outcome::Gone);
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 1);
}

#[test]
fn a_command_has_nothing_of_ours() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("env");
    let reactions = Reactions::start();
    reactions.want(
        &command(&format!("env > {0}; ls /proc/self/fd >> {0}", log.display())),
        Path::new("/f"),
        Old::this_process(),
    );
    assert_eq!(last(&reactions, "/f").outcome, Outcome::Done);
    let seen = fs::read_to_string(&log).unwrap();
    assert!(!seen.contains("CARGO"), "{seen}");
    assert!(seen.contains("PATH=/usr/local/sbin:"), "{seen}");
    assert!(!seen.lines().any(|line| line == "5"), "no descriptor of ours: {seen}");
}

#[test]
fn a_command_that_fails_or_hangs_is_told_and_ends() {
    let reactions = Reactions::start();
    reactions.want(&command("exit 3"), Path::new("/fails"), Old::this_process());
    let failed = last(&reactions, "/fails");
    assert_eq!(
        (failed.outcome, failed.problem.as_deref()),
        (Outcome::Failed, Some("/bin/sh: exit status: 3"))
    );

    let words = vec!["/no/such/program".to_owned(), "an argument".to_owned()];
    let missing = Reaction { action: Action::Command(words), ..command("") };
    reactions.want(&missing, Path::new("/missing"), Old::this_process());
    let failed = last(&reactions, "/missing");
    assert_eq!(failed.outcome, Outcome::Failed);
    assert!(failed.problem.unwrap().contains("/no/such/program: No such file"));
    assert_eq!(failed.action, "command /no/such/program", "arguments are nobody's affair");

    let folder = TempDir::new().unwrap();
    let pid = folder.path().join("pid");
    let hangs = command(&format!("sleep 600 & echo $! > {}; wait", pid.display()));
    let hangs = Reaction { timeout: Duration::from_millis(300), ..hangs };
    let start = Instant::now();
    let subject = Old::this_process();
    reactions.want(&hangs, Path::new("/hangs"), subject.clone());
    assert_eq!(last(&reactions, "/hangs").outcome, Outcome::Late);
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(subject.dones.load(Ordering::SeqCst), 1, "it is not tried each second");
    let left: u32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let patience = Instant::now() + Duration::from_secs(5);
    while running::running(left).is_some() {
        assert!(Instant::now() < patience, "what it started ends with it");
    }
}

#[test]
fn a_command_that_hangs_keeps_no_other_back() {
    let reactions = Reactions::start();
    let hangs = Reaction { timeout: Duration::from_secs(3), ..command("sleep 600") };
    reactions.want(&hangs, Path::new("/hangs"), Old::this_process());
    thread::sleep(Duration::from_millis(100));
    reactions.want(&command("true"), Path::new("/other"), Old::this_process());
    let start = Instant::now();
    assert_eq!(last(&reactions, "/other").outcome, Outcome::Done);
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(reactions.last(Path::new("/hangs")).unwrap().outcome, Outcome::Running);
    last(&reactions, "/hangs");
}

/// A shell that ends with a status of its own when it is told to look again.
fn told() -> Child {
    let script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done";
    let mut child =
        Command::new("sh").args(["-c", script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    child
}

#[test]
fn a_signal_goes_to_who_is_meant_and_to_nobody_else() {
    let (mut meant, mut other) = (told(), told());
    let process = |child: &Child| running::running(child.id()).unwrap();
    // The second one has its number only: it started at another time.
    let mistaken = ProcessId { start: 1, ..process(&other) };
    let text = "mounts:\n- {at: m, templates: t, files: {f: {on_change: {signal: USR1, debounce: 1ms}}}}\n";
    let config = Config::parse(Path::new("/c.yaml"), text).unwrap();
    let reaction = config.mounts[0].files[Path::new("f")].on_change.clone().unwrap();
    let reactions = Reactions::start();
    reactions.want(&reaction, Path::new("/f"), Old::of(vec![process(&meant), mistaken]));
    assert_eq!(last(&reactions, "/f").outcome, Outcome::Done);
    assert_eq!(meant.wait().unwrap().code(), Some(7));
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
}
