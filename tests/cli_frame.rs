//! What all commands share: the config that is found, errors for people and for machines, exit
//! statuses, and manners in a pipeline.

mod common;

use std::fs;
use std::io::BufRead;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::terminal::on_terminal;
use common::{STRANGER, TestMount, TestStore, USER, stdout_of};

#[track_caller]
fn fails(output: &Output, status: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "no `{word}` in: {stderr}");
    }
}

/// `secretfs` in a folder, with nothing said on the command line or in the environment.
fn plain(folder: &std::path::Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.env_remove("SECRETFS_STORE").env_remove("SECRETFS_MASTER_KEY").stdin(Stdio::null());
    command.current_dir(folder).args(args).output().expect("secretfs can be started")
}

#[test]
fn the_config_is_found_upwards() {
    let store = TestStore::new();
    store.set("a", "1");
    let config = "store: {path: store, key: {source: file, path: master.key}}\n";
    fs::write(store.folder().join("secretfs.yaml"), config).unwrap();
    let deep = store.folder().join("x/y/z");
    fs::create_dir_all(&deep).unwrap();
    assert_eq!(stdout_of(&plain(&deep, &["get", "a"])), "1");
    // The nearest one counts, and it counts wholly.
    fs::write(deep.join("secretfs.yaml"), "store: elsewhere\n").unwrap();
    fails(&plain(&deep, &["get", "a"]), 66, &["elsewhere"]);
    // What is said outright wins over what is found.
    let config = store.folder().join("secretfs.yaml");
    assert_eq!(stdout_of(&plain(&deep, &["--config", config.to_str().unwrap(), "get", "a"])), "1");
}

