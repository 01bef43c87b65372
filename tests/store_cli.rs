//! The store's commands through the real binary: what they take, what they print, how they end.

mod common;

use std::fs;
use std::process::{Command, Output, Stdio};

use common::{TestStore, stdout_of, tool};

const MIB: usize = 1 << 20;

/// Status, stdout and stderr.
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("not killed"), text(&output.stdout), text(&output.stderr))
}

/// The failure has this status, and its two parts hold these words.
#[track_caller]
fn assert_fails(output: &Output, status: i32, problem: &str, hint: &str) {
    let (code, stdout, stderr) = said(output);
    assert_eq!((code, stdout.as_str()), (status, ""), "{stderr}");
    let (told, tried) = stderr.split_once("  try: ").unwrap_or((&stderr, ""));
    assert!(told.starts_with("secretfs: ") && told.contains(problem), "{stderr}");
    assert!(tried.contains(hint), "{stderr}");
}

fn json(store: &TestStore, args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&stdout_of(&store.run(&[&["--json"], args].concat()))).expect("JSON")
}

#[test]
fn a_value_keeps_every_byte() {
    let store = TestStore::new();
    let large: Vec<u8> = (0..=255).cycle().take(MIB).collect();
    let values: [(&[u8], &[u8]); 10] = [
        (b"", b""),
        (b"\n", b""),
        (b"one line\n", b"one line"),
        (b"no end", b"no end"),
        (b"carriage\r\n", b"carriage\r"),
        (b"two\nlines\n", b"two\nlines\n"),
        (b"\n\n", b"\n\n"),
        (b"nul\0nul", b"nul\0nul"),
        (b"\xff\xfe invalid \xc3", b"\xff\xfe invalid \xc3"),
        (&large, &large),
    ];
    for (typed, kept) in values {
        store.set("v", typed);
        assert!(store.run(&["get", "v"]).stdout == kept, "{:?}", &typed[..typed.len().min(20)]);
    }
    let too_large = vec![b'x'; MIB + 1];
    assert_fails(&store.run_with(&["set", "v"], &too_large), 65, "over 1 MiB", "");
    assert!(store.run(&["get", "v"]).stdout == large, "the old version stands");
    store.set("empty", "");
    assert_eq!(said(&store.run(&["exists", "empty"])).0, 0, "empty is not missing");
}

