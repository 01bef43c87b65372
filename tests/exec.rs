//! `secretfs exec` through the real binary: what the child gets, what it does not get, and that
//! nothing starts unless everything is there.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use common::{TestStore, stdout_of};

/// The child's environment, as the kernel has it.
const ENVIRON: &[&str] = &["--", "cat", "/proc/self/environ"];

const DB: &str = r#"{"username": "app", "password": "it's"}"#;

fn store() -> TestStore {
    let store = TestStore::new();
    store.set("api_key", "sk_live_1").set("db", DB);
    stdout_of(&store.run_with(&["set", "--from-json", "login"], r#"{"username": "app", "password": "p w"}"#));
    store
}

fn exec(store: &TestStore, args: &[&str], command: &[&str]) -> Output {
    store.run(&[&["exec"], args, command].concat())
}

/// The value of a variable in the child, exactly.
fn variable(output: &Output, name: &str) -> Option<Vec<u8>> {
    let prefix = [name.as_bytes(), b"="].concat();
    let entries = output.stdout.split(|byte| *byte == 0);
    entries.filter_map(|entry| entry.strip_prefix(&prefix[..])).next().map(<[u8]>::to_vec)
}

#[track_caller]
fn refused(output: &Output, status: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(output.stdout.is_empty(), "something started: {}", String::from_utf8_lossy(&output.stdout));
    for word in words {
        assert!(stderr.contains(word), "no `{word}` in: {stderr}");
    }
}

#[test]
fn any_value_arrives_byte_for_byte() {
    let store = TestStore::new();
    let values: &[&[u8]] = &[
        b"",
        b" leading and trailing ",
        b"two\nlines\r\n",
        b"'\"`$HOME ${HOME} $(id) \\ #=;&|<>",
        b"\xff\xfe not UTF-8 \x80",
        "\u{2028}\u{fffe}\u{1f511}".as_bytes(),
        &[b'x'; 100_000],
    ];
    for (number, value) in values.iter().enumerate() {
        let name = format!("value{number}");
        stdout_of(&store.run_with(&["set", &name, "--field", "value=-", "--allow-empty"], value));
        let output = exec(&store, &["--env", &format!("V={name}")], ENVIRON);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(variable(&output, "V").as_deref(), Some(*value), "{name}");
    }
}

#[test]
fn a_reference_is_a_name_or_a_field() {
    let store = store();
    store.set("login.token", "dotted");
    for (reference, value) in [
        ("api_key", "sk_live_1"),
        ("login.password", "p w"),
        ("login#password", "p w"),
        ("store:login#username", "app"),
        ("login.token", "dotted"),
        ("api_key@1", "sk_live_1"),
    ] {
        let output = exec(&store, &["--env", &format!("V={reference}")], ENVIRON);
        assert_eq!(variable(&output, "V"), Some(value.into()), "{reference}");
    }
    refused(&exec(&store, &["--env", "V=stroe:api_key"], ENVIRON), 65, &["no provider `stroe`", "`store`"]);
    let own = store.command(&["exec", "--env", "V=env:OWN", "--", "cat", "/proc/self/environ"]);
    assert_eq!(variable(&{ own }.env("OWN", "mine").output().unwrap(), "V"), Some("mine".into()));
    store.set("login.password", "a name like a field");
    let both = exec(&store, &["--env", "V=login.password"], ENVIRON);
    refused(&both, 64, &["`login#password` or `login.password#value`"]);
}

#[test]
fn an_env_file_is_rendered_and_read_back() {
    let store = store();
    let template = "# comment\nPLAIN=text # trailing\nKEY=<< secrets.api_key >>\n\
                    MIXED=\"user << secrets.login.username >>\"\nDB=<< secrets.db >>\n\
                    QUOTED='$x \"<< secrets.db >>\"'\nESCAPED=\"\\n<< secrets.db >>\"\n";
    std::fs::write(store.folder().join("app.env.tpl"), template).unwrap();
    let output = exec(&store, &["--env-file", "app.env.tpl"], ENVIRON);
    for (name, value) in [
        ("PLAIN", "text"),
        ("KEY", "sk_live_1"),
        ("MIXED", "user app"),
        ("DB", DB),
        ("QUOTED", &format!("$x \"{DB}\"")),
        ("ESCAPED", &format!("\n{DB}")),
    ] {
        assert_eq!(variable(&output, name), Some(value.into()), "{name}: {output:?}");
    }
    let overridden = exec(&store, &["--env-file", "app.env.tpl", "--env", "PLAIN=api_key"], ENVIRON);
    assert_eq!(variable(&overridden, "PLAIN"), Some("sk_live_1".into()));
}

#[test]
fn an_env_file_carries_every_text() {
    let store = TestStore::new();
    let template =
        "BARE=<< secrets.v >>\nSINGLE='a<< secrets.v >>b'\nDOUBLE=\"a\\t<< secrets.v >>b\" # end\nNEXT=1\n";
    std::fs::write(store.folder().join("t.env"), template).unwrap();
    for value in [
        "a b#c",
        "two\nlines",
        "'",
        "\"",
        "$HOME",
        "${X}",
        "\\",
        "`id`",
        "'\"",
        "a=b",
        " x ",
        "\u{2028}\u{fffe}",
        "\r",
        "a\r\nb",
        "",
    ] {
        stdout_of(&store.run_with(&["set", "v", "--field", "value=-", "--allow-empty"], value));
        let output = exec(&store, &["--env-file", "t.env"], ENVIRON);
        assert!(output.status.success(), "{value:?}: {output:?}");
        for (name, expected) in [
            ("BARE", value),
            ("SINGLE", &format!("a{value}b")),
            ("DOUBLE", &format!("a\t{value}b")),
            ("NEXT", "1"),
        ] {
            assert_eq!(variable(&output, name), Some(expected.into()), "{value:?} in {name}");
        }
    }
    for value in [&b"\xff"[..], b"a\0b"] {
        stdout_of(&store.run_with(&["set", "v", "--field", "value=-", "--allow-empty"], value));
        refused(&exec(&store, &["--env-file", "t.env"], ENVIRON), 65, &["t.env:1:"]);
    }
}

#[test]
fn nothing_starts_and_all_that_is_missing_is_named() {
    let store = store();
    std::fs::write(store.folder().join("t.env"), "A=<< secrets.api_kye >>\nB=<< secrets.login.pasword >>\n")
        .unwrap();
    let args =
        ["--env", "C=nothing_like_it", "--env-file", "t.env", "--env", "D=login.pass", "--env", "E=api_key"];
    let output = exec(&store, &args, &["--", "touch", "started"]);
    refused(
        &output,
        66,
        &[
            "nothing was started",
            "C=nothing_like_it: there is no secret `nothing_like_it`",
            "t.env:1:6: there is no secret `api_kye`; did you mean `api_key`?",
            "t.env:2:6: the secret `login` has no field `pasword`; did you mean `password`?",
            "D=login.pass: the secret `login` has no field `pass`",
        ],
    );
    assert!(!store.folder().join("started").exists());
}

#[test]
fn what_has_expired_is_named_like_what_is_missing() {
    let store = store();
    stdout_of(&store.run_with(&["set", "old", "--expires", "1s"], "x"));
    std::fs::write(store.folder().join("t.env"), "A=<< secrets.old >>\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let output = exec(&store, &["--env-file", "t.env", "--env", "B=old", "--env", "C=gone"], ENVIRON);
    refused(
        &output,
        66,
        &["t.env:1:6: ", "B=old: the secret `old`: it has expired", "C=gone: there is no secret"],
    );
}

#[test]
fn the_child_is_this_process() {
    let store = store();
    let child = store.command(&["exec", "--env", "A=api_key", "--", "sh", "-c", "echo $$; exit 7"]);
    let child = { child }.stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), pid.to_string());
    assert_eq!(output.status.code(), Some(7));
    let killed = exec(&store, &[], &["--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(killed.status.signal(), Some(15));
}

#[test]
fn the_child_inherits_no_signal_and_no_descriptor_of_ours() {
    let store = store();
    let script = "grep -E 'Sig(Ign|Blk)' /proc/self/status; ls -1 /proc/self/fd";
    let direct = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output().unwrap();
    let output = exec(&store, &["--env", "A=api_key"], &["--", "sh", "-c", script]);
    assert_eq!(stdout_of(&output), stdout_of(&direct));
}

#[test]
fn our_key_is_not_handed_on() {
    let store = store();
    let key = std::fs::read(store.key_file()).unwrap();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = if key.len() == 32 { hex } else { String::from_utf8(key).unwrap().trim().to_owned() };
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).current_dir(store.folder());
    command.env("SECRETFS_MASTER_KEY", &key).env("SECRETFS_API_TOKEN", "t").env("OTHER", "kept");
    command.arg("--store").arg(store.path()).args(["exec", "--env", "A=api_key"]).args(ENVIRON);
    let output = command.output().unwrap();
    // The key was used: without it there would be no value.
    assert_eq!(variable(&output, "A"), Some("sk_live_1".into()), "{output:?}");
    assert_eq!(variable(&output, "OTHER"), Some("kept".into()));
    for name in ["SECRETFS_MASTER_KEY", "SECRETFS_API_TOKEN"] {
        assert_eq!(variable(&output, name), None, "{name}");
    }
    let forced = exec(&store, &["--env", "SECRETFS_MASTER_KEY=api_key"], ENVIRON);
    refused(&forced, 65, &["belongs to secretfs"]);
}

/// With them a child could read whatever its parent may. The control is the login that names other keys.
#[test]
fn the_keys_that_a_provider_is_asked_with_are_handed_on_by_force_alone() {
    let store = store();
    let key = "AWS_SECRET_ACCESS_KEY";
    let inherited = |auth: &str, options: &[&str]| {
        let config = format!("providers: {{aws: {{type: aws-sm, region: r{auth}}}}}\n");
        std::fs::write(store.folder().join("c.yaml"), config).unwrap();
        let words = [&["--config", "c.yaml", "exec", "--env", "A=api_key"], options, ENVIRON].concat();
        let output = store.command(&words).env(key, "hunter2").output().unwrap();
        assert_eq!(variable(&output, "A"), Some("sk_live_1".into()), "{output:?}");
        variable(&output, key)
    };
    assert_eq!(inherited("", &[]), None);
    assert_eq!(inherited("", &["--force-env", key]), Some("hunter2".into()));
    assert_eq!(inherited(", auth: {profile: app}", &[]), Some("hunter2".into()));
    let asked = ["--config", "c.yaml", "exec", "--env", &format!("A=env:{key}"), "--", "true"];
    std::fs::write(store.folder().join("c.yaml"), "providers: {aws: {type: aws-sm}}\n").unwrap();
    refused(&store.command(&asked).env(key, "hunter2").output().unwrap(), 66, &[key]);
}

#[test]
fn pristine_is_a_clean_slate() {
    let store = store();
    let mut command =
        store.command(&["exec", "--pristine", "--env", "A=api_key", "--", "cat", "/proc/self/environ"]);
    let output = command.env("AWS_SECRET_ACCESS_KEY", "leak").env("TERM", "dumb").output().unwrap();
    assert_eq!(variable(&output, "A"), Some("sk_live_1".into()));
    assert_eq!(variable(&output, "TERM"), Some("dumb".into()));
    assert_eq!(variable(&output, "AWS_SECRET_ACCESS_KEY"), None);
}

#[test]
fn names_that_change_what_runs_need_force() {
    let store = store();
    for name in ["LD_PRELOAD", "PATH", "BASH_ENV", "NODE_OPTIONS"] {
        let injection = format!("{name}=api_key");
        refused(&exec(&store, &["--env", &injection], ENVIRON), 65, &[name, "--force-env"]);
    }
    let forced = exec(&store, &["--env", "BASH_ENV=api_key", "--force-env", "BASH_ENV"], ENVIRON);
    assert_eq!(variable(&forced, "BASH_ENV"), Some("sk_live_1".into()));
}

#[test]
fn what_an_environment_cannot_carry_is_said() {
    let store = TestStore::new();
    stdout_of(&store.run_with(&["set", "nul", "--field", "value=-"], b"a\0b"));
    store.set("long", vec![b'x'; 200_000]).set("big", vec![b'x'; 120_000]);
    refused(&exec(&store, &["--env", "1T=long"], ENVIRON), 65, &["`1T` is not a name"]);
    refused(&exec(&store, &["--env", "V=nul"], ENVIRON), 65, &["`V`", "NUL"]);
    refused(&exec(&store, &["--env", "V=long"], ENVIRON), 65, &["`V`", "200000 bytes"]);
    let many: Vec<String> = (0..60).flat_map(|number| ["--env".into(), format!("V{number}=big")]).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(&exec(&store, &many, ENVIRON), 126, &["too large"]);
}

#[test]
fn a_command_that_cannot_start_is_told_as_a_shell_tells_it() {
    let store = store();
    refused(&exec(&store, &[], &["--", "no-such-command"]), 127, &["command not found"]);
    refused(&exec(&store, &[], &["--", "/etc/passwd"]), 126, &["/etc/passwd"]);
    refused(&exec(&store, &[], &[]), 64, &["COMMAND"]);
    refused(&exec(&store, &["--env", "A"], &["--", "true"]), 64, &["NAME=REFERENCE"]);
    refused(&exec(&store, &["--env", "A=api_key", "--env", "A=api_key"], &["--", "true"]), 64, &["twice"]);
}

#[test]
fn deploy_time_secrets_need_the_word() {
    let store = store();
    std::fs::write(store.folder().join(".env.deploy.tpl"), "A=<< secrets.api_key >>\n").unwrap();
    let file = ["--env-file", ".env.deploy.tpl"];
    refused(&exec(&store, &file, ENVIRON), 77, &["--deploy"]);
    std::fs::write(store.folder().join("p.yaml"), "profiles: {p: {env_files: [.env.deploy.tpl]}}\n").unwrap();
    refused(&exec(&store, &["--config", "p.yaml", "--profile", "p"], ENVIRON), 77, &["--deploy"]);
    let allowed = exec(&store, &[&file[..], &["--deploy"]].concat(), ENVIRON);
    assert_eq!(variable(&allowed, "A"), Some("sk_live_1".into()));
    refused(&exec(&store, &["--namespace", "deploy", "--env", "A=api_key"], ENVIRON), 77, &["deploy"]);
}

#[test]
fn a_profile_of_the_config() {
    let store = store();
    let config = "profiles: {web: {env: {KEY: api_key}, env_files: [web.env.tpl]}}\n";
    std::fs::write(store.folder().join("secretfs.yaml"), config).unwrap();
    std::fs::write(store.folder().join("web.env.tpl"), "USER_NAME=<< secrets.login.username >>\n").unwrap();
    let output = exec(&store, &["--profile", "web"], ENVIRON);
    assert_eq!(variable(&output, "KEY"), Some("sk_live_1".into()), "{output:?}");
    assert_eq!(variable(&output, "USER_NAME"), Some("app".into()));
    let more = ["--profile", "web", "--env-file", "more.env", "--env", "USER_NAME=login.password"];
    std::fs::write(store.folder().join("more.env"), "KEY=from the file\nUSER_NAME=lost\n").unwrap();
    let layered = exec(&store, &more, ENVIRON);
    assert_eq!(variable(&layered, "KEY"), Some("from the file".into()), "{layered:?}");
    assert_eq!(variable(&layered, "USER_NAME"), Some("p w".into()));
    refused(&exec(&store, &["--profile", "wbe"], ENVIRON), 78, &["no profile `wbe`", "--profile web"]);
}

#[test]
fn development_needs_no_store() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secretfs.yaml"), "secrets: {from: env}\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.current_dir(folder.path()).env("DEV_PASSWORD", "from env").env_remove("SECRETFS_STORE");
    let output = command.args(["exec", "--env", "V=DEV_PASSWORD"]).args(ENVIRON).output().unwrap();
    assert_eq!(variable(&output, "V"), Some("from env".into()), "{output:?}");
}
