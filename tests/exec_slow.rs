//! What a command has written reaches whoever reads it late or slowly, through `exec --mask` and
//! `--watch`, on pipes and on a terminal; and nobody is waited for who does not come.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use common::{Keyboard, TestStore};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, OutputFlags, tcgetattr};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(60);
/// A reader comes so late.
const LATE: Duration = Duration::from_secs(3);

const ON_PIPES: [&[&str]; 4] =
    [&["--mask"], &["--watch"], &["--mask", "--watch"], &["--mask", "--file", "f=t.tpl"]];
const ON_TERMINALS: [&[&str]; 3] = [&["--mask"], &["--mask", "--watch"], &["--mask", "--file", "f=t.tpl"]];

/// Bytes: what the ways to a reader hold, so that the command has ended when he comes; and more.
const FOR_PIPES: [usize; 2] = [150 << 10, 200 << 10];
const FOR_TERMINALS: [usize; 2] = [50 << 10, 200 << 10];

fn store() -> TestStore {
    let store = TestStore::new();
    store.set("pw", "hunter2-and-more");
    fs::write(store.folder().join("t.tpl"), "<< secrets.pw >>\n").unwrap();
    fs::write(store.folder().join("f"), "none\n").unwrap();
    store
}

fn line(store: &TestStore, options: &[&str], script: &str) -> Command {
    store.command(&[&["exec", "--env", "PW=pw"], options, &["--", "sh", "-c", script]].concat())
}

/// So many bytes in numbered lines, and a value at their end.
fn much(size: usize) -> String {
    format!("seq 1 99999 | head -c {size}; echo; echo \"last $PW\"; exit 5")
}

fn seen(size: usize, options: &[&str]) -> String {
    let numbers: String = (1..=99999).map(|number| format!("{number}\n")).collect();
    let last = if options.contains(&"--mask") { "***" } else { "hunter2-and-more" };
    format!("{}\nlast {last}\n", &numbers[..size])
}

