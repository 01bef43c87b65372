//! `secretfs check` and `secretfs render` through the real binary.

mod common;

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Output;

use common::TestStore;
use serde_json::Value;

fn store() -> TestStore {
    let store = TestStore::new();
    store.set("api_key", "it's \"1\"").set("token", "t");
    store
}

fn write(store: &TestStore, name: &str, text: &str) {
    let path = store.folder().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[track_caller]
fn says(output: &Output, status: i32, expected: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*text), (Some(status), expected), "{stderr}");
}

#[test]
fn all_is_well() {
    let store = store();
    write(&store, "t/a.env.tpl", "A=<< secrets.api_key >>\nB=<< secrets.none | default('x') >>\n");
    write(&store, "t/notes.txt", "not a template: << secrets.none >>");
    says(&store.run(&["check", "t"]), 0, "1 template: 0 faults, 0 missing, 0 notes\n");
}

/// One that fails keeps nothing of the others from being told.
#[test]
fn a_provider_that_fails_is_told_with_who_needs_it() {
    let store = store();
    let config = "providers:
  down: {type: file, path: nowhere}
  here: {type: file, path: here}
secrets: {mapped: down:m}
mounts: [{at: mnt, templates: t}]
";
    write(&store, "secretfs.yaml", config);
    write(&store, "here/a", "1");
    write(
        &store,
        "t/a.tpl",
        "<< secret('down:a') | default('x') >> << secrets.token >>\n<< secrets.mapped >>",
    );
    write(&store, "t/b.tpl", "<< secret('here:a') >> << secret('here:b') >>");
    let output = store.run(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let missing: Vec<_> = told["missing"].as_array().unwrap().iter().collect();
    let of = |key: &str| missing.iter().map(|it| it[key].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(of("reference"), ["down:a", "here:b", "mapped"]);
    assert_eq!(of("provider"), ["down", "here", "down:m"]);
    for (at, says) in [(0, "provider `down`: "), (1, "there is no secret"), (2, "provider `down`: ")] {
        assert!(of("message")[at].contains(says), "{told}");
    }
    // The control: of its form alone nobody is asked.
    assert_eq!(store.run(&["check", "--offline"]).status.code(), Some(0));
}

#[test]
fn everything_is_told_at_once() {
    let store = store();
    write(&store, "t/broken.json.tpl", "{\"a\": << secrets.api_key | uper >>}\n");
    write(&store, "t/deep/missing.env.tpl", "A=<< secrets.api_kye >>\nB=<< secrets.token.valeu >>\n");
    write(&store, "t/branch.env.tpl", "<% if env.X is defined %>A=<< secrets.nowhere >>\n<% endif %>");
    write(&store, "t/plain.conf.tpl", "key << secrets.token | raw >>\n");
    let output = store.run(&["check", "t"]);
    says(
        &output,
        65,
        "FAULT AT                WHAT IS WRONG\n\
         t/broken.json.tpl:1:28  there is no filter `uper`; did you mean `upper`?\n\
         \x20                       1 | {\"a\": << secrets.api_key | uper >>}\n\
         \x20                         |                            ^^^^\n\
         \n\
         MISSING      PROVIDER  USED AT                     WHY\n\
         api_kye      store     t/deep/missing.env.tpl:1:6  there is no secret `api_kye`; did you mean `api_key`?\n\
         nowhere      store     t/branch.env.tpl:1:31       there is no secret `nowhere`; `secretfs set nowhere` to add it, or `| default(\"…\")` to do without\n\
         token#valeu  store     t/deep/missing.env.tpl:2:6  the secret `token` has no field `valeu`; did you mean `value`?\n\
         \n\
         NOTE AT               WHAT TO KNOW\n\
         t/plain.conf.tpl      plain text: its name tells no format, so values are not escaped; set `format:`\n\
         t/plain.conf.tpl:1:8  `raw`: this value is not escaped\n\
         \n\
         4 templates: 1 fault, 3 missing, 2 notes\n",
    );
}

#[test]
fn what_is_left_as_text_is_noted() {
    let store = store();
    write(&store, "a.env.tpl", "A=<< api_key >>\nB={{ secrets.token }}\n");
    says(
        &store.run(&["check", "a.env.tpl"]),
        0,
        "NOTE AT        WHAT TO KNOW\n\
         a.env.tpl:1:6  left as text; did you mean `secrets.api_key`?\n\
         a.env.tpl:2:6  left as text; did you mean `<< secrets.token >>`?\n\
         \n\
         1 template: 0 faults, 0 missing, 2 notes\n",
    );
}

/// What a mount would refuse to read is no template, and none of it is waited for.
#[test]
fn files_that_a_mount_would_not_trust_are_faults() {
    let store = store();
    write(&store, "t/ok.env.tpl", "A=1\n");
    symlink("ok.env.tpl", store.folder().join("t/link.env.tpl")).unwrap();
    nix::unistd::mkfifo(&store.folder().join("t/pipe.env.tpl"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    write(&store, "t/open.env.tpl", "A=1\n");
    let open = store.folder().join("t/open.env.tpl");
    std::fs::set_permissions(open, Permissions::from_mode(0o666)).unwrap();
    let output = store.run(&["check", "t"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(65), "{text}");
    for words in ["is a link", "is a named pipe", "can be written by others", "4 templates: 3 faults"] {
        assert!(text.contains(words), "no `{words}` in: {text}");
    }
}

#[test]
fn missing_alone_is_a_no_and_offline_does_not_look() {
    let store = store();
    write(&store, "a.env.tpl", "A=<< secrets.nothing >>\n");
    assert_eq!(store.run(&["check", "a.env.tpl"]).status.code(), Some(1));
    let offline = store.run(&["check", "--offline", "a.env.tpl"]);
    says(&offline, 0, "1 template: 0 faults, 0 missing, 0 notes\n");
    std::fs::remove_dir_all(store.path()).unwrap();
    assert_eq!(store.run(&["check", "--offline", "a.env.tpl"]).status.code(), Some(0));
    assert_eq!(store.run(&["check", "a.env.tpl"]).status.code(), Some(66));
}

#[test]
fn json_for_machines() {
    let store = store();
    write(&store, "a.env.tpl", "A=<< secrets.api_kye >>\n");
    let output = store.run(&["--json", "check", "a.env.tpl"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["templates"], 1);
    let missing = &report["missing"][0];
    assert_eq!((&missing["reference"], &missing["provider"]), (&"api_kye".into(), &"store".into()));
    let place = &missing["uses"][0];
    assert_eq!(place["file"], "a.env.tpl");
    assert_eq!((&place["line"], &place["column"]), (&1.into(), &6.into()));
    assert_eq!(missing["hint"], "did you mean `api_key`?");
    write(&store, "b.env.tpl", "A=<< secrets.api_key | uper >>\n");
    let output = store.run(&["--json", "check", "b.env.tpl"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = &report["findings"][0];
    assert_eq!((&finding["kind"], &finding["column"]), (&"template".into(), &24.into()));
}

#[test]
fn the_config_names_what_is_checked() {
    let store = store();
    let config = "mounts:\n- at: m\n  templates: t\n  files:\n    plain: {format: env}\n    \
                  other.json: {template: x/o.tpl}\n    a.env: {syntax: jinja}\nprofiles: {p: {env_files: [x/p.tpl]}}\n";
    write(&store, "secretfs.yaml", config);
    write(&store, "t/plain.tpl", "A=<< env.HOME >>\n");
    write(&store, "t/a.env.tpl", "A={{ secrets.token }}\nB=<< secrets.anything >>\n");
    write(&store, "x/o.tpl", "{\"a\": << secrets.gone >>}\n");
    write(&store, "t/provider.env.tpl", "A=<< secret('env:HOME') >>\n");
    write(&store, "x/p.tpl", "A=<< env.HOME >>\nB=<< secret('env:HOME') >>\n");
    let folder = store.folder().canonicalize().unwrap();
    let output = store.run(&["check"]);
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    assert_eq!(
        squeezed(&output),
        format!(
            "FAULT AT WHAT IS WRONG\n\
             {0}/t/plain.tpl:1:6 env.HOME is not allowed; list it under `env:` in the config\n\
             {0}/t/provider.env.tpl:1:6 there is no provider `env`; the providers are store; the config may name more\n\
             \n\
             MISSING PROVIDER USED AT WHY\n\
             gone store {0}/x/o.tpl:1:10 there is no secret `gone`; `secretfs set gone` to add it, or `| default(\"…\")` to do without\n\
             \n\
             5 templates: 2 faults, 1 missing, 0 notes\n",
            folder.display()
        ),
    );
}

/// A table without its columns' widths.
fn squeezed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n");
    lines.collect()
}

/// What the mount or a profile would stumble over is told before, each file once, each reference once.
#[test]
fn a_whole_config_is_judged() {
    let store = store();
    let config = "mounts:\n\
         - {at: m, templates: t, owner: nobody-here, group: none-such, files: {ap.env: {mode: '0440'}, x.json: {template: x.tpl, group: 99}}}\n\
         - {at: m2, templates: t}\n\
         - {at: m3, templates: gone}\n\
         profiles:\n  \
           web: {env: {A: token.valeu, B: 'valt:x', C: api_kye, D: token}, env_files: [p.tpl]}\n\
         secrets: {stripe: 'store:billing#stripe'}\n";
    write(&store, "secretfs.yaml", config);
    write(&store, "t/app.env.tpl", "A=<< secrets.api_kye >>\nB=<< secrets.stripe >>\n");
    write(&store, "x.tpl", "{\"a\": << secrets.token >>}\n");
    write(&store, "p.tpl", "A=<< secrets.api_kye >>\nB=<< secret('envv:HOME') >>\n");
    let output = store.run(&["check"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let folder = store.folder().canonicalize().unwrap();
    let text = squeezed(&output).replace(&format!("{}/", folder.display()), "");
    assert_eq!(
        text,
        "FAULT AT WHAT IS WRONG\n\
         secretfs.yaml:2:32 there is no user `nobody-here`\n\
         secretfs.yaml:2:52 there is no group `none-such`\n\
         secretfs.yaml:2:79 `ap.env` has no template: t/ap.env.tpl is not there; did you mean `app.env`?\n\
         secretfs.yaml:4:23 cannot read gone: No such file or directory\n\
         p.tpl:2:6 there is no provider `envv`; did you mean `env`?\n\
         secretfs.yaml:6:34 there is no provider `valt`; the providers are env, store; the config may name more\n\
         \n\
         MISSING PROVIDER USED AT WHY\n\
         api_kye store p.tpl:1:6 there is no secret `api_kye`; did you mean `api_key`?\n\
         secretfs.yaml:6:47\n\
         t/app.env.tpl:1:6\n\
         stripe store:billing#stripe t/app.env.tpl:2:6 there is no secret `stripe`; `secretfs set stripe` to add it, or `| default(\"…\")` to do without\n\
         token.valeu store secretfs.yaml:6:18 the secret `token` has no field `valeu`; did you mean `value`?\n\
         \n\
         3 templates: 6 faults, 3 missing, 0 notes\n"
    );
    // The control: mended, all of it is well.
    let mended = "mounts:\n- {at: m, templates: t}\nprofiles:\n  web: {env: {A: token.value, B: 'env:HOME', C: api_key}}\n";
    write(&store, "secretfs.yaml", mended);
    write(&store, "t/app.env.tpl", "A=<< secrets.api_key >>\n");
    says(&store.run(&["check"]), 0, "1 template: 0 faults, 0 missing, 0 notes\n");
}

#[test]
fn render_prints_what_a_reader_gets() {
    let store = store();
    write(&store, "a.env.tpl", "A=<< secrets.token >>\n");
    says(&store.run(&["render", "a.env.tpl"]), 0, "A='t'\n");
    says(
        &store.run_with(&["render", "-", "--format", "json"], "[<< secrets.api_key >>]"),
        0,
        "[\"it's \\\"1\\\"\"]",
    );
    let systemd = ["render", "-", "--format", "env", "--dialect", "systemd"];
    says(&store.run_with(&systemd, "A=<< secrets.api_key >>\n"), 0, "A=\"it's \\\"1\\\"\"\n");
    says(&store.run_with(&["render", "-", "--syntax", "jinja"], "{{ secrets.token }}"), 0, "t");
}

#[test]
fn a_render_that_fails_prints_nothing_and_says_why() {
    let store = store();
    for (template, status, says) in [
        ("x\n<< secrets.tokn >>", 66, "secretfs: -:2:4: there is no secret `tokn`\n2 | << secrets.tokn >>\n"),
        ("<< secrets.tokn >>", 66, "  try: did you mean `token`?\n"),
        ("<< secrets.a >> << secrets.b >>", 66, "-:1:20: there is no secret `b`"),
        ("<< secrets.token", 65, "-:1:"),
        ("<% include 'x' %>", 65, "-:1:"),
    ] {
        let output = store.run_with(&["render", "-"], template);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{template}: {stderr}");
        assert!(output.stdout.is_empty() && stderr.contains(says), "{template}: {stderr}");
    }
    for (path, status) in [("nowhere.tpl", 66), (".", 66)] {
        assert_eq!(store.run(&["render", path]).status.code(), Some(status), "{path}");
    }
    let not_text = store.run_with(&["render", "-"], b"\xff");
    assert_eq!(not_text.status.code(), Some(65), "{not_text:?}");
    assert_eq!(store.run(&["render", "-", "--format", "jsn"]).status.code(), Some(64));
}

#[test]
fn what_only_a_daemon_does_is_judged_too() {
    let store = store();
    write(&store, "t/a.env.tpl", "A=<< secrets.token >>\n");
    std::fs::create_dir(store.folder().join("m")).unwrap();
    let config = |program: &str, name: &str| {
        format!(
            "mounts:\n- at: m\n  templates: t\n  files: {{a.env: {{on_change: {{command: [{program}]}}}}}}\nready: [{name}]\n"
        )
    };
    write(&store, "config.yaml", &config("./after", "token.valeu"));
    write(&store, "conf.d/more.yaml", "ready: [api_key, nope]\n");
    let output = store.run(&["--config", "config.yaml", "check"]);
    let said = squeezed(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    for line in [
        "config.yaml:4:40 ./after is no program that can be run",
        "token.valeu store config.yaml:5:9 the secret `token` has no field `valeu`; did you mean `value`?",
        "nope store conf.d/more.yaml:1:18 there is no secret `nope`",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    // A folder may be named, and what is right is.
    write(&store, "config.yaml", &config("/bin/true", "token"));
    write(&store, "conf.d/more.yaml", "ready: [api_key]\n");
    says(&store.run(&["--config", ".", "check"]), 0, "1 template: 0 faults, 0 missing, 0 notes\n");
}

/// As who writes it would find it. Nothing is made.
#[test]
fn the_place_of_the_audit_is_tried() {
    let store = store();
    write(&store, "t/a.env.tpl", "A=<< secrets.api_key >>\n");
    let folder = store.folder().canonicalize().unwrap();
    std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    for (name, mode) in [("open", 0o777), ("own", 0o700)] {
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
    }
    std::fs::write(folder.join("loose.log"), "").unwrap();
    std::fs::set_permissions(folder.join("loose.log"), Permissions::from_mode(0o666)).unwrap();
    symlink("own/there.log", folder.join("link.log")).unwrap();
    for (audit, status, said) in [
        ("{}", 78, "the audit has no place: `file` or `journald`"),
        ("", 78, "expected a map or a list, found nothing"),
        ("{journald: false}", 78, "the audit has no place"),
        ("{file: nowhere/a.log}", 0, "there is no folder"),
        ("{file: link.log}", 78, "a symbolic link, which is not followed"),
        ("{file: loose.log}", 78, "loose.log is open to others: nothing is written to it"),
        ("{file: own}", 78, "own is no regular file"),
        ("{file: open/a.log}", 0, "others than root may write to"),
        ("{file: own/a.log}", 0, "0 faults, 0 missing, 0 notes"),
        ("{file: secretfs.yaml/a.log}", 0, "cannot be written as things are: there is no folder"),
    ] {
        let config = format!("mounts: [{{at: mnt, templates: t}}]\naudit: {audit}\n");
        write(&store, "secretfs.yaml", &config);
        let output = store.run(&["check"]);
        let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        assert_eq!(output.status.code(), Some(status), "{audit}: {text}");
        assert!(text.contains(said), "{audit}: {text}");
    }
    let made = std::fs::read_dir(folder.join("own")).unwrap().count()
        + std::fs::read_dir(folder.join("open")).unwrap().count();
    assert_eq!(made, 0, "nothing is made");
}