#[test]
fn nothing_is_no_value_unless_it_is_meant() {
    let store = TestStore::new();
    let hint = "--allow-empty";
    for typed in ["", "\n"] {
        assert_fails(&store.run_with(&["set", "t"], typed), 65, "nothing came from stdin", hint);
    }
    assert_fails(&store.run_with(&["set", "t", "--field", "x=-"], ""), 65, "nothing came from stdin", hint);
    let from_file = ["set", "t", "--field", "x=@/dev/null"];
    assert_fails(&store.run(&from_file), 65, "nothing came from /dev/null", hint);
    let screen = on_a_terminal(&store, &["set", "t"], "\n");
    assert!(screen.contains("nothing came from the prompt"), "{screen}");
    assert_eq!(said(&store.run(&["exists", "t"])).0, 1, "nothing was set");
    for meant in [&["set", "t", "--allow-empty"][..], &["set", "t", "--value", ""]] {
        assert_eq!(said(&store.run(meant)).0, 0, "{meant:?}");
        assert_eq!(stdout_of(&store.run(&["get", "t"])), "");
    }
    stdout_of(&store.run_with(&["set", "t", "--from-json"], r#"{"value": ""}"#));
    store.set("t", "kept");
    assert_fails(&store.run_with(&["rotate", "t"], ""), 65, "nothing came from stdin", hint);
    assert_eq!(stdout_of(&store.run(&["get", "t"])), "kept");
    stdout_of(&store.run_with(&["rotate", "t", "--allow-empty"], ""));
    assert_eq!(stdout_of(&store.run(&["get", "t"])), "");
}

#[test]
fn names_are_judged() {
    let store = TestStore::new();
    let long = "x".repeat(129);
    for name in ["", "/a", "a/", "a//b", "..", "a/../b", "a b", "ä", "a\u{430}", "a\n", &long] {
        let (status, _, stderr) = said(&store.run_with(&["set", name], "v"));
        assert_eq!(status, 65, "{name:?}: {stderr}");
    }
    for name in ["a", "A", "a/b-c.d_e", &"x".repeat(128)] {
        store.set(name, name);
        assert_eq!(stdout_of(&store.run(&["get", name])), *name);
    }
}

#[test]
fn versions_are_added_and_pinned() {
    let store = TestStore::new();
    assert_eq!(stdout_of(&store.run_with(&["set", "a"], "one")), "a: version 1\n");
    assert_eq!(stdout_of(&store.run_with(&["set", "a"], "two")), "a: version 2\n");
    assert_eq!(stdout_of(&store.run_with(&["rotate", "a"], "three")), "a: version 3\n");
    assert_eq!(stdout_of(&store.run(&["get", "a"])), "three");
    assert_eq!(stdout_of(&store.run(&["get", "a@1"])), "one");
    assert_fails(&store.run(&["get", "a@4"]), 66, "no such version", "secretfs versions");
    assert_fails(
        &store.run_with(&["set", "--new", "a"], "x"),
        65,
        "already a secret `a`",
        "secretfs rotate a",
    );
    assert_fails(&store.run_with(&["rotate", "b"], "x"), 66, "no secret `b`", "secretfs list");
    let versions = json(&store, &["versions", "a"]);
    let state = |version: &serde_json::Value| (version["version"].as_u64(), version["active"].as_bool());
    let states: Vec<_> = versions.as_array().unwrap().iter().map(state).collect();
    assert_eq!(states, [(Some(1), Some(false)), (Some(2), Some(false)), (Some(3), Some(true))]);
}

#[test]
fn fields_are_set_alone_and_together() {
    let store = TestStore::new();
    let set = |args: &[&str], stdin: &str| stdout_of(&store.run_with(&[&["set"], args].concat(), stdin));
    fs::write(store.folder().join("user"), "app\n").unwrap();
    set(&["db", "--type", "basic-auth", "--field", "username=@user", "--field", "password"], "p1\n");
    assert_eq!(stdout_of(&store.run(&["get", "db.username"])), "app\n", "a file is kept byte for byte");
    assert_eq!(stdout_of(&store.run(&["get", "db#password"])), "p1");
    stdout_of(&store.run_with(&["rotate", "db", "--field", "password=-"], "p2"));
    assert_eq!(stdout_of(&store.run(&["get", "db.username"])), "app\n", "what is not named stays");
    assert_eq!(stdout_of(&store.run(&["get", "db.password"])), "p2");
    set(&["x", "--from-json"], r#"{"one": "1", "two": "é\u0000"}"#);
    assert_eq!(stdout_of(&store.run(&["get", "x.two"])), "é\0");
    assert_fails(&store.run(&["get", "x"]), 65, "has the fields one, two", "secretfs get x.one");
    assert_fails(&store.run(&["get", "x.three"]), 66, "`x` has no field `three`", "one, two");
    set(&["--from-json", "--type", "bearer"], r#"{"t1": "abc", "t2": {"token": "def"}}"#);
    assert_eq!(stdout_of(&store.run(&["get", "t1.token"])), "abc", "a bare value goes to the only field");
    assert_eq!(stdout_of(&store.run(&["get", "t2"])), "def");
    let wrong_field = store.run_with(&["set", "db", "--field", "passwd"], "x");
    assert_fails(&wrong_field, 65, "has no field `passwd`", "");
    let lacking = store.run_with(&["set", "y", "--type", "basic-auth", "--field", "username"], "x");
    assert_fails(&lacking, 65, "needs the field `password`", "");
    let (status, _, stderr) = said(&store.run_with(&["set", "y", "--type", "ssh"], ""));
    assert!(status == 64 && stderr.contains("ssh-key"), "{stderr}");
}

#[test]
fn a_dot_has_two_readings_and_two_hits_are_an_error() {
    let store = TestStore::new();
    store.set("a.b", "the secret");
    assert_eq!(stdout_of(&store.run(&["get", "a.b"])), "the secret");
    stdout_of(&store.run_with(&["set", "a", "--from-json"], r#"{"b": "the field", "c": "alone"}"#));
    assert_eq!(stdout_of(&store.run(&["get", "a.c"])), "alone");
    let (status, stdout, stderr) = said(&store.run(&["get", "a.b"]));
    assert!(status != 0 && stdout.is_empty() && stderr.contains("`a#b` or `a.b#value`"), "{stderr}");
    assert_eq!(stdout_of(&store.run(&["get", "a#b"])), "the field");
    assert_eq!(stdout_of(&store.run(&["get", "a.b#value"])), "the secret");
}

#[test]
fn many_secrets_are_one_transaction() {
    let store = TestStore::new();
    let good = r#"{"a": "1", "b/c": {"user": "u", "pass": "p"}}"#;
    assert_eq!(stdout_of(&store.run_with(&["set", "--from-json"], good)), "a: version 1\nb/c: version 1\n");
    assert_eq!(stdout_of(&store.run(&["get", "b/c.pass"])), "p");
    for (bad, status) in [
        (r#"{"new": "1", "a": {"other": "field"}}"#, 65),
        (r#"{"new": "1", "bad name": "1"}"#, 65),
        (r#"{"new": "1", "n": 31337}"#, 65),
        (r#"{"new": "1", "new": "2"}"#, 65),
        (r#"{"new": "1""#, 65),
    ] {
        let (code, _, stderr) = said(&store.run_with(&["set", "--from-json"], bad));
        assert_eq!(code, status, "{bad}: {stderr}");
        assert!(!stderr.contains("31337"), "{stderr}");
        assert_eq!(said(&store.run(&["exists", "new"])).0, 1, "{bad}");
    }
    assert_fails(&store.run_with(&["set", "--from-json"], "{}"), 65, "no secrets on stdin", "{");
    assert_fails(&store.run_with(&["set", "x", "y"], "v"), 64, "cannot share one stdin", "--from-json");
    assert_eq!(said(&store.run(&["rm", "--yes", "a", "none"])).0, 66);
    assert_eq!(said(&store.run(&["exists", "a"])).0, 0, "all or nothing");
}

#[test]
fn lists_choose_and_never_show_a_value() {
    let store = TestStore::new();
    let canary = "canary-7f3a";
    let set = |args: &[&str]| stdout_of(&store.run_with(&[&["set"], args].concat(), canary));
    set(&["app/db", "--tag", "prod", "--tag", "db", "--description", "the main one", "--expires", "20d"]);
    set(&["app/api", "--type", "api-key", "--label", "openai", "--tag", "prod", "--owner", "team-a"]);
    set(&["other"]);
    let names = |args: &[&str]| -> Vec<String> {
        let list = json(&store, &[&["list"], args].concat());
        list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&[]), ["app/api", "app/db", "other"]);
    assert_eq!(names(&["app/"]), ["app/api", "app/db"]);
    assert_eq!(names(&["--tag", "prod", "--tag", "db"]), ["app/db"]);
    assert_eq!(names(&["--type", "api-key"]), ["app/api"]);
    assert_eq!(names(&["--label", "openai"]), ["app/api"]);
    assert_eq!(names(&["--expiring", "30d"]), ["app/db"]);
    assert!(names(&["--expiring", "10d"]).is_empty());
    let shown = stdout_of(&store.run(&["show", "app/db"]));
    for word in ["the main one", "db, prod", "plain", "1 of 1"] {
        assert!(shown.contains(word), "{shown}");
    }
    assert_eq!(json(&store, &["show", "app/api"])["owner"], "team-a");
    for args in [&["list"][..], &["show", "app/db"], &["versions", "app/db"], &["--json", "list"]] {
        assert!(!stdout_of(&store.run(args)).contains(canary), "{args:?}");
    }
    assert_fails(&store.run_with(&["set", "x", "--expires", "yesterday"], "v"), 64, "no time", "2027-01-31");
    assert_fails(&store.run(&["get", "app/dp"]), 66, "no secret `app/dp`", "did you mean `app/db`?");
}

#[test]
fn an_expired_version_is_not_given_out() {
    let store = TestStore::new();
    stdout_of(&store.run_with(&["set", "short", "--expires", "1s"], "v"));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_fails(&store.run(&["get", "short"]), 66, "it has expired", "secretfs versions");
    assert!(stdout_of(&store.run(&["versions", "short"])).contains("expired"));
    assert_eq!(said(&store.run(&["exists", "short"])).0, 0);
}

#[test]
fn removing_asks_and_exists_answers_by_its_status() {
    let store = TestStore::new();
    store.set("a", "v");
    assert_fails(&store.run(&["rm", "a"]), 64, "would be removed", "--yes");
    assert_eq!(said(&store.run(&["exists", "a"])), (0, String::new(), String::new()));
    assert_eq!(said(&store.run(&["rm", "--yes", "a"])), (0, "a: removed\n".into(), String::new()));
    assert_eq!(said(&store.run(&["exists", "a"])), (1, String::new(), String::new()));
    assert_fails(&store.run(&["rm", "--yes", "a"]), 66, "no secret `a`", "secretfs list");
    assert_fails(&store.run(&["get", "a"]), 66, "no secret `a`", "");
}

#[test]
fn namespaces_keep_to_themselves() {
    let store = TestStore::new();
    store.set("a", "default");
    stdout_of(&store.run_with(&["--namespace", "user:1000", "set", "a"], "theirs"));
    assert_eq!(stdout_of(&store.run(&["get", "a"])), "default");
    assert_eq!(stdout_of(&store.run(&["get", "a", "--namespace", "user:1000"])), "theirs");
    stdout_of(&store.run_with(&["--namespace", "third", "set", "b"], "x"));
    assert_fails(&store.run(&["get", "a", "--namespace", "third"]), 66, "no secret `a`", "");
    assert_fails(
        &store.run(&["get", "a", "--namespace", "other"]),
        66,
        "no namespace `other`",
        "namespace create",
    );
    assert_fails(&store.run(&["list", "--namespace", "user:x"]), 64, "namespace", "");
}

#[test]
fn a_value_on_the_command_line_works_with_a_warning() {
    let store = TestStore::new();
    let (status, stdout, stderr) = said(&store.run(&["set", "a", "--value", "v"]));
    assert_eq!((status, stdout.as_str()), (0, "a: version 1\n"));
    assert!(stderr.contains("warning: --value can be seen"), "{stderr}");
    assert_eq!(stdout_of(&store.run(&["get", "a"])), "v");
    let (_, _, stderr) = said(&store.run(&["set", "b", "--field", "user=v"]));
    assert!(stderr.contains("warning: --field user=VALUE can be seen"), "{stderr}");
}

#[test]
fn json_gives_text_or_base64() {
    let store = TestStore::new();
    store.set("text", "é\"\n\n").set("bytes", b"\xff\x00");
    assert_eq!(json(&store, &["get", "text"])["value"], "é\"\n\n");
    let bytes = json(&store, &["get", "bytes"]);
    assert_eq!((&bytes["value_base64"], &bytes["value"]), (&"/wA=".into(), &serde_json::Value::Null));
}

/// Runs on a terminal of its own and types a line at each prompt; returns what the terminal showed.
fn on_a_terminal(store: &TestStore, args: &[&str], typed: &str) -> String {
    use std::io::{Read, Write};
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let plain = store.command(args);
    let mut command = Command::new(tool("setsid"));
    command.args(["--ctty", "--wait"]).arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let slave = || Stdio::from(terminal.slave.try_clone().expect("dup"));
    let mut child = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().expect("setsid");
    drop(command);
    drop(terminal.slave);
    let mut master = fs::File::from(terminal.master);
    let mut screen = Vec::new();
    let mut typed = typed.split_inclusive('\n');
    let mut buffer = [0; 4096];
    // Ends with EIO when the child has closed the terminal.
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        screen.extend_from_slice(&buffer[..length]);
        // The echo is off before the prompt is there.
        if screen.ends_with(b": ") || screen.ends_with(b"] ") {
            let line = typed.next().unwrap_or_default();
            master.write_all(line.as_bytes()).expect("typing");
        }
    }
    child.wait().expect("the child ends");
    let settings = nix::sys::termios::tcgetattr(&master).expect("a terminal");
    assert!(settings.local_flags.contains(nix::sys::termios::LocalFlags::ECHO), "it was left mute");
    String::from_utf8_lossy(&screen).into_owned()
}

#[test]
fn an_interrupted_prompt_leaves_nothing_behind() {
    let store = TestStore::new();
    let screen = on_a_terminal(&store, &["set", "token"], "half a val\u{3}");
    assert!(!screen.contains("half"), "{screen}");
    assert_eq!(said(&store.run(&["exists", "token"])).0, 1);
}

/// Half a key would be stored, and the shell would show the rest and run it.
#[test]
fn a_paste_of_several_lines_is_refused() {
    let store = TestStore::new();
    let screen = on_a_terminal(&store, &["set", "pem"], "-----BEGIN\rhunter2\r-----END\n");
    assert!(screen.contains("more lines were typed") && !screen.contains("hunter2"), "{screen}");
    assert_eq!(said(&store.run(&["exists", "pem"])).0, 1);
    let screen = on_a_terminal(&store, &["set", "key"], "an arrow\u{1b}[D\n");
    assert!(screen.contains("a key was typed that no value holds"), "{screen}");
    on_a_terminal(&store, &["set", "tab"], "a\tb\n");
    assert_eq!(stdout_of(&store.run(&["get", "tab"])), "a\tb");
}

#[test]
fn a_terminal_sees_no_value() {
    let store = TestStore::new();
    let screen = on_a_terminal(&store, &["set", "token"], "sk_live_0123456789\n");
    assert!(screen.contains("token: ") && !screen.contains("sk_live"), "{screen}");
    assert_eq!(stdout_of(&store.run(&["get", "token"])), "sk_live_0123456789");
    let screen = on_a_terminal(&store, &["get", "token"], "");
    assert!(screen.starts_with("********6789\r\n") && screen.contains("--reveal"), "{screen}");
    assert_eq!(on_a_terminal(&store, &["get", "token", "--reveal"], ""), "sk_live_0123456789\r\n");
    let json = on_a_terminal(&store, &["get", "token", "--json"], "");
    assert!(json.contains("********6789") && !json.contains("sk_live"), "{json}");
    on_a_terminal(&store, &["rm", "token"], "n\n");
    assert_eq!(said(&store.run(&["exists", "token"])).0, 0);
    on_a_terminal(&store, &["rm", "token"], "y\n");
    assert_eq!(said(&store.run(&["exists", "token"])).0, 1);
}

#[test]
fn a_terminal_is_asked_for_the_fields_that_are_missing() {
    let store = TestStore::new();
    let basic = ["set", "db", "--type", "basic-auth"];
    let screen = on_a_terminal(&store, &basic, "app\nhunter2\n");
    assert!(screen.contains("db.username: ") && screen.contains("db.password: "), "{screen}");
    assert!(!screen.contains("app") && !screen.contains("hunter2"), "{screen}");
    let user = store.folder().join("user");
    fs::write(&user, "other").unwrap();
    let username = format!("username=@{}", user.display());
    let screen =
        on_a_terminal(&store, &["set", "new", "--type", "basic-auth", "--field", &username], "hunter3\n");
    assert!(!screen.contains("new.username") && screen.contains("new.password: "), "{screen}");
    assert_eq!(stdout_of(&store.run(&["get", "new.username"])), "other");
    assert_eq!(stdout_of(&store.run(&["get", "new.password"])), "hunter3");
    let screen = on_a_terminal(&store, &["set", "db", "--field", &username], "");
    assert!(!screen.contains("password"), "it is there: {screen}");
    assert_eq!(stdout_of(&store.run(&["get", "db.password"])), "hunter2");
}

/// Names, values and what is said about them: none of it is in the folder, the key's beside it.
#[test]
fn nothing_readable_lies_on_the_disk() {
    let store = TestStore::new();
    let canaries =
        ["canary_value", "canary_name", "canary_text", "canary_tag", "canary_field", "canary_space"];
    let found = |word: &str| {
        let files = fs::read_dir(store.path()).unwrap();
        let holds =
            |path| fs::read(path).unwrap().windows(word.len()).any(|window| window == word.as_bytes());
        files.map(|file| file.unwrap().path()).any(holds)
    };
    let fields = r#"{"canary_field": "canary_value"}"#;
    let args = ["set", "canary_name", "--from-json", "--description", "canary_text", "--tag", "canary_tag"];
    stdout_of(&store.run_with(&[&args[..], &["--namespace", "canary_space"]].concat(), fields));
    store.set("canary_name", "canary_value");
    for canary in canaries {
        assert!(!found(canary), "{canary}");
    }
    assert!(found("secrets"), "the search finds the name of a table");
}
