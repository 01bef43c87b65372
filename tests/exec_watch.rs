//! `exec --watch`: when a value changes that the command uses, it is started anew or signalled; when
//! anything else happens, it is not.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, sleep};
use std::time::Duration;

use common::{Keyboard, TestStore, stdout_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than a change takes to be noticed and to settle.
const SOON: Duration = Duration::from_millis(1500);

fn store() -> TestStore {
    let store = TestStore::new();
    store.set("pw", "value-1").set("other", "other-1");
    fs::write(store.folder().join("t.tpl"), "pw=<< secrets.pw >>\n").unwrap();
    fs::write(store.folder().join("f"), "none\n").unwrap();
    store
}

fn line(store: &TestStore, options: &[&str], script: &str) -> Command {
    store.command(&[&["exec"], options, &["--", "sh", "-c", script]].concat())
}

/// The command of a wrapper, and what it says.
struct Running {
    wrapper: Child,
    says: Receiver<String>,
    warns: Receiver<String>,
}

impl Running {
    fn start(store: &TestStore, options: &[&str], script: &str) -> Self {
        let mut command = line(store, options, script);
        let mut wrapper = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let says = heard(BufReader::new(wrapper.stdout.take().unwrap()).lines());
        let warns = heard(BufReader::new(wrapper.stderr.take().unwrap()).lines());
        Self { wrapper, says, warns }
    }

    #[track_caller]
    fn says(&self, expected: &str) {
        assert_eq!(self.says.recv_timeout(PATIENCE).expect("a line"), expected);
    }

    #[track_caller]
    fn is_silent(&self) {
        sleep(SOON);
        let said: Vec<String> = self.says.try_iter().collect();
        assert!(said.is_empty(), "{said:?}");
    }

    fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.wrapper.id() as i32), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.wrapper.kill();
        let _ = self.wrapper.wait();
    }
}

fn heard<R: BufRead + Send + 'static>(lines: Lines<R>) -> Receiver<String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    told
}

/// Tells what it has, and waits.
const SERVER: &str = "trap 'echo bye; exit 5' TERM; echo $PW; cat f; while :; do sleep 0.02; done";

#[test]
fn a_change_starts_the_command_anew_with_the_new_values() {
    let store = store();
    for mask in [&[][..], &["--mask"]] {
        for file in [&[][..], &["--file", "f=t.tpl"]] {
            store.set("pw", "value-1");
            let options = [&["--watch", "--env", "PW=pw"], mask, file].concat();
            let running = Running::start(&store, &options, SERVER);
            let shown = |value: &str| if mask.is_empty() { value.to_owned() } else { "***".to_owned() };
            let in_file = |value: &str| {
                if file.is_empty() { "none".to_owned() } else { format!("pw={}", shown(value)) }
            };
            running.says(&shown("value-1"));
            running.says(&in_file("value-1"));
            for value in ["value-2", "value-3"] {
                store.set("pw", value);
                running.says("bye");
                running.says(&shown(value));
                running.says(&in_file(value));
            }
            let mut running = running;
            running.send(Signal::SIGTERM);
            running.says("bye");
            assert_eq!(running.wrapper.wait().unwrap().code(), Some(5), "{options:?}");
        }
    }
}

#[test]
fn nothing_else_starts_it_anew() {
    let store = store();
    let running = Running::start(&store, &["--watch", "--env", "PW=pw"], SERVER);
    running.says("value-1");
    running.says("none");
    store.set("other", "other-2");
    stdout_of(&store.run(&["show", "pw"]));
    store.set("pw", "value-1");
    running.is_silent();
    // The control: nothing is watched without the option.
    let control = Running::start(&store, &["--env", "PW=pw"], SERVER);
    control.says("value-1");
    control.says("none");
    store.set("pw", "value-2");
    control.is_silent();
    running.says("bye");
}

