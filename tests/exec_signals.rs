//! What a command gets of the signals that its wrapper gets, and how the wrapper ends: for `exec`,
//! which becomes the command, and for `exec --file`, which stays as its parent.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Keyboard, TestStore, USER, stdout_of, tool};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, signal, sigprocmask};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(20);

/// The ways, as options of `exec`.
const WAYS: [(&str, &[&str]); 4] = [
    ("exec", &["--env", "PW=pw"]),
    ("exec --file", &["--file", "f=t.tpl"]),
    ("exec --mask", &["--env", "PW=pw", "--mask"]),
    ("exec --mask --file", &["--mask", "--file", "f=t.tpl"]),
];
const BESIDE: &[&str] = WAYS[1].1;

fn store() -> TestStore {
    let store = TestStore::new();
    store.set("pw", "hunter2");
    fs::write(store.folder().join("t.tpl"), "<< secrets.pw >>\n").unwrap();
    fs::write(store.folder().join("f"), "none\n").unwrap();
    store
}

fn line(store: &TestStore, options: &[&str], command: &[&str]) -> Command {
    store.command(&[&["exec"], options, &["--"], command].concat())
}

/// Tells each signal that it gets, and ends with 42 at the first.
const TELLS: &str = "for s in TERM INT HUP QUIT USR1 USR2 WINCH CONT; do trap \"echo $s; exit 42\" $s; done
                     echo $$; while :; do sleep 0.02; done";

/// What happens | way | what the command got | how the wrapper ended | what is left.
const TABLE: &str = "
child exits 7        | exec               |       | exit 7     | nothing
child exits 7        | exec --file        |       | exit 7     | nothing
child exits 7        | exec --mask        |       | exit 7     | nothing
child exits 7        | exec --mask --file |       | exit 7     | nothing
child gets SIGSEGV   | exec               |       | signal 11  | nothing
child gets SIGSEGV   | exec --file        |       | exit 139   | nothing
child gets SIGSEGV   | exec --mask        |       | exit 139   | nothing
child gets SIGSEGV   | exec --mask --file |       | exit 139   | nothing
SIGTERM to wrapper   | exec               | TERM  | exit 42    | nothing
SIGTERM to wrapper   | exec --file        | TERM  | exit 42    | nothing
SIGTERM to wrapper   | exec --mask        | TERM  | exit 42    | nothing
SIGTERM to wrapper   | exec --mask --file | TERM  | exit 42    | nothing
SIGINT to wrapper    | exec               | INT   | exit 42    | nothing
SIGINT to wrapper    | exec --file        | INT   | exit 42    | nothing
SIGINT to wrapper    | exec --mask        | INT   | exit 42    | nothing
SIGINT to wrapper    | exec --mask --file | INT   | exit 42    | nothing
SIGHUP to wrapper    | exec               | HUP   | exit 42    | nothing
SIGHUP to wrapper    | exec --file        | HUP   | exit 42    | nothing
SIGHUP to wrapper    | exec --mask        | HUP   | exit 42    | nothing
SIGHUP to wrapper    | exec --mask --file | HUP   | exit 42    | nothing
SIGQUIT to wrapper   | exec               | QUIT  | exit 42    | nothing
SIGQUIT to wrapper   | exec --file        | QUIT  | exit 42    | nothing
SIGQUIT to wrapper   | exec --mask        | QUIT  | exit 42    | nothing
SIGQUIT to wrapper   | exec --mask --file | QUIT  | exit 42    | nothing
SIGUSR1 to wrapper   | exec               | USR1  | exit 42    | nothing
SIGUSR1 to wrapper   | exec --file        | USR1  | exit 42    | nothing
SIGUSR1 to wrapper   | exec --mask        | USR1  | exit 42    | nothing
SIGUSR1 to wrapper   | exec --mask --file | USR1  | exit 42    | nothing
SIGUSR2 to wrapper   | exec               | USR2  | exit 42    | nothing
SIGUSR2 to wrapper   | exec --file        | USR2  | exit 42    | nothing
SIGUSR2 to wrapper   | exec --mask        | USR2  | exit 42    | nothing
SIGUSR2 to wrapper   | exec --mask --file | USR2  | exit 42    | nothing
SIGWINCH to wrapper  | exec               | WINCH | exit 42    | nothing
SIGWINCH to wrapper  | exec --file        | WINCH | exit 42    | nothing
SIGWINCH to wrapper  | exec --mask        | WINCH | exit 42    | nothing
SIGWINCH to wrapper  | exec --mask --file | WINCH | exit 42    | nothing
SIGCONT to wrapper   | exec               | CONT  | exit 42    | nothing
SIGCONT to wrapper   | exec --file        | CONT  | exit 42    | nothing
SIGCONT to wrapper   | exec --mask        | CONT  | exit 42    | nothing
SIGCONT to wrapper   | exec --mask --file | CONT  | exit 42    | nothing
SIGKILL to wrapper   | exec               |       | signal 9   | nothing
SIGKILL to wrapper   | exec --file        |       | signal 9   | nothing
SIGKILL to wrapper   | exec --mask        |       | signal 9   | nothing
SIGKILL to wrapper   | exec --mask --file |       | signal 9   | nothing
";

