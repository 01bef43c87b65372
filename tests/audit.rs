//! The audit through the real binary: nothing is given away before it is written down, and what
//! becomes of the log is what decides whether anything is.

mod common;

use std::fs;
use std::process::{Command, Output};

use common::{TestStore, stdout_of, tool};

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