#[test]
fn changes_that_come_together_are_one() {
    let store = store();
    let running = Running::start(
        &store,
        &["--watch", "--env", "PW=pw", "--env", "O=other"],
        "echo \"$PW $O\"; exec sleep 60",
    );
    running.says("value-1 other-1");
    store.set("pw", "value-2").set("other", "other-2");
    running.says("value-2 other-2");
    running.is_silent();
}

#[test]
fn a_signal_tells_a_command_whose_files_are_current() {
    let store = store();
    let script =
        "trap 'echo hup; cat f' HUP; trap 'echo usr1; cat f' USR1; echo $$; while :; do sleep 0.02; done";
    for (option, told) in
        [("--watch=reload", "hup"), ("--watch=signal:USR1", "usr1"), ("--watch=signal:sighup", "hup")]
    {
        let running = Running::start(&store, &[option, "--file", "f=t.tpl"], script);
        let first = running.says.recv_timeout(PATIENCE).unwrap();
        store.set("pw", format!("value-of-{told}-{first}"));
        running.says(told);
        running.says(&format!("pw=value-of-{told}-{first}"));
        running.is_silent();
    }
}

/// What cannot be started is not ended.
#[test]
fn the_old_one_goes_on_if_something_is_missing() {
    let store = store();
    let running = Running::start(&store, &["--watch", "--env", "PW=pw"], SERVER);
    running.says("value-1");
    running.says("none");
    stdout_of(&store.run(&["disable", "pw"]));
    let told = running.warns.recv_timeout(PATIENCE).unwrap();
    assert!(told.contains("goes on with the values that it has") && told.contains("missing"), "{told}");
    running.is_silent();
    stdout_of(&store.run(&["enable", "pw"]));
    store.set("pw", "value-2");
    running.says("bye");
    running.says("value-2");
    assert!(running.warns.try_iter().all(|line| !line.contains("goes on")), "told once");
}

#[test]
fn its_own_end_is_the_end() {
    let store = store();
    let mut running = Running::start(&store, &["--watch", "--env", "PW=pw"], "echo $PW; read line; exit 7");
    running.says("value-1");
    assert_eq!(running.wrapper.wait().unwrap().code(), Some(7), "its input has ended");
    let script = "[ $PW = value-1 ] || exit 9; echo $PW; exec sleep 60";
    let mut running = Running::start(&store, &["--watch", "--env", "PW=pw"], script);
    running.says("value-1");
    store.set("pw", "value-2");
    assert_eq!(running.wrapper.wait().unwrap().code(), Some(9), "of the second");
}

#[test]
fn a_command_that_will_not_end_is_killed() {
    let store = store();
    let mut command =
        line(&store, &["--watch", "--env", "PW=pw"], "trap '' TERM; echo $PW; while :; do sleep 0.02; done");
    let mut wrapper = command.env("SECRETFS_TEST_GRACE_MS", "300").stdout(Stdio::piped()).spawn().unwrap();
    let says = heard(BufReader::new(wrapper.stdout.take().unwrap()).lines());
    assert_eq!(says.recv_timeout(PATIENCE).unwrap(), "value-1");
    store.set("pw", "value-2");
    assert_eq!(says.recv_timeout(PATIENCE).unwrap(), "value-2");
    wrapper.kill().unwrap();
    wrapper.wait().unwrap();
}

/// Until nobody can say anything any more.
#[track_caller]
fn is_not_started_again(says: &Receiver<String>) {
    let said: Vec<String> = std::iter::from_fn(|| says.recv_timeout(PATIENCE).ok()).collect();
    assert!(said.iter().all(|line| line == "bye"), "it is started again: {said:?}");
}

