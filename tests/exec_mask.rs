//! `exec --mask`: what a command prints of the values that it was given is `***`, on pipes and on a
//! terminal, and everything else is as it is without.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Keyboard, TestStore, USER, eventually, stdout_of, tool};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

const PEM: &str =
    "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQDBHXwr\n-----END KEY-----\n";
const VALUE: &str = "s3cr3t & \"more\"";

fn store() -> TestStore {
    let store = TestStore::new();
    store.set("pw", VALUE).set("pem", PEM).set("pin", "123");
    store
}

fn line(store: &TestStore, options: &[&str], script: &str) -> Command {
    store.command(
        &[&["exec", "--env", "PW=pw", "--env", "PEM=pem"], options, &["--", "sh", "-c", script]].concat(),
    )
}

fn run(store: &TestStore, options: &[&str], script: &str) -> Output {
    line(store, options, script).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What prints values, and what is seen of it.
const FORMS: &[(&str, &str)] = &[
    ("printf %s \"$PW\"", "***"),
    ("echo \"a $PW b $PW\"", "a *** b ***\n"),
    ("echo \"$PW\" | base64", "***\n"),
    ("printf 'user:%s' \"$PW\" | base64", "dXNlcjp***\n"),
    ("printf %s \"$PW\" | od -An -tx1 -v | tr -d ' \\n'", "***"),
    ("printf %s \"$PEM\" | xxd -p", "***0a\n"),
    ("printf %s \"$PEM\" | xxd", "00000000: ***\n"),
    ("printf %s \"$PEM\" | base64 -w 20", "***\n"),
    ("printf %s \"$PEM\" | base32 -w 20", "***\n"),
    ("export PW; bash -c 'printf %q \"$PW\"'", "***"),
    ("python3 -c 'import os; print({1: os.environ[\"PW\"]})'", "{1: '***'}\n"),
    ("jq -n 'env.PW | tojson | tojson'", "\"\\\"\\\\\\\"***\\\\\\\"\\\"\"\n"),
    ("jq -rn 'env.PW | @uri | @uri'", "***\n"),
    ("echo \"$PW\" | grep --color=always 'cr3'", "***\x1b[01;31m\x1b[K\x1b[m\x1b[K\n"),
    ("jq -rn 'env.PW | @uri'", "***\n"),
    ("jq -n 'env.PW'", "\"***\"\n"),
    ("echo \"$PEM\"", "***\n\n"),
    ("echo \"$PEM\" | sed 's/^/> /'", "> -----BEGIN KEY-----\n> ***\n> ***\n> -----END KEY-----\n> \n"),
    ("jq -n 'env.PEM'", "\"***\\n\"\n"),
    ("printf s3cr; sleep 0.3; printf '3t & \"more\".'", "***."),
    ("printf s3; sleep 0.3; printf 'cr3t & \"more\".'", "***."),
    ("printf 's3cr3t & '", "s3cr3t & "),
];

#[test]
fn no_form_of_a_value_is_seen_on_a_pipe() {
    tool("jq");
    let store = store();
    for (script, seen) in FORMS {
        for (script, is_error) in [(script.to_string(), false), (format!("({script}) >&2"), true)] {
            let output = run(&store, &["--mask"], &script);
            let (here, there) =
                if is_error { (output.stderr, output.stdout) } else { (output.stdout, output.stderr) };
            assert_eq!((text(&here).as_str(), text(&there).as_str()), (*seen, ""), "{script}");
            // The control.
            let output = run(&store, &[], &script);
            let plain = if is_error { output.stderr } else { output.stdout };
            assert!(!text(&plain).contains("***"), "{script}");
            assert!(text(&plain) != *seen || !seen.contains("***"), "{script}");
        }
    }
}

/// How a program reads a value that it was not given as a variable.
#[test]
fn the_values_of_files_are_masked_too_and_so_is_what_comes_of_a_rotation() {
    let store = store();
    fs::write(store.folder().join("t.env.tpl"), "A=1\nURL=http://u:<< secrets.pw | urlencode >>@h/\n")
        .unwrap();
    fs::write(store.folder().join("t.json.tpl"), "{\"pw\": \"<< secrets.pw >>\", \"user\": \"u\"}\n")
        .unwrap();
    let script = "echo $A $URL; cat f.json; while [ ! -e go ]; do sleep 0.02; done; cat f.json";
    let options = ["--mask", "--env-file", "t.env.tpl", "--file", "f.json=t.json.tpl"];
    let mut child = line(&store, &options, script).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "1 http://u:***@h/");
    assert_eq!(lines.next().unwrap(), "{\"pw\": \"***\", \"user\": \"u\"}");
    store.set("pw", "another-value");
    fs::write(store.folder().join("go"), "").unwrap();
    assert_eq!(lines.next().unwrap(), "{\"pw\": \"***\", \"user\": \"u\"}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_value_that_is_too_short_is_told_once() {
    let store = store();
    let output = run(&store, &["--mask", "--env", "PIN=pin", "--env", "PIN2=pin"], "echo $PIN$PIN2");
    assert_eq!(text(&output.stdout), "123123\n");
    let told = text(&output.stderr);
    assert!(told.contains("`pin` is too short to be masked") && told.lines().count() == 1, "{told}");
}

/// Of random bytes nothing is changed, and nothing waits for more.
#[test]
fn all_else_passes_as_it_is() {
    let store = store();
    let script = "head -c 8000000 /dev/urandom | tee copy";
    let output = run(&store, &["--mask"], script);
    let copy = fs::read(store.folder().join("copy")).unwrap();
    assert!(output.stdout == copy, "{} bytes of {}", output.stdout.len(), copy.len());
}

#[test]
fn a_reader_that_goes_away_is_told_to_the_command() {
    let store = store();
    let mut child =
        line(&store, &["--mask"], "echo $$; trap 'echo >&2 never' EXIT; while :; do echo y; done")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut bytes = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut bytes).unwrap();
    assert_eq!(ended(&mut child), Some(141), "128 + SIGPIPE");
}

