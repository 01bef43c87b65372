//! What the log is asked, through the real binary: by the names that people know, with an answer to
//! each mistake; and what is said of who uses the key of the store.

mod common;

use std::fs;
use std::process::Output;
use std::time::Duration;

use common::{TestStore, stdout_of};
use serde_json::Value;

fn store(config: &str) -> TestStore {
    let store = TestStore::new();
    store.set("stripe/live", "sk_live_1");
    fs::write(store.folder().join("secretfs.yaml"), format!("{config}audit: {{file: audit.log}}\n")).unwrap();
    store
}

/// With a log that has begun.
fn begun() -> TestStore {
    let store = store("");
    stdout_of(&store.run(&["disable", "stripe/live"]));
    stdout_of(&store.run(&["enable", "stripe/live"]));
    store
}

fn query(store: &TestStore, args: &[&str]) -> Output {
    store.run(&[&["audit", "query"], args].concat())
}

fn lines(store: &TestStore, args: &[&str]) -> Vec<Value> {
    let text = stdout_of(&query(store, &[&["--json"], args].concat()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A secret has many names; who asks by one of them learns of all who had it.
#[test]
fn a_secret_is_found_by_any_of_its_names() {
    let store = store("secrets: {from: store, key: \"store:stripe/live\"}\n");
    for reference in ["key", "stripe/live", "store:stripe/live"] {
        stdout_of(&store.run(&["exec", "--env", &format!("A={reference}"), "--", "true"]));
    }
    for (name, expected) in
        [("stripe/live", 3), ("store:stripe/*", 3), ("stripe/*", 3), ("key", 1), ("live", 0)]
    {
        assert_eq!(lines(&store, &["--secret", name]).len(), expected, "{name}");
    }
    let named = &lines(&store, &["--secret", "key"])[0]["secrets"];
    let wanted =
        serde_json::json!([{"name": "key", "provider": "store", "path": "stripe/live", "version": 1}]);
    assert_eq!(*named, wanted);
    let other = &lines(&store, &["--secret", "stripe/live"])[1]["secrets"][0];
    assert_eq!(other["path"], Value::Null, "the control: said once only: {other}");
    let text = stdout_of(&query(&store, &["--secret", "key"]));
    assert!(text.contains("  key=store:stripe/live@1  "), "{text}");
}

/// Whoever has the key is given the value, by whichever command.
#[test]
fn who_has_the_key_of_the_store_is_in_the_log_as_who_was_given_the_value() {
    let store = begun();
    fs::write(store.folder().join("t.txt.tpl"), "<< secrets[\"stripe/live\"] >>\n").unwrap();
    for args in [&["get", "stripe/live"][..], &["render", "t.txt.tpl"], &["test", "stripe/live"]] {
        let before = lines(&store, &["--verdict", "real"]).len();
        store.run(args);
        let told = lines(&store, &["--verdict", "real"]);
        let line = told.last().unwrap();
        assert_eq!((told.len(), line["event"].as_str()), (before + 1, Some("read")), "{args:?}");
        assert_eq!(
            (line["rule"].as_str(), line["door"].as_str()),
            (Some("owner of the key"), Some("command"))
        );
        assert_eq!((&line["secrets"][0]["name"], &line["outcome"]), (&"stripe/live".into(), &"ok".into()));
    }
}

#[test]
fn who_is_told_what_there_is_is_written_down() {
    let store = begun();
    for (args, named) in [
        (&["list"][..], Value::Null),
        (&["show", "stripe/live"], serde_json::json!([{"name": "stripe/live", "provider": "store"}])),
        (&["versions", "stripe/live"], serde_json::json!([{"name": "stripe/live", "provider": "store"}])),
    ] {
        let before = lines(&store, &["--event", "list"]).len();
        stdout_of(&store.run(args));
        let told = lines(&store, &["--event", "list"]);
        let line = told.last().unwrap();
        assert_eq!((told.len(), &line["secrets"]), (before + 1, &named), "{args:?}");
        assert_eq!((line["verdict"].as_str(), line["namespace"].as_str()), (Some("real"), Some("default")));
    }
    let before = lines(&store, &[]).len();
    assert_eq!(store.run(&["show", "nothing"]).status.code(), Some(66));
    stdout_of(&store.run(&["exists", "stripe/live"]));
    assert_eq!(lines(&store, &[]).len(), before, "the control: nothing was told of it");
}

/// The program of the command, never its arguments.
#[test]
fn a_line_says_which_program_was_given_the_value() {
    let store = store("");
    let script = store.folder().join("run.sh");
    fs::write(&script, "#!/bin/sh\ntrue\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (command, extra) in [("./run.sh", None), ("sh", None), ("sh", Some("--mask"))] {
        let args = ["exec", "--env", "A=stripe/live"].into_iter().chain(extra);
        let args: Vec<_> = args.chain(["--", command, "-c", "true #argument"]).collect();
        stdout_of(&store.run(&args));
    }
    let programs = lines(&store, &["--door", "exec"]);
    let programs: Vec<_> = programs.iter().map(|line| line["program"].as_str().unwrap()).collect();
    assert!(programs[1].ends_with("/sh") && programs[2] == programs[1], "{programs:?}");
    assert_eq!(programs[0], script.to_str().unwrap());
    assert_eq!(lines(&store, &["--exe", "run.sh"]).len(), 1);
    let text = fs::read_to_string(store.folder().join("audit.log")).unwrap();
    assert!(!text.contains("argument"));
}

#[test]
fn a_mistake_is_answered() {
    let store = store("");
    stdout_of(&store.run(&["get", "stripe/live"]));
    for (args, told) in [
        (["--event", "raed"], "did you mean `read`?"),
        (["--event", "opened"], "there is read, list, create"),
        (["--door", "mnt"], "there is mount, exec, api, systemd, command"),
        (["--verdict", "denid"], "did you mean `denied`?"),
        (["--user", "nobody-here"], "there is no such user here"),
        (["--since", "2100-01-01"], "`2100-01-01` lies ahead"),
        (["--since", "long ago"], "`long ago` is no age"),
    ] {
        let output = query(&store, &args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(64) && stderr.contains(told), "{args:?}: {stderr}");
    }
    let output = query(&store, &["--secret", "nosuch"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stdout_of(&output).is_empty() && stderr.contains("nothing fits; the log begins 20"), "{stderr}");
    let output = query(&store, &["--secret", "stripe/live"]);
    assert!(output.stderr.is_empty() && !stdout_of(&output).is_empty(), "the control");
}

#[test]
fn a_person_is_told_names_and_numbers_and_nothing_that_cannot_be_seen() {
    let store = store("");
    let bidi = "a\u{202e}b";
    fs::write(store.folder().join(bidi), "x").unwrap();
    stdout_of(&store.run(&["backup", bidi.replace('b', "c").as_str()]));
    let text = stdout_of(&store.run(&["audit", "tail"]));
    assert!(text.contains("uid 0 (root) pid "), "{text}");
    assert!(text.contains("a\\u{202e}c") && !text.contains('\u{202e}'), "{text}");
    let json = stdout_of(&store.run(&["audit", "tail", "--json"]));
    assert!(json.contains('\u{202e}'), "the control: JSON is as it was written");
    let stderr = String::from_utf8_lossy(&store.run(&["restore", bidi, "--to", "x"]).stderr).into_owned();
    assert!(stderr.contains("a\\u{202e}b") && !stderr.contains('\u{202e}'), "{stderr}");
}

/// What is wrong is told with its file and its line in it; a log that was emptied is not as it was.
#[test]
fn each_finding_names_its_place() {
    let store = store("");
    fs::write(store.folder().join("secretfs.yaml"), "audit: {file: audit.log, size: 4KiB}\n").unwrap();
    let log = store.folder().join("audit.log");
    for number in 0..40 {
        stdout_of(&store.run(&["set", &format!("a{number}"), "--value", "x"]));
        if log.with_extension("log.1").exists() {
            break;
        }
    }
    let verify = || store.run(&["audit", "verify"]);
    assert!(verify().status.success());
    let full = log.with_extension("log.1");
    let text = fs::read_to_string(&full).unwrap();
    let forged: Vec<_> = text.lines().enumerate().filter(|(at, _)| *at != 3).map(|(_, line)| line).collect();
    fs::write(&full, forged.join("\n") + "\n").unwrap();
    let output = verify();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.code() == Some(1) && told.starts_with("audit.log.1:4: record 4 is missing\n"),
        "{told}"
    );
    for path in [&full, &log] {
        fs::write(path, "").unwrap();
    }
    let output = verify();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("audit.log:1: the file is empty") && told.contains("0 records, NOT as"), "{told}");
}

/// What is written while somebody looks on is shown once each, over all files that begin meanwhile.
#[test]
fn who_looks_on_sees_each_line_once() {
    let store = store("");
    fs::write(store.folder().join("secretfs.yaml"), "audit: {file: audit.log, size: 4KiB, keep: 50}\n")
        .unwrap();
    stdout_of(&store.run(&["get", "stripe/live"]));
    let shown = store.folder().join("shown");
    let mut tail = store.command(&["audit", "tail", "-n", "0", "-f", "--json"]);
    let mut tail = tail.stdout(fs::File::create(&shown).unwrap()).spawn().unwrap();
    let numbers = || -> Vec<u64> {
        let text = fs::read_to_string(&shown).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["seq"].as_u64().unwrap()).collect()
    };
    // It has begun once it shows the newest.
    let mut written = 2;
    while numbers().is_empty() && written < 200 {
        stdout_of(&store.run(&["get", "stripe/live"]));
        written += 1;
        std::thread::sleep(Duration::from_millis(300));
    }
    for _ in 0..40 {
        stdout_of(&store.run(&["get", "stripe/live"]));
    }
    let all = lines(&store, &[]);
    let last = all.last().unwrap()["seq"].as_u64().unwrap();
    for _ in 0..50 {
        if numbers().last() == Some(&last) {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
    let numbers = numbers();
    assert!(numbers[0] > 2, "what was there before is not shown: {numbers:?}");
    assert_eq!(numbers, (numbers[0]..=last).collect::<Vec<_>>());
    let full = fs::read_dir(store.folder())
        .unwrap()
        .filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().starts_with("audit.log."));
    assert!(full.count() >= 3, "the control: files began meanwhile");
}

/// Nobody finds the end of a log that has a line without an end.
#[test]
fn what_is_done_to_many_secrets_has_several_lines() {
    let store = store("");
    let env: String = (0..2_500).map(|number| format!("KEY_{number}=x\n")).collect();
    fs::write(store.folder().join("many.env"), env).unwrap();
    stdout_of(&store.run(&["import", "many.env"]));
    let told = lines(&store, &["--event", "import"]);
    let counts: Vec<_> = told.iter().map(|line| line["secrets"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [1_000, 1_000, 500]);
    assert!(store.run(&["audit", "verify"]).status.success());
}