/// Who is told to end while the command is ending for a change does not start it anew.
#[test]
fn a_signal_while_it_is_to_be_started_anew_is_the_end() {
    let store = store();
    let slow = "trap 'echo bye; sleep 2; exit 5' TERM; trap 'exit 6' INT QUIT HUP; echo $PW; while :; do sleep 0.02; done";
    // Of the end that the change has asked for, and of the signal that nobody heeds.
    for mask in [&[][..], &["--mask"]] {
        for (signal, status) in [(Signal::SIGTERM, 5), (Signal::SIGINT, 5), (Signal::SIGQUIT, 5)] {
            store.set("pw", "value-1");
            let mut running = Running::start(&store, &[&["--watch", "--env", "PW=pw"], mask].concat(), slow);
            running.says.recv_timeout(PATIENCE).unwrap();
            store.set("pw", "value-2");
            running.says("bye");
            running.send(signal);
            is_not_started_again(&running.says);
            let code = running.wrapper.wait().unwrap().code();
            assert!(code == Some(status) || code == Some(6), "{signal} {mask:?} {code:?}");
        }
    }
}

/// The same for one that dies of it.
#[test]
fn a_signal_that_it_dies_of_is_its_status() {
    let store = store();
    let script = "import os, signal, sys, time
def end(*_):
    print('bye', flush=True)
    time.sleep(2)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, signal.SIG_DFL)
print(os.environ['PW'], flush=True)
while True: time.sleep(1)";
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGQUIT, 131)] {
        store.set("pw", "value-1");
        let mut command =
            store.command(&["exec", "--watch", "--env", "PW=pw", "--", "python3", "-c", script]);
        let mut wrapper = command.stdout(Stdio::piped()).spawn().unwrap();
        let says = heard(BufReader::new(wrapper.stdout.take().unwrap()).lines());
        assert_eq!(says.recv_timeout(PATIENCE).unwrap(), "value-1");
        store.set("pw", "value-2");
        assert_eq!(says.recv_timeout(PATIENCE).unwrap(), "bye");
        kill(Pid::from_raw(wrapper.id() as i32), signal).unwrap();
        is_not_started_again(&says);
        assert_eq!(wrapper.wait().unwrap().code(), Some(status), "{signal}");
    }
}

/// When the command has ended, and what it left behind has not yet.
#[test]
fn a_signal_between_two_commands_is_the_end() {
    let store = store();
    let script = "sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' >/dev/null & echo $! >>left
        echo $$; echo $PW; exec sleep 60";
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        store.set("pw", "value-1");
        let mut running = Running::start(&store, &["--watch", "--env", "PW=pw"], script);
        let pid = running.says.recv_timeout(PATIENCE).unwrap();
        running.says("value-1");
        store.set("pw", "value-2");
        // Who ignores SIGTERM gets two seconds more.
        while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            sleep(Duration::from_millis(5));
        }
        sleep(Duration::from_millis(300));
        running.send(signal);
        is_not_started_again(&running.says);
        let code = running.wrapper.wait().unwrap().code();
        assert_eq!(code, Some(128 + signal as i32), "{signal}");
    }
    for pid in fs::read_to_string(store.folder().join("left")).unwrap().lines() {
        let _ = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL);
    }
}

