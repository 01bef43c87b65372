//! Rules are about whole secrets, by all their names: whichever spelling asks for one, and what a rule on
//! less than a whole secret opens and closes.

mod common;

use std::fs;
use std::process::{Command, Output};

use common::programmed::{Programmed, attribute};
use common::{Daemon, TestDaemon, TestStore, stdout_of};

/// A secret `a` with the field `b`, another with a dot in its name, and one with a label.
fn fill(store: &TestStore) {
    stdout_of(
        &store.run_with(&["set", "a", "--type", "custom", "--from-json"], r#"{"b": "field", "c": "other"}"#),
    );
    store.set("d.e", "dotted");
    stdout_of(&store.run_with(&["set", "lab", "--label", "ai"], "labelled"));
}

const DENIED: &str = "denied";

fn shown(output: &Output) -> String {
    match output.status.code() {
        Some(0) => stdout_of(output),
        Some(77) => DENIED.to_owned(),
        _ => String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What `exec` gives for a reference, and a template in its env file.
fn by_exec(store: &TestStore, reference: &str) -> String {
    let variable = format!("V={reference}");
    shown(&store.run(&["exec", "--env", &variable, "--", "sh", "-c", "printf %s \"$V\""]))
}

fn by_template(store: &TestStore, expression: &str) -> String {
    fs::write(store.folder().join("v.env.tpl"), format!("V=<< {expression} >>\n")).unwrap();
    shown(&store.run(&["exec", "--env-file", "v.env.tpl", "--", "sh", "-c", "printf %s \"$V\""]))
}

fn configure(store: &TestStore, yaml: &str) {
    fs::write(store.folder().join("secretfs.yaml"), yaml).unwrap();
}

const OF_FIELD: [&str; 4] = ["a.b", "a#b", "store:a#b", "a.b@1"];
const OF_DOTTED: [&str; 4] = ["d.e", "d.e#value", "store:d.e", "d.e@1"];

#[test]
fn a_rule_holds_for_each_spelling_of_a_reference_or_for_none() {
    let store = TestStore::new();
    fill(&store);
    for (pattern, field, dotted) in [
        ("a.b", "field", "dotted"),
        ("a", DENIED, "dotted"),
        ("store:a", DENIED, "dotted"),
        ("d.e", "field", DENIED),
        ("d", "field", "dotted"),
        ("\"*.*\"", "field", DENIED),
        ("\"*\"", DENIED, DENIED),
    ] {
        configure(&store, &format!("policy: [{{secrets: {pattern}, deny: anyone}}]\n"));
        OF_FIELD.iter().for_each(|it| assert_eq!(by_exec(&store, it), field, "{pattern} {it}"));
        OF_DOTTED.iter().for_each(|it| assert_eq!(by_exec(&store, it), dotted, "{pattern} {it}"));
        for (expression, expected) in [
            ("secrets.a.b", field),
            ("secrets.a['b']", field),
            ("secrets['d.e']", dotted),
            ("secret('d.e')", dotted),
        ] {
            assert_eq!(by_template(&store, expression), expected, "{pattern} {expression}");
        }
    }
    // Who may have one reading only is not told by the other that there is nothing.
    configure(&store, "policy: [{secrets: gone, deny: anyone}]\n");
    assert_eq!(by_exec(&store, "gone.x"), DENIED, "of what is not there all readings count");
    assert!(by_exec(&store, "none.x").contains("there is no secret"), "the control");
    // A secret that is called like a field: neither is chosen by the rules.
    store.set("a.b", "ambiguous");
    assert!(by_exec(&store, "a.b").contains("field of one secret and the name of another"));
    configure(&store, "policy: [{secrets: a.b, deny: anyone}]\n");
    assert_eq!(by_exec(&store, "a.b"), DENIED);
    assert_eq!([by_exec(&store, "a#b"), by_exec(&store, "a.b#value")], ["field", DENIED]);
}

/// The hole that was there: who allowed the certificate to anyone had allowed the key to anyone.
#[test]
fn a_name_of_one_field_opens_no_other() {
    let store = TestStore::new();
    fill(&store);
    let mapped = "secrets: {from: store, open: 'store:a#c', closed: 'store:a#b', all: 'store:a'}\n";
    let policy = "policy: [{secrets: open, allow: anyone}, {secrets: closed, allow: {uid: 54321}}]\n";
    configure(&store, &format!("{mapped}{policy}"));
    assert_eq!(by_exec(&store, "open"), "other");
    for spelling in ["closed", "a#b", "a#c", "store:a#b", "all#b"] {
        assert_eq!(by_exec(&store, spelling), DENIED, "{spelling}");
    }
    let control = "policy: [{secrets: all, allow: anyone}, {secrets: closed, allow: {uid: 54321}}]\n";
    configure(&store, &format!("{mapped}{control}"));
    for (spelling, value) in [("closed", "field"), ("open", "other"), ("a#b", "field"), ("all#c", "other")] {
        assert_eq!(by_exec(&store, spelling), value, "a name of the whole is about all of it: {spelling}");
    }
}

/// Who names a label says nothing of the secret that has it.
#[test]
fn what_is_behind_a_label_is_judged_by_its_names() {
    let store = TestStore::new();
    fill(&store);
    let of_label = "{secrets: 'label=ai', allow: anyone}";
    for (rules, expected) in [
        (of_label.to_owned(), "labelled"),
        (format!("{of_label}, {{secrets: lab, deny: anyone}}"), DENIED),
        (format!("{of_label}, {{secrets: 'store:l*', allow: {{uid: 54321}}}}"), DENIED),
        (format!("{of_label}, {{secrets: lab, placeholder: anyone}}"), "placehol"),
        (format!("{of_label}, {{secrets: other, deny: anyone}}"), "labelled"),
        ("{secrets: other, deny: anyone}".to_owned(), DENIED),
    ] {
        configure(&store, &format!("policy: [{rules}]\n"));
        assert_eq!(by_exec(&store, "label=ai"), expected, "{rules}");
        let in_file = by_template(&store, "secret(label='ai')");
        let expected = if expected == "placehol" { DENIED } else { expected };
        assert_eq!(in_file, expected, "in a template: {rules}");
    }
}

fn served(policy: &str) -> Daemon {
    let daemon = TestDaemon::new()
        .template("field.tpl", "<< secrets.a.b >>")
        .template("dotted.tpl", "<< secrets['d.e'] >>")
        .template("label.tpl", "<< secret(label='ai') >>");
    fill(daemon.store());
    daemon
        .config(&format!("mounts: [{{at: mnt, templates: templates, mode: \"0444\"}}]\npolicy: [{policy}]\n"))
        .start()
}

#[test]
fn it_is_so_in_a_mount() {
    for (policy, expected) in [
        ("{secrets: a.b, deny: anyone}", [Some("field"), Some("dotted"), None]),
        ("{secrets: a, deny: anyone}", [None, Some("dotted"), None]),
        ("{secrets: d.e, deny: anyone}", [Some("field"), None, None]),
        (
            "{secrets: 'label=ai', allow: anyone}, {secrets: lab, deny: anyone}",
            [Some("field"), Some("dotted"), None],
        ),
        ("{secrets: 'label=ai', allow: anyone}", [Some("field"), Some("dotted"), Some("labelled")]),
    ] {
        let daemon = served(policy);
        let read = |name: &str| fs::read_to_string(daemon.path(name)).ok();
        let seen = ["field", "dotted", "label"].map(read);
        assert_eq!(seen.each_ref().map(Option::as_deref), expected, "{policy}");
    }
}

#[test]
fn a_rule_on_less_than_a_secret_is_a_fault_where_it_stands() {
    let store = TestStore::new();
    fill(&store);
    fs::create_dir(store.folder().join("templates")).unwrap();
    fs::write(store.folder().join("templates/f.env.tpl"), "a=<< secrets.a.b >>\n").unwrap();
    let check = |pattern: &str, arguments: &[&str]| {
        let mounts = "mounts: [{at: mnt, templates: templates}]\n";
        configure(&store, &format!("policy:\n- {{secrets: {pattern}, deny: anyone}}\n{mounts}"));
        let output = store.run(&[&["check"], arguments].concat());
        let all = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code(), String::from_utf8_lossy(&all).into_owned())
    };
    for (pattern, place, said) in [
        ("'a#b'", "yaml:2:13", "names a field, and rules are about whole secrets: write `a`"),
        ("'store:a#b'", "yaml:2:13", "write `store:a`"),
        ("[d.e, 'a@3']", "yaml:2:19", "names a version, and rules are about whole secrets: write `a`"),
        (
            "a.b",
            "yaml:2:13",
            "`a.b` is the field `b` of a secret, and rules are about whole secrets: write `a`",
        ),
        ("store:a.b", "yaml:2:13", "write `store:a`"),
    ] {
        for arguments in [&[][..], &["--offline"]] {
            let (status, text) = check(pattern, arguments);
            assert_eq!(status, Some(78), "{pattern}: {text}");
            assert!(text.contains(place) && text.contains(said), "{pattern}: {text}");
        }
    }
    assert_eq!(check("a", &[]).0, Some(0), "the control");
    let (status, text) = check("a.x", &[]);
    assert!(status == Some(0) && text.contains("if the field `x` of `a` is meant, write `a`"), "{text}");
    let (status, text) = check("d.e", &[]);
    assert!(status == Some(0) && text.contains("nothing refers to a secret like `d.e`"), "{text}");
    store.set("a.b", "whole");
    let (status, text) = check("a.b", &[]);
    assert!(status == Some(0) && text.contains("nothing refers"), "it is there by that name: {text}");
}

/// A program that takes several spellings for one name is asked by one.
#[test]
fn a_rule_on_a_secret_of_a_program_is_not_gone_round_by_another_spelling() {
    const WAYS: [&str; 9] =
        ["/kv/x", "kv/x/", "kv//x", "kv/./x", "./kv/x", "kv/y/../x", "//kv/x", " kv/x", "kv/x\\n"];
    // It makes one name of all of them, as a path does.
    let script = "printf %s \"$1\" | tr -d ' \\n' | sed 's,/[.]/,/,g; s,[^/.]*/[.][.]/,,; s,^[.]*/*,,; s,/*$,,; s,//*,/,g'";
    let started = |policy: &str, command: &'static str| {
        let mut mount = Programmed::new(script).command(command).file("plain", "<< secret('p:kv/x') >>");
        mount = mount.file("other", "<< secret('p:kv/z') >>").policy(policy);
        for (index, way) in WAYS.iter().enumerate() {
            mount = mount.file(&format!("way{index}"), &format!("<< secret('p:{way}') | default('d') >>"));
        }
        mount.start()
    };
    let mount = started("[{secrets: \"p:kv/x\", deny: anyone}]", "./program");
    assert_eq!((mount.errno("plain"), mount.read("other")), (libc::EACCES, "kv/z".to_owned()));
    for (index, way) in WAYS.iter().enumerate() {
        let file = format!("way{index}");
        assert_eq!(mount.errno(&file), libc::EIO, "{way}");
        let reason = attribute(&mount, &file, "error").unwrap();
        assert!(reason.contains("is not asked for a name that"), "{way}: {reason}");
    }
    // The controls: it would have told, and who has names from the root says so to the program.
    let whole = started("[]", "./program, '/{path}'");
    assert_eq!((whole.read("plain"), whole.errno("way0")), ("kv/x".to_owned(), libc::EIO));
    for way in WAYS {
        let told = Command::new(whole.store().folder().join("program"))
            .arg(way.replace("\\n", "\n"))
            .output()
            .unwrap();
        assert_eq!(stdout_of(&told), "kv/x", "{way}");
    }
}
