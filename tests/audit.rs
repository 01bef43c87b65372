//! The audit through the real binary: nothing is given away before it is written down, and what
//! becomes of the log is what decides whether anything is.

mod common;

use std::fs;
use std::os::unix::fs::chown;
use std::process::{Command, Output};

use common::{NAMED, TestStore, stdout_of, tool};

fn store(config: &str) -> TestStore {
    let store = TestStore::new();
    store.set("db/pw", "hunter2");
    fs::write(store.folder().join("secretfs.yaml"), config).unwrap();
    store
}

/// The line of `secretfs` as a shell would take it.
fn line(store: &TestStore, args: &[&str]) -> String {
    let command = store.command(args);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn traced(store: &TestStore, script: &str) -> Vec<String> {
    let trace = store.folder().join("trace");
    let mut command = Command::new(tool("strace"));
    command.args(["-f", "-y", "-s", "64", "-e", "trace=write,writev,execve", "-o"]);
    let output = command.arg(&trace).args(["sh", "-c", script]).current_dir(store.folder()).output().unwrap();
    stdout_of(&output);
    fs::read_to_string(trace).unwrap().lines().map(str::to_owned).collect()
}

/// Whether the log was written to before the command ran that was given a secret.
fn is_written_first(trace: &[String]) -> bool {
    let written = trace.iter().position(|it| it.contains("write(") && it.contains("audit.log>"));
    let given = trace.iter().position(|it| it.contains("execve(\"/bin/true\""));
    written.expect("the log is written") < given.expect("the command runs")
}

#[test]
fn a_command_runs_after_it_is_written_down() {
    let store = store("audit: {file: audit.log}\n");
    let exec = line(&store, &["exec", "--env", "A=db/pw", "--", "/bin/true"]);
    let trace = traced(&store, &exec);
    assert!(is_written_first(&trace), "{trace:#?}");
    let writes = trace.iter().filter(|it| it.contains("write(") && it.contains("audit.log>"));
    assert_eq!(writes.count(), 1, "one write, the first line of the file included: {trace:#?}");
    let late = "A=hunter2 /bin/true; printf 'x\\n' >>audit.log".replace("printf", "/usr/bin/printf");
    assert!(!is_written_first(&traced(&store, &late)), "the control: who writes later is found out");
}

/// In a mount namespace of its own, with a disk of 64 KiB at `logs`.
fn with_disk(store: &TestStore, script: &str) -> Output {
    fs::create_dir_all(store.folder().join("logs")).unwrap();
    let script = format!("mount -t tmpfs -o size=64k,mode=0700 none logs && {script}");
    Command::new(tool("unshare"))
        .args(["--mount", "sh", "-c", &script])
        .current_dir(store.folder())
        .output()
        .unwrap()
}

#[test]
fn nothing_is_given_away_while_the_log_takes_nothing() {
    let store = store("audit: {file: logs/audit.log}\n");
    let exec = line(&store, &["exec", "--env", "A=db/pw", "--", "sh", "-c", "echo got $A"]);
    let get = line(&store, &["get", "db/pw"]);
    for (what, begin, end) in [
        // What is left of the log's last page is used up, too.
        (
            "No space left on device",
            "cat /dev/zero >logs/fill 2>&-; for i in $(seq 16); do GET >&-; done 2>&-",
            "rm logs/fill",
        ),
        ("Read-only file system", "mount -o remount,ro logs", "mount -o remount,rw logs"),
        ("a symbolic link", "mv logs/audit.log logs/x; ln -s x logs/audit.log", "mv logs/x logs/audit.log"),
    ] {
        let begin = begin.replace("GET", &get);
        let script = format!("{exec}; {begin}; {exec}; {get}; {end}; {exec}; true");
        let output = with_disk(&store, &script);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stdout_of(&output), "got hunter2\ngot hunter2\n", "{what}: {stderr}");
        assert_eq!(stderr.matches(what).count(), 2, "{stderr}");
    }
}

#[test]
fn a_store_is_not_changed_while_the_log_takes_nothing() {
    let store = store("audit: {file: nowhere/audit.log}\n");
    for args in [
        &["rm", "--yes", "db/pw"][..],
        &["disable", "db/pw"],
        &["key", "rotate"],
        &["namespace", "create", "x"],
    ] {
        let output = store.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(74) && stderr.contains("nothing was changed"),
            "{args:?}: {stderr}"
        );
    }
    fs::remove_file(store.folder().join("secretfs.yaml")).unwrap();
    assert_eq!(stdout_of(&store.run(&["get", "db/pw"])), "hunter2", "the control: it is as it was");
}

