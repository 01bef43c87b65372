//! Files as a provider, and several providers as one, through the real mount: what is there, what is
//! not, what has changed, and what happens when one of them fails.

mod common;

use std::fs;

use common::programmed::{Programmed, attribute, eventually};
use common::{Mounted, TestMount};

/// A mount with files beside its templates.
fn with_files(files: &[(&str, &str)]) -> TestMount {
    let mount = TestMount::new();
    for (name, text) in files {
        let path = mount.folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    mount
}

const MOUNTS: &str = "mounts: [{at: mnt, templates: templates}]\n";

fn reason(mount: &Mounted, file: &str) -> String {
    attribute(mount, file, "error").expect("a reason")
}

#[test]
fn folders_and_documents_are_read() {
    let mount = with_files(&[
        ("run/db/password", "hunter2\n"),
        ("run/tls.pem", "-----BEGIN\nx\n"),
        ("app.env", "export DB='a b'\n"),
        ("app.json", r#"{"db": {"user": "u", "port": 5432}}"#),
        ("app.yaml", "db:\n  pass: p\nfeature: true\n"),
    ])
    .env("PLACE", "run")
    .config(&format!(
        "providers:
  folder: {{type: file, path: ./run}}
  named: {{type: file, path: '${{PLACE}}'}}
  env_file: {{type: file, path: app.env}}
  json: {{type: file, path: app.json}}
  yaml: {{type: file, path: app.yaml}}
{MOUNTS}"
    ))
    .template("a.tpl", "<< secret('folder:db/password') >>|<< secret('folder:tls.pem') >>")
    .template(
        "b.tpl",
        "<< secret('env_file:DB') >>|<< secret('json:db#user') >>:<< secret('json:db#port') >>",
    )
    .template("c.tpl", "<< secret('yaml:db#pass') >>|<< secret('yaml:feature') >>")
    .template(
        "none.tpl",
        "<< secret('folder:db/user') | default('d') >><< secret('json:no') | default('d') >>",
    )
    .template("missing.tpl", "<< secret('folder:nothing') >>")
    .template("out.tpl", "<< secret('folder:../app.env') | default('never left') >>")
    .start();
    assert_eq!(mount.read("a"), "hunter2|-----BEGIN\nx\n");
    assert_eq!(mount.read("b"), "a b|u:5432");
    assert_eq!(mount.read("c"), "p|true");
    assert_eq!(mount.read("none"), "dd");
    assert_eq!(mount.read("out"), "never left");
    assert_eq!(mount.errno("missing"), libc::ENOKEY);
}

#[test]
fn a_change_of_a_file_reaches_the_next_reader() {
    let mount = with_files(&[("run/a", "one\n"), ("run/b", "one\n")])
        .config(&format!("providers: {{f: {{type: file, path: run}}}}\n{MOUNTS}"))
        .template("a.tpl", "<< secret('f:a') >>")
        .template("b.tpl", "<< secret('f:b') >>")
        .start();
    assert_eq!((mount.read("a"), mount.read("b")), ("one".to_owned(), "one".to_owned()));
    fs::write(mount.store().folder().join("run/a"), "two\n").unwrap();
    eventually("the change is seen", || mount.read("a") == "two");
    assert_eq!(mount.read("b"), "one");
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place_and_never_its_content() {
    let mount = with_files(&[
        ("broken.json", "{\"a\": \"b\",\n 31337}"),
        ("twice.yaml", "a: {b: c}\na: {b: c}\n"),
        ("what.xyz", "31337"),
        ("fine.json", "{\"a\": \"fine\", \"list\": [31337]}"),
    ])
    .config(&format!(
        "providers:
  broken: {{type: file, path: broken.json}}
  twice: {{type: file, path: twice.yaml}}
  what: {{type: file, path: what.xyz}}
  gone: {{type: file, path: gone.json}}
  fine: {{type: file, path: fine.json}}
{MOUNTS}"
    ))
    .template("broken.tpl", "<< secret('broken:a') | default('never') >>")
    .template("twice.tpl", "<< secret('twice:a#b') >>")
    .template("what.tpl", "<< secret('what:a') >>")
    .template("gone.tpl", "<< secret('gone:a') | default('never') >>")
    .template("list.tpl", "<< secret('fine:list') >>")
    .template("fine.tpl", "<< secret('fine:a') >>")
    .start();
    for (file, says) in [
        ("broken", "broken.json:2: it is no JSON"),
        ("twice", "twice.yaml:"),
        ("what", "its name does not say what it is"),
        ("gone", "No such file"),
        ("list", "is a list, no text"),
    ] {
        assert_eq!(mount.errno(file), libc::EIO, "{file}");
        let reason = reason(&mount, file);
        assert!(reason.contains(says) && !reason.contains("31337"), "{file}: {reason}");
    }
    assert_eq!(mount.read("fine"), "fine", "others are untouched");
}

/// `p` is a program that can be made to fail; `store` and `f` are what stands beside it.
fn several(strategy: &str) -> Programmed {
    let script = "[ ! -e down ] || exit 1; case $1 in both) echo program;; own) echo own;; *) exit 44;; esac";
    let yaml = format!(
        "cache: {{ttl: 500ms, negative_ttl: 500ms}}}}, f: {{type: file, path: run}}, all: {{type: multi, of: [p, f], strategy: {strategy}"
    );
    let program = Programmed::new(script)
        .settings(&yaml)
        .file("both", "<< secret('all:both') >>")
        .file("own", "<< secret('all:own') | default('none') >>")
        .file("other", "<< secret('all:other') | default('none') >>")
        .file("nowhere", "<< secret('all:nowhere') | default('none') >>");
    let run = program.mount.folder().join("run");
    fs::create_dir(&run).unwrap();
    fs::write(run.join("both"), "file\n").unwrap();
    fs::write(run.join("other"), "file\n").unwrap();
    program
}

fn down(mount: &Mounted) {
    fs::write(mount.store().folder().join("down"), "").unwrap();
}

fn fails(mount: &Mounted, file: &str) -> bool {
    match fs::read(mount.path(file)) {
        Err(error) => error.raw_os_error() == Some(libc::EIO),
        Ok(_) => false,
    }
}

fn up(mount: &Mounted) {
    fs::remove_file(mount.store().folder().join("down")).unwrap();
}

#[test]
fn failover_asks_the_next_one_only_if_one_fails() {
    let mount = several("failover").start();
    let all = || ["both", "own", "other", "nowhere"].map(|file| mount.read(file)).join(" ");
    assert_eq!(all(), "program own none none", "who answers is believed, also that there is none");
    down(&mount);
    eventually("the next one answers", || all() == "file none file none");
    up(&mount);
    eventually("the first one is back", || all() == "program own none none");
    assert!(mount.stderr().contains("failover"), "{}", mount.stderr());
}

#[test]
fn priority_asks_the_next_one_only_for_what_is_missing() {
    let mount = several("priority").start();
    let all = || ["both", "own", "other", "nowhere"].map(|file| mount.read(file)).join(" ");
    assert_eq!(all(), "program own file none");
    down(&mount);
    eventually("nobody is asked in its place", || fails(&mount, "both"));
    eventually("that it is missing is not known", || fails(&mount, "other") && fails(&mount, "nowhere"));
    up(&mount);
    eventually("it is back", || !fails(&mount, "both") && all() == "program own file none");
}

#[test]
fn merge_takes_it_from_whoever_has_it_and_refuses_what_two_have() {
    let mount = several("merge").start();
    let all = || ["own", "other", "nowhere"].map(|file| mount.read(file)).join(" ");
    assert_eq!(all(), "own file none");
    assert_eq!(mount.errno("both"), libc::EIO);
    let reason = reason(&mount, "both");
    assert!(reason.contains("both `p` and `f` of `all` have `both`"), "{reason}");
    down(&mount);
    eventually("its own are not known", || fails(&mount, "own"));
    eventually("it might be where nobody answers", || fails(&mount, "nowhere"));
    assert_eq!(mount.read("other"), "file", "what another has is there");
}