#[test]
fn signals_and_statuses() {
    let store = store();
    let sent = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH", "CONT", "KILL"];
    let mut table = String::from("\n");
    let mut row = |event: &str, way: &str, seen: Seen| {
        table += &format!("{event:<20} | {way:<18} | {:<5} | {:<10} | {}\n", seen.told, seen.end, seen.left);
    };
    for (way, options) in WAYS {
        row("child exits 7", way, watch(line(&store, options, &["sh", "-c", "echo $$; exit 7"]), None));
    }
    for (way, options) in WAYS {
        let script = "echo $$; ulimit -c 0; kill -SEGV $$";
        row("child gets SIGSEGV", way, watch(line(&store, options, &["sh", "-c", script]), None));
    }
    for name in sent {
        for (way, options) in WAYS {
            let signal = format!("SIG{name}").parse().unwrap();
            let seen = watch(line(&store, options, &["sh", "-c", TELLS]), Some(signal));
            row(&format!("SIG{name} to wrapper"), way, seen);
        }
    }
    assert_eq!(table, TABLE);
}

struct Seen {
    /// What the command says that it got.
    told: String,
    end: String,
    left: &'static str,
}

/// Runs it, sends a signal to the wrapper's pid alone, and sees what comes of it.
fn watch(mut command: Command, signal: Option<Signal>) -> Seen {
    let mut wrapper = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(wrapper.stdout.take().unwrap()).lines().map(Result::unwrap);
    let pid = lines.next().expect("it tells its pid");
    if let Some(signal) = signal {
        kill(pid_of(&wrapper), signal).unwrap();
    }
    let status = ended(&mut wrapper);
    let left = if is_gone(&pid) { "nothing" } else { "the command runs on" };
    Seen { told: lines.collect::<Vec<_>>().join(" "), end: told(status), left }
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (_, signal) => format!("signal {}", signal.unwrap()),
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}