/// A reader that reads nothing stops the command, not the signals.
#[test]
fn signals_arrive_while_nobody_reads() {
    let store = store();
    for options in [&["--mask"][..], &[]] {
        let mut child = line(&store, options, "exec yes").stdout(Stdio::piped()).spawn().unwrap();
        sleep(Duration::from_millis(300));
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        let status = ended(&mut child);
        assert!(status == Some(143) || options.is_empty() && status.is_none(), "{options:?} {status:?}");
    }
}

#[track_caller]
fn ended(child: &mut std::process::Child) -> Option<i32> {
    let patience = Instant::now() + Duration::from_secs(20);
    while Instant::now() < patience {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    panic!("it still runs");
}

/// The wrapper ends with the command; what that leaves behind writes on, masked, and who reads it
/// has its end with that.
#[test]
fn what_the_command_leaves_behind_is_masked_and_not_waited_for() {
    let store = store();
    let script = "(while [ ! -e go ]; do sleep 0.02; done; echo \"later $PW\") & echo now; exit 3";
    for options in [&["--mask"][..], &[]] {
        let mut child = line(&store, options, script).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(ended(&mut child), Some(3));
        fs::write(store.folder().join("go"), "").unwrap();
        let mut rest = String::new();
        child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        let later = if options.is_empty() { VALUE } else { "***" };
        assert_eq!(rest, format!("now\nlater {later}\n"));
        fs::remove_file(store.folder().join("go")).unwrap();
    }
}

#[test]
fn one_pipe_for_both_keeps_its_order() {
    let store = store();
    let script = "for n in 1 2 3 4 5 6 7 8 9; do echo out$n; echo err$n >&2; done; printf s3cr3t; printf ' & \"more\"' >&2";
    let line = line(&store, &["--mask"], script);
    let words =
        [line.get_program()].into_iter().chain(line.get_args()).map(|word| word.to_str().unwrap().to_owned());
    let words: Vec<_> = words.collect();
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" 2>&1", "sh"]).args(&words).current_dir(store.folder());
    let seen = text(&shell.output().unwrap().stdout);
    let order: String = (1..10).map(|n| format!("out{n}\nerr{n}\n")).collect();
    assert_eq!(seen, order + "***");
}

