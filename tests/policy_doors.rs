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
    let more = "b=<< secrets['stripe/live'] >>\nc=<< secret('env:STRIPE') >>\n";
    fs::write(store.folder().join("templates/g.env.tpl"), more).unwrap();
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
        ("{secrets: nosuch, deny: anyone}", "nothing refers to a secret like `nosuch`\n"),
        (
            "{secrets: strpe/live, deny: anyone}",
            "nothing refers to a secret like `strpe/live`; did you mean `stripe/live`?\n",
        ),
        ("{secrets: srtipe/*, deny: anyone}", "like `srtipe/*`; did you mean `stripe/*`?\n"),
        ("{secrets: \"env:SRTIPE\", deny: anyone}", "like `env:SRTIPE`; did you mean `env:STRIPE`?\n"),
        ("{secrets: a, allow: {uid: 0, exe: /usr/bin/mawk}}", "does what a script says"),
        (&wrong, "has another sha256 than that"),
        (
            "{secrets: a, deny: {uid: 0, door: exec, exe: /usr/bin/mawk}}",
            "never fits: who asks at the door exec",
        ),
    ] {
        let said = check(policy);
        assert!(said.contains(note), "{policy}: {said}");
    }
    let said = check("{secrets: \"a*\", allow: {uid: 0, door: mount}}");
    assert!(said.contains("0 notes"), "the control: {said}");
}

/// Who asks there is this program, whatever it starts; the question says so, too.
#[test]
fn the_program_at_the_door_exec_is_ours() {
    let store = TestStore::new();
    store.set("b", "bbb");
    let own = fs::canonicalize(env!("CARGO_BIN_EXE_secretfs")).unwrap().display().to_string();
    let run = |arguments: &[&str]| store.run(&[&["--config", "secretfs.yaml"], arguments].concat());
    for (program, gives) in [("/usr/bin/env", Some(0)), (own.as_str(), Some(77))] {
        let policy = format!("policy: [{{secrets: b, deny: {{door: exec, uid: 0, exe: {program}}}}}]\n");
        fs::write(store.folder().join("secretfs.yaml"), policy).unwrap();
        let deed = run(&["exec", "--env", "B=b", "--", "/usr/bin/env", "true"]);
        assert_eq!(deed.status.code(), gives, "{program}");
        let told = run(&["policy", "test", "--uid", "0", "--secret", "b"]);
        assert_eq!(told.status.code() == Some(0), gives == Some(0), "{program}: {}", stdout_of_any(&told));
        let asked = run(&["policy", "test", "--uid", "0", "--secret", "b", "--exe", program]);
        let expected = if program == own { Some(1) } else { Some(64) };
        assert_eq!(asked.status.code(), expected, "{program}: {}", stdout_of_any(&asked));
        if expected == Some(64) {
            assert!(stdout_of_any(&asked).contains("who asks at the door exec is secretfs itself"));
        }
    }
}

fn stdout_of_any(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}
