//! What a config asks of a mount, seen through the mount.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use common::{Mounted, TestMount, TestStore, USER};
use nix::errno::Errno;

fn mount(files: &str, more: &str, templates: &[(&str, &str)]) -> Mounted {
    let config = format!("mounts:\n- at: mnt\n  templates: templates\n{files}{more}");
    let start = TestMount::new().secret("pw", "it's \"1\"").config(&config).env("DAEMONS_OWN", "told");
    templates.iter().fold(start, |mount, (name, text)| mount.template(name, text)).start()
}

/// The message of a mount that does not start.
fn refusal(config: &str) -> (Option<i32>, String) {
    let store = TestStore::new();
    for folder in ["mnt", "templates"] {
        fs::create_dir(store.folder().join(folder)).unwrap();
    }
    fs::write(store.folder().join("secretfs.yaml"), config).unwrap();
    let output = store.run(&["mount"]);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn options_hold_for_all_files_or_for_one() {
    let files = format!(
        "  mode: \"0440\"\n  owner: {USER}\n  dialect: systemd\n  files:\n    \
         b.env: {{mode: \"0600\", owner: 0, dialect: dotenv}}\n    c: {{format: json}}\n"
    );
    let templates = [
        ("a.env.tpl", "A=<< secrets.pw >>\n"),
        ("b.env.tpl", "A=<< secrets.api_key | default('x') >>\n"),
        ("c.tpl", "[<< secrets.pw >>]"),
        ("d.json.tpl", "[<< secrets.pw >>]"),
    ];
    let mounted = mount(&files, "", &templates);
    let shown = |name: &str| {
        let metadata = mounted.path(name).metadata().unwrap();
        (metadata.uid(), metadata.permissions().mode() & 0o7777)
    };
    assert_eq!((shown("a.env"), shown("b.env")), ((USER, 0o440), (0, 0o600)));
    assert_eq!(mounted.read("a.env"), "A=\"it's \\\"1\\\"\"\n", "systemd's way");
    assert_eq!(mounted.read("b.env"), "A='x'\n", "the dotenv way");
    assert_eq!(mounted.read("c"), "[\"it's \\\"1\\\"\"]");
    assert_eq!(mounted.read("d.json"), "[\"it's \\\"1\\\"\"]", "a dialect says nothing about JSON");
}

#[test]
fn a_file_may_have_its_template_elsewhere_and_its_own_syntax() {
    let files = "  files: {sub/x.json: {template: elsewhere.tpl, syntax: jinja}}\n";
    let config = format!("mounts:\n- at: mnt\n  templates: templates\n{files}");
    let start = TestMount::new().secret("pw", "1").config(&config);
    let start = start.template("../elsewhere.tpl", "{\"a\": {{ secrets.pw }}}");
    assert_eq!(start.start().read("sub/x.json"), "{\"a\": \"1\"}");
}

#[test]
fn the_daemons_environment_is_told_only_where_the_config_allows() {
    let templates = [
        ("name.env.tpl", "A=<< env.DAEMONS_OWN >>\n"),
        ("provider.env.tpl", "A=<< secret('env:DAEMONS_OWN') >>\n"),
    ];
    let closed = mount("", "", &templates);
    for file in ["name.env", "provider.env"] {
        assert_eq!(closed.errno(file), Errno::EIO as i32, "{file}");
    }
    let named = mount("", "env: [DAEMONS_OWN]\n", &templates);
    assert_eq!(
        (named.read("name.env"), named.errno("provider.env")),
        ("A='told'\n".into(), Errno::EIO as i32)
    );
    let provided = mount("", "secrets: {own: env:DAEMONS_OWN}\n", &templates);
    assert_eq!(provided.read("provider.env"), "A='told'\n");
}

#[test]
fn deploy_time_files_are_not_served() {
    let templates = [(".env.deploy.tpl", "A=<< secrets.pw >>\n"), (".env.tpl", "A=1\n"), ("notes.txt", "x")];
    let mounted = mount("", "", &templates);
    let names: Vec<_> =
        fs::read_dir(mounted.point()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [".env"]);
    assert_eq!(mounted.errno(".env.deploy"), Errno::ENOENT as i32);
    let store = mounted.store();
    fs::create_dir(store.folder().join("other")).unwrap();
    let output = store.run(&["--namespace", "deploy", "mount", "templates", "other"]);
    assert_eq!(output.status.code(), Some(77), "{output:?}");
}

#[test]
fn a_config_that_does_not_fit_this_machine_is_located() {
    for (line, place, says) in [
        ("  owner: nobody-like-this\n", "4:10", "there is no user `nobody-like-this`"),
        ("  files: {a: {group: no-such-group}}\n", "4:22", "there is no group `no-such-group`"),
        ("  on_change: {signal: HUP}\n", "4:3", "unknown key `on_change`"),
    ] {
        let (status, message) = refusal(&format!("mounts:\n- at: mnt\n  templates: templates\n{line}"));
        assert_eq!(status, Some(78), "{message}");
        assert!(message.contains(&format!("secretfs.yaml:{place}: {says}")), "{message}");
    }
    let (status, message) = refusal("store: store\n");
    assert_eq!(status, Some(64), "{message}");
    assert!(message.contains("the config names no mounts"), "{message}");
}
