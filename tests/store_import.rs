//! `secretfs import`: what is in files, in the environment or in another store comes in as it was,
//! all of it or nothing, and what is for deployments stays out of workloads.

mod common;

use std::fs;
use std::process::{Command, Output};

use common::{TestMount, TestStore, long, stdout_of, tool, tools};
use serde_json::{Value, json};

const BACKENDS: [&str; 2] = ["sqlite", "file"];

#[track_caller]
fn fails(output: &Output, status: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "no `{word}` in: {stderr}");
    }
}

fn json_of(store: &TestStore, args: &[&str]) -> Value {
    serde_json::from_str(&stdout_of(&store.run(&[&["--json"], args].concat()))).expect("JSON")
}

fn names(store: &TestStore) -> Vec<String> {
    let all = json_of(store, &["list"]);
    all.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

fn write(store: &TestStore, name: &str, text: impl AsRef<[u8]>) {
    fs::write(store.folder().join(name), text).unwrap();
}

/// What a reader that many programs use makes of the same file.
#[test]
fn an_env_file_comes_in_as_its_readers_read_it() {
    let text = "# comment\nPLAIN=a=b\nexport EXPORTED=x\nEMPTY=\nTRAILING=y # comment\nSINGLE='$HOME \\n #'\n\
                DOUBLE=\"a\\\"b\\\\c\\nd\"\nPEM=\"-----BEGIN-----\nabc\n-----END-----\n\"\nLAST=\"'\"";
    let expected: Vec<(String, String)> =
        dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().expect("dotenvy reads it");
    assert_eq!(expected.len(), 8);
    let store = TestStore::new();
    for form in [text.to_owned(), format!("\u{feff}{text}\n"), text.replace("\n#", "\r\n#")] {
        write(&store, "app.env", &form);
        stdout_of(&store.run(&["import", "app.env", "--new-version"]));
        for (name, value) in &expected {
            assert_eq!(stdout_of(&store.run(&["get", name])), *value, "{name}");
        }
    }
    // Lines that end as on Windows: within quotes the ends are the value's.
    write(&store, "crlf.env", "A=x\r\nB='y'\r\nC=\"z\" # c\r\n");
    stdout_of(&store.run(&["import", "crlf.env"]));
    assert_eq!(["A", "B", "C"].map(|name| stdout_of(&store.run(&["get", name]))), ["x", "y", "z"]);
}

#[test]
fn json_and_yaml_say_the_same() {
    let yaml = "plain: v\ndb:\n  url: |\n    two\n    lines\n  user: &u app\n  again: *u\n\
                git:\n  type: basic-auth\n  fields: {username: u, password: \"p\\u0041\"}\n  label: github\n\
                \x20 tags: [ci, x]\n  description: for CI\n  owner: ops\n  expires: 2999-01-01\n";
    let json = json!({"plain": "v", "db": {"url": "two\nlines\n", "user": "app", "again": "app"}, "git": {
        "type": "basic-auth", "fields": {"username": "u", "password": "pA"}, "label": "github",
        "tags": ["ci", "x"], "description": "for CI", "owner": "ops", "expires": "2999-01-01"}});
    let store = TestStore::new();
    write(&store, "a.yaml", yaml);
    write(&store, "a.json", json.to_string());
    stdout_of(&store.run(&["import", "a.yaml", "--prefix", "y/"]));
    stdout_of(&store.run(&["import", "a.json"]));
    for name in ["plain", "db/url", "db/user", "db/again", "git.username", "git.password"] {
        let of = |name: &str| stdout_of(&store.run(&["get", name]));
        assert_eq!(of(name), of(&format!("y/{name}")), "{name}");
    }
    assert_eq!(stdout_of(&store.run(&["get", "db/url"])), "two\nlines\n");
    let shown = json_of(&store, &["show", "git"]);
    assert_eq!(
        (&shown["type"], &shown["label"], &shown["owner"]),
        (&"basic-auth".into(), &"github".into(), &"ops".into())
    );
    assert_eq!(
        (&shown["tags"], &shown["expires_at"]),
        (&json!(["ci", "x"]), &"2999-01-01T00:00:00.000Z".into())
    );
    // An object of a type's fields is a secret of it only if the type is named.
    write(&store, "b.json", r#"{"reg": {"username": "u", "password": "p"}, "token": "t"}"#);
    stdout_of(&store.run(&["import", "b.json", "--prefix", "as/", "--only", "reg", "--type", "basic-auth"]));
    assert_eq!(stdout_of(&store.run(&["get", "as/reg.password"])), "p");
    stdout_of(&store.run(&["import", "b.json", "--prefix", "plain/"]));
    assert_eq!(stdout_of(&store.run(&["get", "plain/reg/password"])), "p");
    fails(
        &store.run(&["import", "b.json", "--type", "basic-auth"]),
        65,
        &["b.json:1", "`token`", "basic-auth"],
    );
}

/// One line that is wrong, and nothing of the rest is there: on both backends.
#[test]
fn it_is_all_or_nothing_and_says_where() {
    for backend in BACKENDS {
        let store = TestStore::on(backend);
        let good = "A=1\nB=2\n";
        for (name, bad, words) in [
            ("a.env", "C=1\nC=2\n", "a.env:4"),
            ("a.env", "C=$X\n", "a.env:3"),
            ("a.env", "a/../b=1\n", "a.env:3"),
            ("a.env", &format!("{}=1\n", "x".repeat(129)), "a.env:3"),
            ("a.env", &format!("BIG={}\n", "x".repeat((1 << 20) + 1)), "a.env:3"),
        ] {
            write(&store, name, format!("{good}{bad}"));
            fails(&store.run(&["import", name]), 65, &[words]);
            assert_eq!(names(&store), Vec::<String>::new(), "{bad:.20}");
        }
        write(&store, "b.json", "{\"A\": \"1\",\n\"b\": {\"c\":\n3}}");
        fails(&store.run(&["import", "b.json"]), 65, &["b.json:2: secret `b/c`"]);
        write(&store, "t.yaml", "A: x\nu:\n  type: connection-string\n  fields: {url: 31337canary}\n");
        let output = store.run(&["import", "t.yaml"]);
        fails(&output, 65, &["t.yaml:2: secret `u`: its field `url` is no URL"]);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("31337"));
        write(&store, "twice.json", "{\"A\": {\"b\": \"1\"},\n\"A\": {\"c\": \"2\"}}");
        fails(&store.run(&["import", "twice.json"]), 65, &["twice.json:2", "`A`: it is given twice"]);
        // One of two files.
        write(&store, "good.env", good);
        write(&store, "more.env", "A=3\n");
        fails(&store.run(&["import", "good.env", "more.env"]), 65, &["more.env:1", "first at good.env:1"]);
        assert_eq!(names(&store), Vec::<String>::new());
        // The control: nothing is wrong with the rest.
        stdout_of(&store.run(&["import", "good.env"]));
        assert_eq!(names(&store), ["A", "B"]);
        assert_eq!(json_of(&store, &["store", "verify"])["secrets"], 2);
    }
}

/// The control is the same file as sops decrypts it.
#[test]
fn what_sops_has_encrypted_is_not_taken_for_values() {
    let store = TestStore::new();
    for (name, text) in [("a.env", "A=one\n"), ("a.json", "{\"A\": \"one\"}"), ("a.yaml", "A: one\n")] {
        write(&store, name, text);
        let run = |command: &mut Command| stdout_of(&command.current_dir(store.folder()).output().unwrap());
        let key = store.folder().join(format!("{name}.key"));
        run(Command::new(tool("age-keygen")).arg("-o").arg(&key));
        let recipient = run(Command::new(tool("age-keygen")).arg("-y").arg(&key));
        let sops = || {
            let mut sops = Command::new(tools("bin/sops"));
            sops.env("SOPS_AGE_KEY_FILE", &key);
            sops
        };
        run(sops().args(["encrypt", "-i", "--age", recipient.trim(), name]));
        fails(
            &store.run(&["import", name]),
            65,
            &["is encrypted by sops", "sops decrypt FILE | secretfs import"],
        );
        assert!(names(&store).is_empty());
        run(sops().args(["decrypt", "-i", name]));
        stdout_of(&store.run(&["import", name]));
        assert_eq!(stdout_of(&store.run(&["get", "A"])), "one");
        stdout_of(&store.run(&["rm", "A", "--yes"]));
    }
}

#[test]
fn what_is_there_is_left_replaced_or_followed() {
    for backend in BACKENDS {
        let store = TestStore::on(backend);
        store.set("A", "1").set("A", "2").set("SAME", "s");
        let before = json_of(&store, &["list"]);
        write(&store, "a.env", "A=3\nSAME=s\nNEW=n\n");
        fails(&store.run(&["import", "a.env"]), 65, &["  A\n", "--skip, --overwrite or --new-version"]);
        let dry = store.run(&["--json", "import", "a.env", "--dry-run", "--new-version"]);
        let outcomes: Value = serde_json::from_str(&stdout_of(&dry)).unwrap();
        let outcomes: Vec<_> = outcomes.as_array().unwrap().iter().map(|it| it["outcome"].clone()).collect();
        assert_eq!(outcomes, ["new-version", "same", "new"]);
        assert_eq!(json_of(&store, &["list"]), before, "refused, or dry");
        stdout_of(&store.run(&["import", "a.env", "--skip"]));
        let value = |name: &str| stdout_of(&store.run(&["get", name]));
        assert_eq!((value("A"), value("NEW")), ("2".into(), "n".into()));
        stdout_of(&store.run(&["import", "a.env", "--new-version"]));
        assert_eq!((value("A"), value("A@1"), value("A@2")), ("3".into(), "1".into(), "2".into()));
        assert_eq!(json_of(&store, &["versions", "SAME"]).as_array().unwrap().len(), 1);
        write(&store, "a.env", "A=4\n");
        stdout_of(&store.run(&["import", "a.env", "--overwrite"]));
        assert_eq!((value("A"), value("A@4")), ("4".into(), "4".into()));
        // A pinned number never comes to mean another value.
        assert_eq!(json_of(&store, &["versions", "A"]).as_array().unwrap().len(), 1);
        assert!(!store.run(&["get", "A@1"]).status.success());
    }
}

#[test]
fn the_environment_comes_in_by_its_prefix() {
    let store = TestStore::new();
    let import = |args: &[&str]| {
        let mut command = store.command(args);
        command.env("APP_A", "1").env("APP_B", "two\nlines").env("OTHER", "31337").output().unwrap()
    };
    let told = stdout_of(&import(&["import", "--from-env", "APP_"]));
    assert_eq!(told, "APP_A: version 1\nAPP_B: version 1\n2 imported\n");
    stdout_of(&import(&["import", "--from-env", "APP_", "--strip", "--prefix", "web/", "--only", "B"]));
    assert_eq!(names(&store), ["APP_A", "APP_B", "web/B"]);
    assert_eq!(stdout_of(&store.run(&["get", "web/B"])), "two\nlines");
    fails(&import(&["import", "--from-env", "NOBODY_"]), 65, &["nothing to import"]);
}

#[test]
fn another_store_comes_in_with_what_is_known_of_its_secrets() {
    for (from, to) in [("sqlite", "file"), ("file", "sqlite")] {
        let (old, new) = (TestStore::on(from), TestStore::on(to));
        let basic = json!({"username": "u", "password": "p"}).to_string();
        let set = ["set", "git", "--from-json", "--type", "basic-auth", "--label", "github", "--tag", "ci"];
        for _ in 0..2 {
            stdout_of(&old.run_with(&[&set[..], &["--expires", "2999-01-01"]].concat(), &basic));
        }
        old.set("off", "x");
        stdout_of(&old.run(&["disable", "off"]));
        let (dir, key) = (old.path(), old.key_file());
        let import = ["import", "--from-store", dir.to_str().unwrap()];
        let own_key = new.key_file();
        let wrong = [&import[..], &["--from-key-file", own_key.to_str().unwrap()]].concat();
        fails(&new.run(&wrong), 77, &["no key fits it", "--from-key-file"]);
        let right = [&import[..], &["--from-key-file", key.to_str().unwrap()]].concat();
        assert_eq!(stdout_of(&new.run(&right)), "git: version 1\noff: version 1\n2 imported\n");
        assert_eq!(stdout_of(&new.run(&right)), "0 imported, 2 the same\n");
        let known = |store: &TestStore, name: &str| {
            let all = json_of(store, &["show", name]);
            ["type", "label", "owner", "tags", "expires_at", "disabled", "fields"].map(|key| all[key].clone())
        };
        for name in ["git", "off"] {
            assert_eq!(known(&old, name), known(&new, name), "{name}");
        }
        assert_eq!(stdout_of(&new.run(&["get", "git.password"])), "p");
        assert!(!new.run(&["get", "off"]).status.success());
        stdout_of(&new.run(&["enable", "off"]));
        assert_eq!(stdout_of(&new.run(&["get", "off"])), "x");
        let elsewhere = [&right[..], &["--from-namespace", "nowhere"]].concat();
        fails(&new.run(&elsewhere), 66, &["there is no namespace `nowhere`"]);
    }
}

/// A file for deployments is taken only if that is meant, goes where no workload is served from,
/// and every door refuses that place. The control asks the same doors for another namespace.
#[test]
fn deploy_time_secrets_stay_out_of_workloads() {
    let test = TestMount::new().template("app.env.tpl", "A=<< secrets.TOKEN >>\n");
    let store = test.store();
    write(store, ".env.deploy", "TOKEN=31337\n");
    write(store, ".env.deploy.prod", "TOKEN=31337\n");
    write(store, ".env.secrets", "RUNTIME=r\n");
    for file in [".env.deploy", ".env.deploy.prod"] {
        fails(&store.run(&["import", file]), 77, &[file, "for deployments", "--deploy"]);
    }
    assert_eq!(names(store), Vec::<String>::new());
    stdout_of(&store.run(&["import", ".env.deploy", "--deploy"]));
    stdout_of(&store.run(&["import", ".env.secrets"]));
    assert_eq!(names(store), ["RUNTIME"]);
    write(store, "d.yaml", "mounts: [{at: mnt, templates: templates}]\n");
    write(store, "t.env.tpl", "A=<< secrets.TOKEN >>\n");
    fs::create_dir_all(store.folder().join("mnt")).unwrap();
    let doors: [&[&str]; 4] = [
        &["mount", "templates", "mnt", "--", "cat", "mnt/app.env"],
        &["exec", "--env", "A=TOKEN", "--", "env"],
        &["--config", "d.yaml", "daemon"],
        &["render", "t.env.tpl"],
    ];
    for door in doors {
        let output = store.run(&[&["--namespace", "deploy"], door].concat());
        fails(&output, 77, &["the namespace `deploy` is for deployments"]);
        assert!(!String::from_utf8_lossy(&output.stdout).contains("31337"), "{door:?}");
    }
    stdout_of(&store.run(&[
        "--namespace",
        "other",
        "import",
        "--from-store",
        "store",
        "--from-namespace",
        "deploy",
        "--from-key-file",
        "master.key",
    ]));
    for door in [doors[0], doors[1], doors[3]] {
        let output = store.run(&[&["--namespace", "other"], door].concat());
        assert!(stdout_of(&output).contains("31337"), "{door:?}");
    }
    let deploys = ["--namespace", "deploy", "exec", "--deploy", "--env", "A=TOKEN", "--", "env"];
    assert!(stdout_of(&store.run(&deploys)).contains("A=31337"));
    // A mount of the namespace that is the default has nothing of it.
    let mounted = test.start();
    assert_eq!(mounted.errno("app.env"), nix::errno::Errno::ENOKEY as i32);
}

/// 100,000 names are one transaction, in memory and time that nobody minds.
#[test]
fn a_hundred_thousand_names_come_in_at_once() {
    let count = if long() { 100_000 } else { 2_000 };
    for backend in BACKENDS {
        let store = TestStore::on(backend);
        let line = |number: usize| format!("SECRET_{number}=\"value number {number} {}\"\n", "x".repeat(40));
        write(&store, "many.env", (0..count).map(line).collect::<String>());
        let start = std::time::Instant::now();
        let told = stdout_of(&store.run(&["import", "many.env"]));
        println!("{backend}: {count} names in {:?}", start.elapsed());
        assert_eq!(told.lines().last(), Some(format!("{count} imported").as_str()));
        assert!(stdout_of(&store.run(&["get", "SECRET_1999"])).starts_with("value number 1999 "));
        assert_eq!(names(&store).len(), count);
    }
}