#[test]
fn nothing_starts_if_something_is_missing() {
    let store = store();
    let output = store.run(&["exec", "--mask", "--env", "A=pww", "--", "sh", "-c", "echo started"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(66), String::new()));
    let output = store.run(&["exec", "--mask", "--env", "PW=pw", "--", "no-such-command"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(text(&output.stderr).contains("no-such-command: command not found"));
    fs::write(store.folder().join("broken"), "#!/no/such/interpreter\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(store.folder().join("broken"), mode).unwrap();
    let output = store.run(&["exec", "--mask", "--env", "PW=pw", "--", "./broken"]);
    assert_eq!(output.status.code(), Some(127), "{}", text(&output.stderr));
}

fn typed(store: &TestStore, options: &[&str], script: &str) -> String {
    let line = line(store, options, script);
    let words = [line.get_program()].into_iter().chain(line.get_args());
    words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_terminal_stays_a_terminal() {
    let store = store();
    let script = "for n in 0 1 2; do [ -t $n ] && echo tty$n; done; stty size; tty; ls --color=auto -d /
                  printf '\\033[1;31m%s\\033[0m\\n' \"$PW\"; echo \"$PEM\"; echo \"dev $PW\" >/dev/tty; echo \"$PW\" >&2";
    let mut terminal = Keyboard::start(line(&store, &["--mask"], script));
    terminal.resize(33, 77);
    assert!(terminal.wait().success());
    sleep(Duration::from_millis(50));
    let screen = terminal.screen();
    for seen in [
        "tty0\r\ntty1\r\ntty2\r\n",
        "/dev/pts/",
        "\x1b[01;34m/",
        "\x1b[1;31m***\x1b[0m",
        "\r\n***\r\n\r\ndev ***\r\n***\r\n",
    ] {
        assert!(screen.contains(seen), "no {seen:?} in {screen:?}");
    }
    assert!(!screen.contains("s3cr3t") && !screen.contains("MIIE"), "{screen}");
    // The control.
    let mut terminal = Keyboard::start(line(&store, &[], script));
    assert!(terminal.wait().success());
    sleep(Duration::from_millis(50));
    assert!(terminal.screen().contains("s3cr3t"));
}

#[test]
fn the_window_and_its_changes_are_the_commands() {
    let store = store();
    let script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.02; done";
    let mut terminal = Keyboard::start(line(&store, &["--mask"], script));
    terminal.expect("0 0\r\n");
    for (rows, columns) in [(33, 77), (50, 120)] {
        terminal.resize(rows, columns);
        terminal.expect(&format!("{rows} {columns}\r\n"));
    }
}

/// Echo, the end of input, and halves of a value that come apart.
#[test]
fn what_is_typed_is_seen_at_once_and_read_as_lines() {
    let store = store();
    let script = "read line; echo \"got:$line\"; cat; echo end; printf s3cr; sleep 0.3; echo '3t & \"more\"'; printf 'name: '; read name; echo \"<$name>\"";
    let mut terminal = Keyboard::start(line(&store, &["--mask"], script));
    sleep(Duration::from_millis(300));
    for key in ["s", "3", "c"] {
        terminal.press(key);
        let start = Instant::now();
        terminal.expect(key);
        assert!(start.elapsed() < Duration::from_millis(500));
    }
    terminal.press("x\x7f\n");
    terminal.expect("got:s3c\r\n");
    terminal.press("one\n");
    terminal.expect("one\r\none\r\n");
    terminal.press("\x04");
    terminal.expect("end\r\n***\r\n");
    terminal.expect("name: ");
    terminal.press("me\n");
    terminal.expect("<me>");
    assert!(terminal.wait().success());
}

/// Keys are not for a masked command.
fn is_cooked(terminal: &Keyboard) -> bool {
    tcgetattr(terminal).unwrap().local_flags.contains(LocalFlags::ISIG)
}

/// In raw mode the wrapper's own terminal passes all on; afterwards it is as it was.
#[test]
fn the_terminal_is_given_back_at_every_end() {
    let store = store();
    let mut bash = Keyboard::shell(store.folder());
    let ends =
        ["true", "exit 9", "kill -9 $$", "kill -TERM $PPID; sleep 5", "sh -c \"kill -HUP $$\"; sleep 5"];
    for end in ends {
        bash.press(&format!(
            "{}; stty -a | grep -c \"^isig icanon iexten echo \"; echo over-$?:\n",
            typed(&store, &["--mask"], end)
        ));
        bash.expect("over-0:");
    }
    bash.press(&format!("{}; echo over:\n", typed(&store, &["--mask"], "echo run-$((1+1)); exec sleep 60")));
    bash.expect("run-2");
    assert!(!is_cooked(&bash), "the test sees the difference");
    bash.press("\x1a");
    bash.expect("Stopped");
    bash.expect("over:");
    bash.press("stty -a\n");
    bash.expect(" icanon");
    bash.press("fg; echo status-$?:\n");
    sleep(Duration::from_millis(300));
    assert!(!is_cooked(&bash));
    bash.press("\x03");
    bash.expect("status-130:");
    bash.press("stty -a | grep -c '^isig icanon'; echo last-$?:\n");
    bash.expect("last-0:");
}

/// Started behind the shell, it writes; when it reads it stops, and `fg` lets it.
#[test]
fn in_the_background_it_waits_for_the_terminal() {
    let store = store();
    let mut bash = Keyboard::shell(store.folder());
    let script = "echo \"run $PW\"; read line; echo \"got $line $PW\"";
    bash.press(&format!("{} &\n", typed(&store, &["--mask"], script)));
    bash.expect("run ***");
    // A shell tells of it before it prompts: not for a key that is pressed before the command stops.
    bash.press("wait %1\n");
    bash.expect("Stopped");
    bash.press("echo shell-$((1+1))\n");
    bash.expect("shell-2");
    bash.press("fg; echo status:$?:\n");
    eventually("it has the keys", || (!is_cooked(&bash)).then_some(()));
    bash.press("word\n");
    bash.expect("got word ***");
    bash.expect("status:0:");
}

/// Stopped, sent to the back, and fetched again.
#[test]
fn it_goes_on_behind_and_comes_back() {
    let store = store();
    let mut bash = Keyboard::shell(store.folder());
    let script = "n=0; while [ ! -e stop ]; do sleep 0.05; n=$((n+1)); echo $n >count; done; echo \"$PW\" over; read line; echo got $line";
    bash.press(&format!("{}\n", typed(&store, &["--mask"], script)));
    let count = || fs::read_to_string(store.folder().join("count")).unwrap_or_default();
    let grows = || {
        let before = count();
        sleep(Duration::from_millis(400));
        before != count()
    };
    sleep(Duration::from_millis(500));
    assert!(grows());
    bash.press("\x1a");
    bash.expect("Stopped");
    assert!(!grows());
    bash.press("bg\n");
    sleep(Duration::from_millis(300));
    assert!(grows());
    bash.press("fg; echo status:$?:\n");
    sleep(Duration::from_millis(300));
    fs::write(store.folder().join("stop"), "").unwrap();
    bash.expect("*** over");
    bash.press("x\n");
    bash.expect("got x");
    bash.expect("status:0:");
}

/// In a pipeline others read from the terminal: it is not taken, but output is a terminal all the same.
#[test]
fn a_terminal_for_output_alone() {
    let store = store();
    let mut bash = Keyboard::shell(store.folder());
    let script = "cat; [ -t 1 ] && echo tty1; [ -t 0 ] || echo pipe0; printf \"$PW\\n\"; echo key? ; read key </dev/tty; echo got $key";
    bash.press(&format!("echo in | {}; echo status:$?:\n", typed(&store, &["--mask"], script)));
    bash.expect("in\r\ntty1\r\npipe0\r\n***\r\nkey?");
    bash.press("k\n");
    bash.expect("got k");
    bash.expect("status:0:");
    bash.press(&format!(
        "{} | cat; echo status:$?:\n",
        typed(&store, &["--mask"], "[ -t 1 ] || echo pipe1; [ -t 2 ] && echo \"tty2 $PW\" >&2")
    ));
    bash.expect("pipe1");
    bash.expect("status:0:");
    assert!(bash.screen().contains("tty2 ***"), "{}", bash.screen());
}

/// A program that draws on the whole screen.
#[test]
fn a_shell_inside_has_its_own_jobs() {
    let store = store();
    let mut bash = Keyboard::shell(store.folder());
    let inner = typed(&store, &["--mask"], "").replace("'sh' '-c' ''", "bash --norc --noprofile -i");
    bash.press(&format!("{inner}\n"));
    bash.expect("bash --norc --noprofile -i");
    bash.press("echo inner-$((1+1)) $PW\n");
    bash.expect("inner-2 ***");
    bash.press("sleep 60\n");
    sleep(Duration::from_millis(300));
    bash.press("\x1a");
    bash.expect("Stopped");
    bash.press("echo after-$((1+1))\n");
    bash.expect("after-2");
    bash.press("fg\n");
    sleep(Duration::from_millis(300));
    bash.press("\x03");
    bash.press("kill -STOP $$\n");
    bash.expect("Stopped");
    bash.press("echo outer-$((1+1)) $PW.\n");
    bash.expect("outer-2 .");
    bash.press("fg; echo status:$?:\n");
    sleep(Duration::from_millis(300));
    bash.press("exit 9\n");
    bash.expect("status:9:");
}

#[test]
fn a_killed_wrapper_ends_the_command() {
    let store = store();
    let mut child =
        line(&store, &["--mask"], "echo $$; exec sleep 60").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let pid = lines.next().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let patience = Instant::now() + Duration::from_secs(5);
    while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < patience, "the command goes on");
        sleep(Duration::from_millis(10));
    }
}

/// The kernel forgets who is to be ended with whom once a process changes its user.
#[test]
fn a_killed_wrapper_ends_a_command_that_has_changed_its_user() {
    let store = store();
    fs::create_dir(store.folder().join("pids")).unwrap();
    let is_there =
        |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    let soon = |is_so: &dyn Fn() -> bool| {
        let patience = Instant::now() + Duration::from_secs(10);
        while !is_so() && Instant::now() < patience {
            std::hint::spin_loop();
        }
        is_so()
    };
    let start = |option: &str, number: usize| {
        let path = store.folder().join("pids").join(number.to_string());
        fs::write(&path, "").unwrap();
        std::os::unix::fs::chown(&path, Some(USER), Some(USER)).unwrap();
        let (user, script) = (USER.to_string(), format!("echo $$. >{}; exec sleep 60", path.display()));
        let words = ["setpriv", "--reuid", &user, "--clear-groups", "sh", "-c", &script];
        let mut line = store.command(&[&["exec", option, "--env", "PW=pw", "--"], &words[..]].concat());
        let child = line.stdout(Stdio::null()).spawn().unwrap();
        let told = || fs::read_to_string(&path).unwrap().strip_suffix(".\n").map(str::to_owned);
        assert!(soon(&|| told().is_some()), "it does not start");
        (child, told().unwrap())
    };
    std::os::unix::fs::chown(store.folder(), Some(USER), Some(USER)).unwrap();
    for number in 0..12 {
        let (mut child, pid) = start(["--mask", "--watch"][number % 2], number);
        // At once, and a little later.
        sleep(Duration::from_millis(number as u64 / 4));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(soon(&|| !is_there(&pid)), "the command goes on");
    }
    // The control: who is between them cannot end it when that is killed.
    let (mut child, pid) = start("--mask", 12);
    sleep(Duration::from_millis(300));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let starter = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap();
    kill(Pid::from_raw(starter), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    sleep(Duration::from_millis(300));
    assert!(is_there(&pid));
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
}

/// Each collection is judged and written down, masked or not.
#[test]
fn the_rules_hold_and_the_audit_tells() {
    let store = store();
    fs::write(
        store.folder().join("secretfs.yaml"),
        "policy: [{secrets: pw, deny: anyone}]\naudit: {file: audit.log}\n",
    )
    .unwrap();
    let output = run(&store, &["--mask"], "echo started");
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(77), String::new()),
        "{}",
        text(&output.stderr)
    );
    let log = stdout_of(&store.run(&["audit", "query", "--json"]));
    assert!(log.contains("\"verdict\":\"denied\"") && log.contains("exec"), "{log}");
}
