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