#[track_caller]
fn ended(child: &mut Child) -> Option<i32> {
    let patience = Instant::now() + PATIENCE;
    while Instant::now() < patience {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    panic!("it still runs");
}

/// What comes late of a pipe, and the status.
fn read_late(mut line: Command) -> (String, Option<i32>) {
    let mut child = line.stdout(Stdio::piped()).spawn().unwrap();
    sleep(LATE);
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    (text, ended(&mut child))
}

#[test]
fn a_late_reader_of_a_pipe_gets_all() {
    let store = store();
    scope(|scope| {
        for (options, size) in ON_PIPES.into_iter().flat_map(|it| FOR_PIPES.map(|size| (it, size))) {
            let line = line(&store, options, &much(size));
            scope.spawn(move || {
                let (text, status) = read_late(line);
                let expected = seen(size, options);
                assert!(text == expected, "{options:?} {size}: {} of {}", text.len(), expected.len());
                assert_eq!(status, Some(5), "{options:?} {size}");
            });
        }
        // The control: who does not wait loses something.
        for options in ON_PIPES.into_iter().filter(|it| it.contains(&"--mask")) {
            let mut line = line(&store, options, &much(FOR_PIPES[0]));
            line.env("SECRETFS_TEST_WAIT_FOR_NOBODY", "1");
            scope.spawn(move || {
                let (text, _) = read_late(line);
                assert!(text.len() < FOR_PIPES[0], "{options:?}: {}", text.len());
            });
        }
    });
}

/// What comes late on a screen, and the status.
fn look_late(line: Command) -> (String, Option<i32>) {
    let mut terminal = Keyboard::start_unseen(line, LATE);
    let status = terminal.wait();
    sleep(Duration::from_millis(200));
    (terminal.screen(), status.code())
}

#[test]
fn who_looks_late_at_a_terminal_sees_all() {
    let store = store();
    scope(|scope| {
        for (options, size) in ON_TERMINALS.into_iter().flat_map(|it| FOR_TERMINALS.map(|size| (it, size))) {
            let line = line(&store, options, &much(size));
            scope.spawn(move || {
                let (text, status) = look_late(line);
                let expected = seen(size, options).replace('\n', "\r\n");
                assert!(text == expected, "{options:?} {size}: {} of {}", text.len(), expected.len());
                assert_eq!(status, Some(5), "{options:?} {size}");
            });
        }
        for options in ON_TERMINALS {
            let mut line = line(&store, options, &much(FOR_TERMINALS[0]));
            line.env("SECRETFS_TEST_WAIT_FOR_NOBODY", "1");
            scope.spawn(move || {
                let (text, _) = look_late(line);
                assert!(text.len() < FOR_TERMINALS[0], "the control: {options:?}: {}", text.len());
            });
        }
    });
}

/// The command has ended when this says so; its output waits.
fn until_written(store: &TestStore) {
    let patience = Instant::now() + PATIENCE;
    while !store.folder().join("written").exists() {
        assert!(Instant::now() < patience);
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(1500));
}

/// More than the reader's pipe takes, and less than would stop the command.
const WRITTEN: &str = "seq 1 99999 | head -c 150000; : >written";

#[test]
fn who_does_not_want_to_wait_for_a_reader_says_so() {
    for options in [&["--mask"][..], &["--mask", "--watch"]] {
        let store = store();
        let mut child = line(&store, options, WRITTEN).stdout(Stdio::piped()).spawn().unwrap();
        until_written(&store);
        assert_eq!(child.try_wait().unwrap(), None, "{options:?}: it waits");
        // Nobody would hear of this one.
        kill(Pid::from_raw(child.id() as i32), Signal::SIGUSR1).unwrap();
        sleep(Duration::from_millis(100));
        assert_eq!(child.try_wait().unwrap(), None, "{options:?}");
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        assert_eq!(ended(&mut child), Some(143), "{options:?}");
    }
}

#[test]
fn a_reader_that_goes_is_not_waited_for() {
    for options in [&["--mask"][..], &["--mask", "--watch"]] {
        let store = store();
        let mut child = line(&store, options, WRITTEN).stdout(Stdio::piped()).spawn().unwrap();
        until_written(&store);
        assert_eq!(child.try_wait().unwrap(), None, "{options:?}: it waits");
        drop(child.stdout.take());
        assert_eq!(ended(&mut child), Some(0), "{options:?}");
    }
}

/// Keys are ours again while the screen stands still, and the terminal is given back.
#[test]
fn a_key_ends_the_wait_for_a_terminal() {
    let store = store();
    let script = "seq 1 99999 | head -c 50000; : >written";
    for options in ON_TERMINALS {
        let mut terminal = Keyboard::start_unseen(line(&store, options, script), Duration::from_secs(600));
        until_written(&store);
        let modes = tcgetattr(&terminal).unwrap();
        assert!(
            modes.local_flags.contains(LocalFlags::ISIG) && !modes.output_flags.contains(OutputFlags::OPOST)
        );
        terminal.press("\x03");
        assert_eq!(terminal.wait().code(), Some(130), "{options:?}");
        assert!(tcgetattr(&terminal).unwrap().output_flags.contains(OutputFlags::OPOST), "{options:?}");
        fs::remove_file(store.folder().join("written")).unwrap();
    }
}

/// What was left behind and never stops writing keeps nobody, and loses nothing of the command.
#[test]
fn who_writes_for_ever_is_not_waited_for() {
    let store = store();
    for options in ON_PIPES.into_iter().filter(|it| it.contains(&"--mask")) {
        let script = "echo first; (trap '' HUP; exec yes) & sleep 0.3; kill -STOP $!; echo \"last $PW\"; kill -CONT $!; exit 3";
        let mut child = line(&store, options, script).stdout(Stdio::piped()).spawn().unwrap();
        sleep(LATE);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert_eq!(lines.next().as_deref(), Some("first"));
        assert!(lines.any(|line| line == "last ***"), "{options:?}");
        drop(lines);
        assert_eq!(ended(&mut child), Some(3), "{options:?}");
    }
}