#[track_caller]
fn ended(child: &mut Child) -> ExitStatus {
    let patience = Instant::now() + PATIENCE;
    while Instant::now() < patience {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    panic!("the wrapper still runs");
}

/// Within a moment.
fn is_gone(pid: &str) -> bool {
    let patience = Instant::now() + Duration::from_secs(5);
    while state(pid).is_some_and(|state| state != 'Z') {
        if Instant::now() > patience {
            return false;
        }
        sleep(Duration::from_millis(2));
    }
    true
}

/// R, S, T, Z, … (proc_pid_stat(5)).
fn state(pid: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[track_caller]
fn await_state(pid: &str, wanted: &[char]) {
    let patience = Instant::now() + PATIENCE;
    while !state(pid).is_some_and(|state| wanted.contains(&state)) {
        assert!(Instant::now() < patience, "{pid} is {:?}, not {wanted:?}", state(pid));
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn real_time_signals_are_a_status_too() {
    let store = store();
    let mut wrapper = line(&store, BESIDE, &["sh", "-c", "kill -40 $$"]).spawn().unwrap();
    assert_eq!(told(ended(&mut wrapper)), "exit 168");
}

#[test]
fn mask_and_dispositions_are_inherited() {
    let store = store();
    let seen = |mut command: Command| {
        // SAFETY: between fork and exec: system calls only.
        unsafe {
            command.pre_exec(|| {
                for ignored in [Signal::SIGPIPE, Signal::SIGCHLD, Signal::SIGUSR2, Signal::SIGIO] {
                    signal(ignored, SigHandler::SigIgn)?;
                }
                let blocked = SigSet::from_iter([Signal::SIGUSR1, Signal::SIGTERM]);
                sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
                Ok(())
            });
        }
        stdout_of(&command.output().unwrap())
    };
    let status = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"];
    let mut direct = Command::new(status[0]);
    direct.args(&status[1..]);
    let direct = seen(direct);
    let ignored = direct.split_once("SigIgn:\t").unwrap().1.trim();
    let ours = 1 << 12 | 1 << 16 | 1 << 11 | 1 << 28;
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & ours, ours, "the test does what it says");
    for (way, options) in WAYS {
        assert_eq!(seen(line(&store, options, &status)), direct, "{way}");
    }
}

#[test]
fn the_command_stays_in_our_group_and_keeps_its_descriptors() {
    let store = store();
    let script =
        "cat; echo err >&2; [ $(ps -o pgid= $$) = $(ps -o pgid= $PPID) ] && echo same; ls /proc/$$/fd";
    let seen = |mut command: Command| {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"in\n").unwrap();
        let output = child.wait_with_output().unwrap();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let [stdout, stderr] = seen(line(&store, BESIDE, &["sh", "-c", script]));
    assert!(stdout.starts_with("in\nsame\n0\n1\n") && stderr == "err\n", "{stdout}{stderr}");
    let mut direct = Command::new("sh");
    direct.args(["-c", script]);
    assert_eq!(stdout.replace("same\n", ""), seen(direct)[0].replace("same\n", ""), "no descriptor more");
}

/// Who reads what the command writes has its end when the command closes it, not when it ends.
#[test]
fn a_pipe_that_the_command_closes_is_closed() {
    let store = store();
    let script = "echo said; exec >&-; while [ ! -e go ]; do sleep 0.02; done; rm go";
    for (way, options) in WAYS {
        let mut wrapper =
            line(&store, options, &["sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let mut stdout = wrapper.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut said = String::new();
            let _ = tell.send(stdout.read_to_string(&mut said).map(|_| said));
        });
        let said = told.recv_timeout(PATIENCE);
        fs::write(store.folder().join("go"), "").unwrap();
        assert_eq!(said.expect("the end of the pipe").unwrap(), "said\n", "{way}");
        assert!(ended(&mut wrapper).success());
    }
}

/// Each orphan of a container comes to PID 1, and stays a zombie if that does not look after it.
#[test]
fn pid_1_reaps_orphans() {
    let script = "for n in 1 2 3; do sh -c 'sleep 0.05 & exec true'; done; sleep 0.3
                  grep -l 'State:.Z' /proc/[0-9]*/status | wc -l; exit 7";
    let alone = |command: Command| {
        let mut unshare = Command::new(tool("unshare"));
        unshare.args(["--pid", "--fork", "--mount-proc"]).arg(command.get_program()).args(command.get_args());
        unshare.current_dir(command.get_current_dir().unwrap_or(Path::new("/")));
        let output = unshare.output().unwrap();
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    };
    let store = store();
    assert_eq!(alone(line(&store, BESIDE, &["sh", "-c", script])), ("0\n".to_owned(), Some(7)));
    // The control: a PID 1 that waits for its own child alone.
    let mut careless = Command::new("python3");
    let run = "import os, subprocess, sys; sys.exit(subprocess.run(['sh', '-c', sys.argv[1]]).returncode)";
    careless.args(["-c", run, script]);
    assert_eq!(alone(careless), ("3\n".to_owned(), Some(7)));
}

/// The first process of a container gets SIGTERM from outside and from inside.
#[test]
fn pid_1_passes_signals_on() {
    let store = store();
    let line = line(&store, BESIDE, &["sh", "-c", "trap 'echo TERM; exit 3' TERM; kill 1; sleep 5"]);
    let mut unshare = Command::new(tool("unshare"));
    unshare.args(["--pid", "--fork", "--mount-proc"]).arg(line.get_program()).args(line.get_args());
    let output = unshare.current_dir(store.folder()).output().unwrap();
    assert_eq!((&*String::from_utf8_lossy(&output.stdout), output.status.code()), ("TERM\n", Some(3)));
}

/// Counts what it gets; ends when it is told to.
const COUNTS: &str = "trap 'echo got-int' INT; trap 'echo got-quit' QUIT; trap 'echo got-winch' WINCH
                      trap 'echo got-term; exit 5' TERM; trap 'echo got-cont' CONT
                      echo pid=$$=; while :; do sleep 0.02; done";

/// The pid that the command has told on the screen.
fn pid_on(screen: &str) -> String {
    screen.split('=').nth(1).unwrap().to_owned()
}

#[test]
fn keys_reach_the_command_once() {
    let store = store();
    for (way, options) in WAYS {
        let mut terminal = Keyboard::start(line(&store, options, &["sh", "-c", COUNTS]));
        terminal.expect("pid=");
        for (keys, what) in [("\x03", "got-int"), ("\x1c", "got-quit"), ("\x03", "got-int")] {
            terminal.press(keys);
            terminal.expect(what);
        }
        terminal.resize(33, 77);
        terminal.expect("got-winch");
        sleep(Duration::from_millis(300));
        kill(Pid::from_raw(terminal.pid() as i32), Signal::SIGTERM).unwrap();
        terminal.expect("got-term");
        assert_eq!(told(terminal.wait()), "exit 5", "{way}");
        let screen = terminal.screen();
        let counts = ["got-int", "got-quit", "got-winch", "got-term"].map(|it| screen.matches(it).count());
        assert_eq!(counts, [2, 1, 1, 1], "{way}: {screen}");
    }
}

#[test]
fn ctrl_c_ends_a_command_that_does_not_mind() {
    let store = store();
    let mut terminal = Keyboard::start(line(&store, BESIDE, &["sh", "-c", "echo run; exec sleep 60"]));
    terminal.expect("run");
    terminal.press("\x03");
    assert_eq!(told(terminal.wait()), "exit 130");
}

/// The leader of a session alone is told that the terminal is gone.
#[test]
fn a_dropped_line_reaches_the_command() {
    let store = store();
    for (way, options) in WAYS {
        let script = "trap 'echo got-hup >>hup; exit 6' HUP; echo run; while :; do sleep 0.02; done";
        let mut terminal = Keyboard::start(line(&store, options, &["sh", "-c", script]));
        terminal.expect("run");
        terminal.hang_up();
        assert_eq!(told(terminal.wait()), "exit 6", "{way}");
    }
    assert_eq!(fs::read_to_string(store.folder().join("hup")).unwrap(), "got-hup\n".repeat(WAYS.len()));
}

/// The line as one types it.
fn typed(store: &TestStore, options: &[&str], script: &str) -> String {
    let line = line(store, options, &["sh", "-c"]);
    let words = [line.get_program()].into_iter().chain(line.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap().to_owned()).collect();
    format!("{} '{script}'", words.join(" "))
}

#[test]
fn ctrl_z_stops_both_and_fg_continues_both() {
    let store = store();
    for (way, options) in WAYS {
        // It starts nothing meanwhile: dash does not stop as long as what it starts has stopped before
        // its own exec (vfork).
        let script = "echo pid=$$=; read line; cat f; exit 7";
        let mut bash = Keyboard::shell(store.folder());
        bash.press(&format!("{}; echo status:$?:\n", typed(&store, options, script)));
        bash.expect("\npid=");
        sleep(Duration::from_millis(50));
        let child = pid_on(bash.screen().rsplit_once("\npid").unwrap().1);
        let parent = parent_of(&child);
        bash.press("\x1a");
        bash.expect("Stopped");
        bash.expect("status:148:");
        await_state(&child, &['T']);
        if way == "exec --file" {
            await_state(&parent, &['T']);
        }
        bash.press("fg; echo status:$?:\n");
        await_state(&child, &['S', 'R']);
        bash.press("\n");
        bash.expect(match way {
            "exec --file" => "hunter2",
            "exec --mask --file" => "\n***",
            _ => "none",
        });
        bash.expect("status:7:");
    }
}

fn parent_of(pid: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned()
}

/// A shell in a shell leads a group of its own: its jobs are its affair, and when it stops itself,
/// the outer one gets the terminal.
#[test]
fn a_shell_inside_has_its_own_jobs() {
    let store = store();
    let mut bash = Keyboard::shell(store.folder());
    let inner = typed(&store, BESIDE, "").replace("sh -c ''", "bash --norc --noprofile -i");
    bash.press(&format!("{inner}\n"));
    bash.expect("bash --norc --noprofile -i");
    bash.press("echo inner-$((1+1))\n");
    bash.expect("inner-2");
    bash.press("sleep 60\n");
    sleep(Duration::from_millis(200));
    bash.press("\x03");
    bash.press("echo after-$((1+1))\n");
    bash.expect("after-2");
    bash.press("kill -STOP $$\n");
    bash.expect("Stopped");
    bash.press("echo outer-$((1+1))\n");
    bash.expect("outer-2");
    bash.press("fg\n");
    bash.press("cat f; exit 9\n");
    bash.expect("hunter2");
    bash.press("echo status:$?:\n");
    bash.expect("status:9:");
}

/// Who stops the command alone, as a debugger does, does not stop those who serve it.
#[test]
fn a_stop_without_a_shell_is_the_commands_own() {
    let store = store();
    let script = "echo $$; while [ ! -e go ]; do sleep 0.02; done; cat f";
    let mut wrapper = line(&store, BESIDE, &["sh", "-c", script]);
    // A session of its own: no shell is there that would continue anybody.
    // SAFETY: between fork and exec: one system call.
    unsafe { wrapper.pre_exec(|| Ok(nix::unistd::setsid().map(|_| ())?)) };
    let mut wrapper = wrapper.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(wrapper.stdout.take().unwrap()).lines().map(Result::unwrap);
    let pid = lines.next().unwrap();
    let child = Pid::from_raw(pid.parse().unwrap());
    kill(child, Signal::SIGSTOP).unwrap();
    await_state(&pid, &['T']);
    sleep(Duration::from_millis(100));
    assert_eq!(state(&pid), Some('T'), "the wrapper does not continue it");
    assert_ne!(state(&wrapper.id().to_string()), Some('T'));
    kill(child, Signal::SIGCONT).unwrap();
    fs::write(store.folder().join("go"), "").unwrap();
    assert_eq!(lines.next().unwrap(), "hunter2");
    assert!(ended(&mut wrapper).success());
}

/// A reader that waits for a rendering is let go when the wrapper is killed, child or orphan.
#[test]
fn a_killed_wrapper_lets_its_readers_go() {
    let store = store();
    let script = "echo $$; setsid sh -c 'echo $$; while cat f; do sleep 0.01; done; echo over' 2>&1 & wait";
    let mut wrapper = line(&store, BESIDE, &["sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(wrapper.stdout.take().unwrap()).lines().map(Result::unwrap);
    let pids: Vec<String> = lines.by_ref().filter(|line| line != "hunter2").take(2).collect();
    wrapper.kill().unwrap();
    assert_eq!(told(ended(&mut wrapper)), "signal 9");
    assert!(is_gone(&pids[0]), "the command");
    let rest: Vec<String> = lines.filter(|line| line != "hunter2").collect();
    assert_eq!(rest.last().map(String::as_str), Some("over"), "{rest:?}");
    assert!(rest[0].contains("not connected") || rest[0].contains("abort"), "{rest:?}");
}

/// `mount -- CMD` has the same parent.
#[test]
fn a_command_with_a_mount_of_its_own_is_treated_alike() {
    let store = TestStore::of(USER);
    store.set("pw", "hunter2");
    let owner = Some(USER);
    for folder in ["templates", "mnt"] {
        fs::create_dir(store.folder().join(folder)).unwrap();
        std::os::unix::fs::chown(store.folder().join(folder), owner, owner).unwrap();
    }
    let inside = |script: &str| store.command(&["mount", "templates", "mnt", "--", "sh", "-c", script]);
    assert_eq!(watch(inside("echo $$; exit 7"), None).end, "exit 7");
    assert_eq!(watch(inside("echo $$; ulimit -c 0; kill -SEGV $$"), None).end, "exit 139");
    for (name, end) in [("TERM", "exit 42"), ("HUP", "exit 42"), ("KILL", "signal 9")] {
        let seen = watch(inside(TELLS), Some(format!("SIG{name}").parse().unwrap()));
        assert_eq!((&*seen.end, seen.left), (end, "nothing"), "{name}");
    }
    let missing = store.run(&["mount", "templates", "mnt", "--", "no-such-command"]);
    assert_eq!(missing.status.code(), Some(127), "{missing:?}");
    let env = inside("env").env("SECRETFS_API_TOKEN", "t").output().unwrap();
    assert!(!stdout_of(&env).contains("SECRETFS_API_TOKEN"));
}