/// Told to end first: a change that comes while it is at it does not start it anew. Where it goes on
/// all the same, the change is not forgotten.
#[test]
fn a_change_while_it_is_ending_starts_nothing() {
    let store = store();
    let slow = "trap 'echo bye; sleep 3; exit 5' TERM; echo $PW; while :; do sleep 0.02; done";
    let mut running = Running::start(&store, &["--watch", "--env", "PW=pw"], slow);
    running.says("value-1");
    running.send(Signal::SIGTERM);
    running.says("bye");
    store.set("pw", "value-2");
    is_not_started_again(&running.says);
    assert_eq!(running.wrapper.wait().unwrap().code(), Some(5));
    store.set("pw", "value-1");
    let heedless = "trap 'echo int' INT; echo $PW; while :; do sleep 0.02; done";
    let mut command = line(&store, &["--watch", "--env", "PW=pw"], heedless);
    let mut wrapper = command.env("SECRETFS_TEST_GRACE_MS", "1000").stdout(Stdio::piped()).spawn().unwrap();
    let says = heard(BufReader::new(wrapper.stdout.take().unwrap()).lines());
    assert_eq!(says.recv_timeout(PATIENCE).unwrap(), "value-1");
    kill(Pid::from_raw(wrapper.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(says.recv_timeout(PATIENCE).unwrap(), "int");
    store.set("pw", "value-2");
    assert_eq!(says.recv_timeout(PATIENCE).unwrap(), "value-2");
    wrapper.kill().unwrap();
    wrapper.wait().unwrap();
}

/// On a terminal of its own the command alone gets what Ctrl-C makes.
#[test]
fn ctrl_c_while_it_is_to_be_started_anew_is_the_end() {
    let store = store();
    let slow = "trap 'echo bye; sleep 2; exit 5' TERM; trap '' INT; echo start; while :; do sleep 0.02; done";
    let mut terminal = Keyboard::start(line(&store, &["--watch", "--mask", "--env", "PW=pw"], slow));
    terminal.expect("start");
    store.set("pw", "value-2");
    terminal.expect("bye");
    terminal.press("\x03");
    assert_eq!(terminal.wait().code(), Some(5));
    assert_eq!(terminal.screen().matches("start").count(), 1, "{}", terminal.screen());
}

#[test]
fn what_cannot_be_started_again_ends_it() {
    let store = store();
    let own = store.folder().join("server");
    fs::copy("/bin/sleep", &own).unwrap();
    let words = ["exec", "--watch", "--env", "PW=pw", "--", own.to_str().unwrap(), "60"];
    let wrapper = store.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sleep(Duration::from_millis(500));
    fs::remove_file(&own).unwrap();
    store.set("pw", "value-2");
    let output = wrapper.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(127), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("command not found"));
}

/// With the old value and the new one masked, on the same terminal, which has its keys.
#[test]
fn on_a_terminal_the_next_one_has_the_terminal() {
    let store = store();
    let script = "stty -echo; echo \"start $PW $(tty)\"; while read line; do echo \"got $line $PW value-1 value-2\"; done; echo over; exit 4";
    let mut terminal = Keyboard::start(line(&store, &["--watch", "--mask", "--env", "PW=pw"], script));
    terminal.expect("start *** /dev/pts/");
    terminal.press("one\n");
    terminal.expect("got one *** *** value-2\r\n");
    store.set("pw", "value-2");
    terminal.expect("start *** /dev/pts/");
    terminal.press("two\n");
    terminal.expect("got two *** *** ***\r\n");
    terminal.press("\x1a");
    sleep(Duration::from_millis(300));
    terminal.press("three\n");
    terminal.expect("got three");
    terminal.press("\x04");
    terminal.expect("over");
    assert_eq!(terminal.wait().code(), Some(4));
    assert_eq!(terminal.screen().matches("two").count(), 1, "echo is off again: {}", terminal.screen());
}

/// What the old command has started does not go on beside the new one: neither what it waited for nor
/// what it left behind, nor what needs more than a word.
#[test]
fn no_orphan_stays_after_a_restart() {
    let store = store();
    let script = "trap '' HUP; echo $$ >>pids; [ -e old ] && exec sleep 60; : >old
        sleep 71 & echo $! >>pids
        sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' & echo $! >>pids
        setsid sleep 72 & echo $! >>pids
        echo $PW; wait";
    // The last one is the control.
    for (mask, stays) in [(&[][..], false), (&["--mask"], false), (&[], true)] {
        let options = [&["--watch", "--env", "PW=pw"], mask].concat();
        let mut command = line(&store, &options, script);
        if stays {
            command.env("SECRETFS_TEST_KEEP_ORPHANS", "1");
        }
        let mut wrapper = command.stdout(Stdio::piped()).spawn().unwrap();
        let says = heard(BufReader::new(wrapper.stdout.take().unwrap()).lines());
        says.recv_timeout(PATIENCE).expect("a line");
        let pids = || fs::read_to_string(store.folder().join("pids")).unwrap();
        let old: Vec<String> = pids().lines().map(str::to_owned).collect();
        assert_eq!(old.len(), 4);
        let runs = |pid: &String| {
            fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        };
        assert!(old.iter().all(runs));
        store.set("pw", format!("value-{}-{stays}", mask.len()));
        let patience = std::time::Instant::now() + PATIENCE;
        while pids().lines().count() < 5 {
            assert!(std::time::Instant::now() < patience, "it is not started again");
            sleep(Duration::from_millis(10));
        }
        let left: Vec<&String> = old.iter().filter(|pid| runs(pid)).collect();
        assert_eq!(left.len(), if stays { 3 } else { 0 }, "{left:?} of {old:?}");
        for pid in left {
            kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
        }
        wrapper.kill().unwrap();
        wrapper.wait().unwrap();
        fs::remove_file(store.folder().join("old")).unwrap();
        fs::remove_file(store.folder().join("pids")).unwrap();
    }
}

/// Each collection is judged and written down; a look is not.
#[test]
fn the_audit_tells_of_each_start() {
    let store = store();
    fs::write(store.folder().join("secretfs.yaml"), "audit: {file: audit.log}\n").unwrap();
    let running = Running::start(&store, &["--watch", "--env", "PW=pw"], "echo $PW; exec sleep 60");
    running.says("value-1");
    store.set("pw", "value-2");
    running.says("value-2");
    let log = stdout_of(&store.run(&["audit", "query", "--json", "--secret", "pw"]));
    let reads = log.lines().filter(|line| line.contains("\"door\":\"exec\"")).count();
    assert_eq!(reads, 2, "{log}");
}

/// The config says it for who runs a profile; the command line has the last word.
#[test]
fn a_profile_masks_and_watches() {
    let store = store();
    let config = "profiles:\n  ci: {env: {PW: pw}, mask: true, watch: restart}\n  hup: {env: {PW: pw}, watch: 'signal:USR1'}\n";
    fs::write(store.folder().join("secretfs.yaml"), config).unwrap();
    let script =
        "trap 'echo usr1' USR1; trap 'echo bye; exit 5' TERM; echo $PW; while :; do sleep 0.02; done";
    let running = Running::start(&store, &["--profile", "ci"], script);
    running.says("***");
    store.set("pw", "value-2");
    running.says("bye");
    running.says("***");
    let plain = Running::start(&store, &["--profile", "ci", "--mask=false", "--watch=off"], script);
    plain.says("value-2");
    let signalled = Running::start(&store, &["--profile", "hup", "--mask"], script);
    signalled.says("***");
    let restarted = Running::start(&store, &["--profile", "hup", "--watch"], script);
    restarted.says("value-2");
    store.set("pw", "value-3");
    signalled.says("usr1");
    restarted.says("bye");
    restarted.says("value-3");
    plain.is_silent();
    for (line, problem) in [
        ("mask: maybe", "true or false"),
        ("watch: restat", "`restart`, `reload`, `off` or `signal:NAME`"),
        ("watch: 'signal:HUPP'", "did you mean `HUP`"),
        ("wach: restart", "did you mean `watch`"),
    ] {
        fs::write(store.folder().join("secretfs.yaml"), format!("profiles: {{p: {{{line}}}}}\n")).unwrap();
        let output = store.run(&["check"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(78) && told.contains(problem), "{line}: {told}");
    }
}

#[test]
fn what_it_cannot_do_is_said() {
    let store = store();
    for (option, problem) in
        [("--watch=restat", "restart"), ("--watch=signal:NOPE", "there is HUP"), ("--watch=", "restart")]
    {
        let output = store.run(&["exec", option, "--env", "PW=pw", "--", "true"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(64) && told.contains(problem), "{option}: {told}");
    }
}