#[test]
fn the_log_outlives_the_keys_of_the_store() {
    let store = store("audit: {file: audit.log}\n");
    let verify = |store: &TestStore| stdout_of(&store.run(&["audit", "verify"]));
    stdout_of(&store.run(&["key", "rotate"]));
    assert!(verify(&store).contains("as they were written"));
    let new = store.folder().join("new.key");
    stdout_of(&store.run(&["key", "rotate", "--master", "--to", new.to_str().unwrap()]));
    fs::rename(new, store.key_file()).unwrap();
    stdout_of(&store.run(&["get", "db/pw"]));
    assert!(verify(&store).starts_with("4 records, as they were written"), "{}", verify(&store));
}

/// The lines of the log, each as its fields.
fn lines(store: &TestStore, query: &[&str]) -> Vec<serde_json::Value> {
    let text = stdout_of(&store.run(&[&["audit", "query", "--json"], query].concat()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_done_with_a_store_as_a_whole_is_written_down() {
    let store = store("audit: {file: audit.log}\n");
    for args in [
        &["backup", "copy"][..],
        &["export", "--manifest"],
        &["restore", "copy", "--to", "again"],
        &["store", "repair", "--to", "mended"],
        &["store", "migrate", "--to", "file"],
        &["get", "db/pw"],
    ] {
        stdout_of(&store.run(args));
    }
    let told = lines(&store, &[]);
    let kinds: Vec<_> = told.iter().skip(1).map(|it| it["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["backup", "export", "restore", "repair", "migrate", "read"]);
    let key = store.key_file().to_string_lossy().into_owned();
    for line in &told[1..] {
        let own = (line["uid"].as_u64(), line["opened"].as_str(), line["outcome"].as_str());
        assert_eq!(own, (Some(0), Some(key.as_str()), Some("ok")), "{line}");
    }
    let copy = store.folder().join("copy").to_string_lossy().into_owned();
    assert_eq!((told[1]["detail"].as_str(), told[3]["detail"].as_str()), (Some(&*copy), Some(&*copy)));
    assert!(stdout_of(&store.run(&["audit", "verify"])).contains("as they were written"));
    let text = fs::read_to_string(store.folder().join("audit.log")).unwrap();
    assert!(!text.contains("hunter2"));
}

#[test]
fn a_new_store_has_its_beginning_in_the_log() {
    let store = store("store: ./new\naudit: {file: new.log}\n");
    let mut init = Command::new(store.command(&[]).get_program());
    init.args(["--key-file", "new.key", "init"]).current_dir(store.folder()).env("HOME", store.folder());
    stdout_of(&init.output().unwrap());
    let text = fs::read_to_string(store.folder().join("new.log")).unwrap();
    assert!(text.lines().nth(1).is_some_and(|line| line.contains("\"event\":\"init\"")), "{text}");
}

#[test]
fn nothing_is_copied_out_of_a_store_while_the_log_takes_nothing() {
    let store = store("audit: {file: nowhere/audit.log}\n");
    for args in [
        &["backup", "copy"][..],
        &["export", "--manifest"],
        &["store", "repair", "--to", "mended"],
        &["store", "migrate", "--to", "file"],
    ] {
        let output = store.run(args);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(74), 0), "{args:?}: {output:?}");
    }
    for path in ["copy", "mended"] {
        assert!(!store.folder().join(path).exists(), "{path}");
    }
    fs::remove_file(store.folder().join("secretfs.yaml")).unwrap();
    stdout_of(&store.run(&["backup", "copy"]));
}

/// Which key has opened the store for it, and never the key.
#[test]
fn the_line_says_where_the_key_came_from() {
    let store = store("audit: {file: audit.log}\n");
    let key = fs::read_to_string(store.key_file()).unwrap();
    for args in [&["get", "db/pw"][..], &["exec", "--env", "A=db/pw", "--", "true"], &["disable", "db/pw"]] {
        let mut command = Command::new(store.command(&[]).get_program());
        command.arg("--store").arg(store.path()).args(args).env("SECRETFS_MASTER_KEY", key.trim());
        stdout_of(&command.current_dir(store.folder()).env("HOME", store.folder()).output().unwrap());
        let line = lines(&store, &[]).pop().unwrap();
        assert_eq!(line["opened"], "SECRETFS_MASTER_KEY", "{line}");
    }
    stdout_of(&store.run(&["enable", "db/pw"]));
    let line = lines(&store, &[]).pop().unwrap();
    assert_eq!(line["opened"], store.key_file().to_str().unwrap(), "the control: {line}");
    let text = fs::read_to_string(store.folder().join("audit.log")).unwrap();
    assert!(!text.contains(key.trim()));
}

#[test]
fn the_log_is_asked_by_all_that_a_line_says() {
    let store = store("audit: {file: audit.log}\n");
    store.set("web/key", "x");
    let since =
        stdout_of(&Command::new(tool("date")).args(["-u", "+%Y-%m-%dT%H:%M:%S.%NZ"]).output().unwrap());
    stdout_of(&store.run(&["get", "db/pw"]));
    stdout_of(&store.run(&["exec", "--env", "A=web/key", "--", "true"]));
    assert!(!store.run(&["exec", "--env", "A=nothing", "--", "true"]).status.success());
    let count = |query: &[&str]| lines(&store, query).len();
    let all = count(&[]);
    assert_eq!(all, 5, "a file begins, a secret is made, and three are read");
    for (query, expected) in [
        (&["--secret", "db/*"][..], 1),
        (&["--secret", "web/key"], 2),
        (&["--secret", "web/key", "--event", "read"], 1),
        (&["--secret", "other"], 0),
        (&["--event", "read"], 3),
        (&["--verdict", "real"], 3),
        (&["--uid", "0"], all),
        (&["--user", "root"], all),
        (&["--uid", "1"], 0),
        (&["--user", "daemon"], 0),
        (&["--door", "exec"], 2),
        (&["--door", "command"], 1),
        (&["--exe", "*/secretfs"], all - 1),
        (&["--exe", "secretfs"], all - 1),
        (&["--exe", "ecretfs"], 0),
        (&["--exe", "/bin/false"], 0),
        (&["--exe", "true"], 2),
        (&["--since", since.trim()], 3),
        (&["--until", since.trim()], 2),
        (&["--since", "1h"], all),
    ] {
        assert_eq!(count(query), expected, "{query:?}");
    }
}

/// What is used by a command, handed to somebody or put where others can use it.
#[test]
fn what_takes_values_or_keys_elsewhere_is_written_down_first() {
    let store = TestStore::new();
    store.set("db/pw", "hunter2");
    stdout_of(&store.run(&["namespace", "create", "team"]));
    stdout_of(&store.run_with(&["set", "x", "--namespace", "team"], "hunter3"));
    let own = store.folder().join("own");
    fs::create_dir(&own).unwrap();
    chown(&own, Some(NAMED), Some(NAMED)).unwrap();
    let (to, at, key) = (NAMED.to_string(), own.join("s"), own.join("k"));
    let hand = [
        "namespace",
        "hand",
        "team",
        "--to",
        &to,
        "--at",
        at.to_str().unwrap(),
        "--key-at",
        key.to_str().unwrap(),
    ];
    let load = ["key", "load", "--keyring", "session"];
    let config =
        |log: &str| fs::write(store.folder().join("secretfs.yaml"), format!("audit: {{file: {log}}}\n"));
    config("nowhere/audit.log").unwrap();
    let telling = [&["list"][..], &["show", "db/pw"], &["versions", "db/pw"]];
    for args in [&["test", "db/pw"][..], &hand, &load].into_iter().chain(telling) {
        assert_eq!(store.run(args).status.code(), Some(74), "{args:?}");
    }
    assert!(!at.exists() && stdout_of(&store.run(&["key", "unload"])).starts_with("none"));
    config("audit.log").unwrap();
    store.run(&["test", "db/pw"]);
    for args in [&hand[..], &load, &["key", "unload"]] {
        stdout_of(&store.run(args));
    }
    let told = lines(&store, &[]);
    let told =
        told.iter().map(|it| (it["event"].as_str().unwrap(), it["detail"].as_str().unwrap_or_default()));
    let told: Vec<_> = told.filter(|(_, detail)| !detail.is_empty()).skip(1).collect();
    let handed = format!("namespace team is handed to {}", user_of(NAMED));
    assert_eq!(
        told,
        [
            ("read", "tried where it is for"),
            ("export", handed.as_str()),
            ("key", "loaded into the keyring session")
        ]
    );
}

fn user_of(uid: u32) -> String {
    nix::unistd::User::from_uid(uid.into()).unwrap().unwrap().name
}