#[test]
fn a_strangers_config_is_not_picked_up() {
    let store = TestStore::new();
    let path = store.folder().join("secretfs.yaml");
    fs::write(&path, "env: [A]\n").unwrap();
    assert_eq!(store.run(&["list"]).status.code(), Some(0));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    fails(&store.run(&["list"]), 78, &["everybody may write", "--config"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    chown(&path, Some(STRANGER), None).expect("tests with another uid need root");
    fails(&store.run(&["list"]), 78, &["another user"]);
    assert_eq!(store.run(&["--config", "secretfs.yaml", "list"]).status.code(), Some(0));
}

#[test]
fn a_config_that_is_wrong_stops_every_command() {
    let store = TestStore::new();
    fs::write(store.folder().join("secretfs.yaml"), "mounts:\n- att: x\n").unwrap();
    let words = ["secretfs.yaml:2:3: unknown key `att`\n  2 | - att: x\n    |   ^\n", "did you mean `at`?"];
    for command in [&["list"][..], &["mount"], &["check"], &["exec", "--", "true"], &["render", "x"]] {
        fails(&store.run(command), 78, &words);
    }
    fails(&store.run(&["--config", "nowhere.yaml", "list"]), 78, &["nowhere.yaml", "--config"]);
    fs::write(store.folder().join("bad.yaml"), b"\xff").unwrap();
    fails(&store.run(&["--config", "bad.yaml", "list"]), 78, &["bad.yaml", "UTF-8"]);
    fails(&store.run(&["--config", ".", "list"]), 78, &["cannot read"]);
}

#[test]
fn a_mistyped_command_or_option_is_told() {
    let store = TestStore::new();
    fails(&store.run(&["lits"]), 64, &["did you mean `list`?"]);
    fails(&store.run(&["list", "--labl", "x"]), 64, &["did you mean `--label`?"]);
    fails(&store.run(&[]), 64, &["no command is given\n  try: secretfs --help\n"]);
    for asked in [&["--help"][..], &["--version"], &["exec", "--help"]] {
        assert!(!stdout_of(&store.run(asked)).is_empty());
    }
}

/// Names from other tools work, and stay out of the help.
#[test]
fn what_people_type_is_understood() {
    let store = TestStore::new();
    stdout_of(&store.run_with(&["add", "a"], "1"));
    stdout_of(&store.run_with(&["put", "b"], "1"));
    assert_eq!(store.run(&["ls"]).stdout, store.run(&["list"]).stdout);
    for command in ["delete", "remove", "unset"] {
        fails(&store.run(&[command, "nothing", "--yes"]), 66, &["there is no secret `nothing`"]);
    }
    for command in ["umount", "unmount"] {
        fails(&store.run(&[command, "x"]), 66, &["nothing is mounted at x"]);
    }
    let help = stdout_of(&store.run(&["--help"]));
    assert!(
        help.contains("list")
            && !["ls", "umount", "delete"].iter().any(|it| help.contains(&format!("  {it} ")))
    );
}

#[test]
fn a_command_without_dashes_is_told_where_they_go() {
    let store = TestStore::new();
    for line in [&["exec", "node", "server.js"][..], &["run", "--env", "A=b", "node"]] {
        fails(&store.run(line), 64, &[&line.join(" ").replace("node", "-- node")]);
    }
}

#[test]
fn a_line_that_cannot_be_read_is_told_to_machines_too() {
    let store = TestStore::new();
    for line in [&["--json", "lits"][..], &["list", "--json", "--labl"], &["--json"], &["get", "--json"]] {
        let output = store.run(line);
        let json: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON on stderr");
        assert_eq!((output.status.code(), &json["error"]["status"]), (Some(64), &64.into()), "{line:?}");
        assert!(json["error"]["problem"].is_string() && json["error"]["hint"].is_string(), "{json}");
    }
    fails(&store.run(&["lits", "--", "--json"]), 64, &["secretfs: unrecognized"]);
}

#[test]
fn help_keeps_a_commands_options_together() {
    let help = stdout_of(&TestStore::new().run(&["set", "--help"]));
    let (own, global) = help.split_once("Global options:").expect("two headings");
    assert!(own.contains("--field") && own.contains("--tag") && !own.contains("--store"), "{help}");
    assert!(global.contains("--store") && global.contains("--json") && !global.contains("--tag"), "{help}");
}

#[test]
fn errors_for_machines_are_json() {
    let store = TestStore::new();
    let output = store.run(&["--json", "get", "nothing"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON on stderr");
    assert_eq!(json["error"]["status"], output.status.code().unwrap());
    assert!(json["error"]["problem"].as_str().unwrap().contains("nothing"));
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let store = TestStore::new();
    store.set("large", vec![b'x'; 1_000_000]);
    let mut child = store.command(&["get", "large"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(13), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_log_is_off_unless_asked_for_and_holds_no_value() {
    let store = TestStore::new();
    store.set("a", "the-canary-value");
    let run = |log: Option<&str>| {
        let mut command = store.command(&["exec", "--env", "A=a", "--", "true"]);
        command.envs(log.map(|filter| ("SECRETFS_LOG", filter))).output().unwrap()
    };
    assert!(run(None).stderr.is_empty());
    let traced = run(Some("trace"));
    assert!(traced.status.success());
    assert!(!String::from_utf8_lossy(&traced.stderr).contains("the-canary-value"));
    fails(&run(Some("a=b=c")), 0, &["SECRETFS_LOG"]);
}

/// `2026-11-22 05:07:33Z  WARN what happened …`, whatever happened.
#[test]
fn a_mounts_log_has_one_form() {
    let mount = TestMount::new().template("a.env.tpl", "A=<< secrets.none >>\n");
    let mut mounted = mount.env("SECRETFS_LOG", "info").start();
    assert!(fs::read(mounted.path("a.env")).is_err());
    mounted.stop();
    let log = mounted.stderr();
    assert!(log.contains("WARN request{id=1 ") && log.contains("}: cannot be rendered"), "{log}");
    assert!(log.contains("INFO"), "{log}");
    for line in log.lines() {
        let (time, rest) = line.split_at(20);
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
        let level = rest.split_whitespace().next().unwrap();
        assert!(["WARN", "INFO", "ERROR"].contains(&level), "{line}");
    }
}

#[test]
fn a_mount_is_ready_in_json_too() {
    let mount = TestMount::new().template("a.env.tpl", "A=1\n").template("b.env.tpl", "A=1\n");
    let mut command = mount.command_of(&["--json", "mount", "templates", "mnt"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    let ready: serde_json::Value = serde_json::from_str(&line).expect("JSON on stdout");
    assert_eq!(ready["files"], 2);
    assert!(ready["ready"].as_str().unwrap().ends_with("/mnt"), "{ready}");
}

/// Owners of files are shown to all, but in a mount that root has not made they open nothing.
#[test]
fn owners_are_warned_of_where_they_give_no_access() {
    let said = |store: TestStore, options: &str| {
        ["templates", "mnt"].iter().for_each(|name| fs::create_dir(store.folder().join(name)).unwrap());
        let config = format!("mounts: [{{at: mnt, templates: templates{options}}}]\n");
        fs::write(store.folder().join("secretfs.yaml"), config).unwrap();
        // Whether this user can mount is not the question here.
        String::from_utf8(store.run(&["mount", "--", "true"]).stderr).unwrap()
    };
    let warning = "owner and group give nobody else access";
    assert!(said(TestStore::of(USER), ", owner: 0").contains(warning));
    assert!(!said(TestStore::of(USER), "").contains(warning));
    assert!(!said(TestStore::new(), ", owner: 1").contains(warning));
}

#[test]
fn no_colour_in_a_pipe() {
    let store = TestStore::new();
    for args in [&["--help"][..], &["list"], &["lits"], &["check", "nowhere"]] {
        let output = store.run(args);
        assert!(![output.stdout, output.stderr].concat().contains(&0x1b), "{args:?}");
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let store = TestStore::new();
    let shown = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = store.command(args);
        command.env_remove("NO_COLOR").envs(variables.iter().copied());
        on_terminal(command).text
    };
    for args in [&["--help"][..], &["lits"], &["get", "nothing"], &["list", "--help"]] {
        let plain = shown(args, &[("NO_COLOR", "1")]);
        assert!(shown(args, &[]).contains("\x1b["), "{args:?}");
        assert!(!plain.contains("\x1b[") && plain.len() > 20, "{args:?}: {plain}");
        assert!(!shown(&[&["--json"], args].concat(), &[("NO_COLOR", "1")]).contains("\x1b["), "{args:?}");
    }
}

/// A pipe that nobody writes to for a while stands for work that lasts.
#[test]
fn a_bar_shows_after_a_second_and_not_before() {
    let store = TestStore::new();
    let pipe = store.folder().join("slow.env.tpl");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(store.folder().join("quick.env.tpl"), "A=1\n").unwrap();
    let check = |args: &[&str], wait: Duration| {
        let pipe = pipe.clone();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(wait);
            fs::write(pipe, "B=1\n").unwrap();
        });
        let shown = on_terminal(store.command(&[args, &["check", "quick.env.tpl", "slow.env.tpl"]].concat()));
        writer.join().unwrap();
        assert!(shown.status.success(), "{}", shown.text);
        shown.pieces.into_iter().find(|(_, text)| text.contains("checking [")).map(|(at, _)| at)
    };
    assert_eq!(check(&[], Duration::from_millis(300)), None);
    assert_eq!(check(&["--json"], Duration::from_millis(1_500)), None);
    let at = check(&[], Duration::from_millis(1_500)).expect("a bar");
    assert!(at >= Duration::from_secs(1), "{at:?}");
    let piped = Duration::from_millis(1_200);
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || {
            std::thread::sleep(piped);
            fs::write(pipe, "B=1\n").unwrap();
        }
    });
    let output = store.run(&["check", "slow.env.tpl"]);
    writer.join().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// Another user's process has none of our rights: the store says so, and how to mend it.
#[test]
fn a_store_of_somebody_else_is_refused() {
    let store = TestStore::new();
    let binary = store.folder().join("secretfs");
    common::copy_program(env!("CARGO_BIN_EXE_secretfs"), &binary);
    let mut command = Command::new(&binary);
    command.uid(STRANGER).gid(STRANGER).current_dir("/").arg("--store").arg(store.path()).arg("list");
    let output = command.output().unwrap();
    assert!(matches!(output.status.code(), Some(66 | 74 | 77)), "{output:?}");
}
