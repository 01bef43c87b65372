//! The same rules at every door, and of each door only those that are about it.

mod common;

use std::fs;
use std::process::Output;

use common::{TestStore, stdout_of};

/// What a variable and a covered file give to a command: the values or `denied`.
fn by_exec(policy: &str, name: &str) -> [String; 2] {
    let store = TestStore::new();
    store.set("b", "bbb");
    fs::write(store.folder().join("secretfs.yaml"), format!("policy: {policy}\n")).unwrap();
    fs::write(store.folder().join("cov.tpl"), "B=<< secrets.b >>\n").unwrap();
    fs::write(store.folder().join(name), "").unwrap();
    let shown = |output: &Output| match output.status.code() {
        Some(0) => stdout_of(output),
        Some(77) => "denied".to_owned(),
        _ => String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    let run = |args: &[&str], script: &str| {
        let config = ["exec", "--config", "secretfs.yaml"];
        shown(&store.run(&[&config[..], args, &["--", "sh", "-c", script]].concat()))
    };
    let cover = format!("{name}=cov.tpl");
    [
        run(&["--env", "B=b"], "printf $B"),
        run(&["--file", &cover], &format!("printf $(cut -d= -f2 {name} | tr -d \"'\")")),
    ]
}

#[test]
fn a_covered_file_of_exec_is_under_the_rules_of_exec() {
    for (policy, expected) in [
        ("[]", "bbb"),
        ("[{secrets: b, placeholder: {uid: 0, door: exec}}]", "placehol"),
        ("[{secrets: b, allow: {uid: 0, door: exec}}]", "bbb"),
        ("[{secrets: b, allow: {uid: 0, door: mount}}]", "denied"),
        ("[{secrets: b, deny: {uid: 0, door: mount}}]", "bbb"),
    ] {
        assert_eq!(by_exec(policy, "cov"), [expected; 2], "{policy}");
    }
}

/// The user of exec names the file as he likes.
#[test]
fn a_covered_file_of_exec_is_no_file_of_a_mount() {
    for files in ["\"*\"", "\"*.env\"", "\"0/*\"", "\"/*\""] {
        let policy = format!(
            "[{{secrets: b, files: {files}, allow: {{uid: 0}}}}, {{secrets: b, placeholder: anyone}}]"
        );
        assert_eq!(by_exec(&policy, ".env"), ["placehol"; 2], "{policy}");
    }
}

/// Who opens the store with its key is not asked; and no door gives out values but those.
#[test]
fn who_has_the_key_needs_no_rule() {
    let store = TestStore::new();
    store.set("b", "bbb");
    fs::write(store.folder().join("secretfs.yaml"), "policy: [{secrets: b, deny: anyone}]\n").unwrap();
    fs::write(store.folder().join("b.tpl"), "<< secrets.b >>").unwrap();
    let run = |args: &[&str]| store.run(&[&args[..1], &["--config", "secretfs.yaml"], &args[1..]].concat());
    assert_eq!(run(&["exec", "--env", "B=b", "--", "true"]).status.code(), Some(77), "the control");
    assert_eq!(stdout_of(&run(&["get", "b"])).trim_end(), "bbb");
    assert_eq!(stdout_of(&run(&["render", "b.tpl"])).trim_end(), "bbb");
}

/// A door that nobody comes through, and what nobody asks for.
#[test]
fn what_is_not_asked_of_rules_is_told() {
    let store = TestStore::new();
    fs::create_dir(store.folder().join("templates")).unwrap();
    fs::write(store.folder().join("templates/f.env.tpl"), "a=<< secrets.a >>\n").unwrap();
    let program = "/usr/bin/true";
    let real = fs::canonicalize(program).unwrap().display().to_string();
    let check = |policy: &str| {
        let yaml = format!("policy: [{policy}]\nmounts: [{{at: mnt, templates: templates}}]\n");
        fs::write(store.folder().join("secretfs.yaml"), yaml).unwrap();
        let output = store.run(&["check", "--offline"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let wrong =
        format!("{{secrets: a, allow: {{uid: 0, exe: {{path: {real}, sha256: {}}}}}}}", "0".repeat(64));
    for (policy, note) in [
        ("{secrets: a, allow: {door: api}}", "nobody comes through the door `api` yet"),
        ("{secrets: a, deny: {uid: 1}, actions: [rotate, delete]}", "about no reading"),
        ("{secrets: nosuch, deny: anyone}", "nothing refers to a secret like `nosuch`"),
        ("{secrets: a, allow: {uid: 0, exe: /usr/bin/mawk}}", "does what a script says"),
        (&wrong, "has another sha256 than that"),
    ] {
        let said = check(policy);
        assert!(said.contains(note), "{policy}: {said}");
    }
    let said = check("{secrets: \"a*\", allow: {uid: 0, door: mount}}");
    assert!(said.contains("0 notes"), "the control: {said}");
}
