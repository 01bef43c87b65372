//! The log in journald: the real one, in a mount namespace with a /run of its own.

use std::fs;
use std::process::{Command, Output};

use crate::common::{TestStore, stdout_of, tool};

const BEGIN: &str = "set -e
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/systemd /run/log/journal
[ -s /etc/machine-id ] || { echo 0123456789abcdef0123456789abcdef >/run/id; mount --bind /run/id /etc/machine-id; }
begin() { /lib/systemd/systemd-journald & journald=$!; until [ -S /run/systemd/journal/socket ]; do sleep 0.02; done; }
end() { kill $journald; wait $journald || true; rm -f /run/systemd/journal/socket; }
show() { journalctl --sync; journalctl -D /run/log/journal -o json SYSLOG_IDENTIFIER=secretfs-audit; }
";

fn run(store: &TestStore, script: &str) -> Output {
    assert!(
        std::path::Path::new("/lib/systemd/systemd-journald").exists(),
        "journald is not installed: systemd"
    );
    let command = store.command(&[]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let mut unshare = Command::new(tool("unshare"));
    unshare.args(["--mount", "--propagation", "private", "timeout", "40", "sh", "-c"]);
    unshare.arg(BEGIN.to_owned() + script).env("SECRETFS", line.join(" ")).current_dir(store.folder());
    unshare.output().unwrap()
}

fn store(audit: &str) -> TestStore {
    let store = TestStore::new();
    store.set("db/pw", "hunter2");
    fs::write(store.folder().join("f.tpl"), "<< secrets[\"db/pw\"] >>\n").unwrap();
    fs::create_dir(store.folder().join("mnt")).unwrap();
    fs::create_dir(store.folder().join("templates")).unwrap();
    fs::write(store.folder().join("templates/f.tpl"), "<< secrets[\"db/pw\"] >>\n").unwrap();
    let config = format!("mounts: [{{at: mnt, templates: templates}}]\naudit: {{{audit}}}\n");
    fs::write(store.folder().join("secretfs.yaml"), config).unwrap();
    store
}

/// Field by field, of each entry.
fn entries(text: &str) -> Vec<serde_json::Value> {
    text.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn journald_has_the_lines_that_the_file_has() {
    let store = store("file: audit.log, journald: true");
    let script = "begin
        $SECRETFS exec --env A=db/pw -- true
        printf x | $SECRETFS set other >/dev/null
        $SECRETFS --config secretfs.yaml mount >ready & mounted=$!
        until grep -q ready ready 2>/dev/null; do sleep 0.02; done
        cat mnt/f >/dev/null
        kill $mounted; wait $mounted || true
        show; end";
    let output = run(&store, script);
    let shown = entries(&stdout_of(&output));
    let lines = fs::read_to_string(store.folder().join("audit.log")).unwrap();
    let own: Vec<&str> = lines.lines().filter(|line| !line.contains("\"log-")).collect();
    let told: Vec<&str> = shown.iter().filter_map(|it| it["SECRETFS_AUDIT"].as_str()).collect();
    assert!(
        own.len() >= 3 && own == told,
        "{own:#?}\n{told:#?}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let message = shown.iter().find(|it| it["SECRETFS_AUDIT"].as_str().unwrap().contains("mnt/f")).unwrap();
    assert!(message["MESSAGE"].as_str().unwrap().starts_with("read real "), "{message}");
    assert!(!lines.contains("hunter2") && !String::from_utf8_lossy(&output.stdout).contains("hunter2"));
}

#[test]
fn one_of_the_two_has_to_take_it() {
    let store = store("file: logs/audit.log, journald: true");
    let exec = "$SECRETFS exec --env A=db/pw -- sh -c 'echo got $A'";
    let script = format!(
        "begin
        mkdir -m 700 logs; {exec}; mv logs logs.gone
        {exec}; {exec}; end
        {exec} || echo refused $?
        mv logs.gone logs; {exec}; begin; show; end"
    );
    let output = run(&store, &script);
    let text = stdout_of(&output);
    let said: Vec<&str> = text.lines().filter(|line| !line.starts_with('{')).collect();
    let got = "got hunter2";
    assert_eq!(said, [got, got, got, "refused 74", got], "{}", String::from_utf8_lossy(&output.stderr));
    let told = entries(&text).iter().filter(|it| it["SECRETFS_AUDIT"].is_string()).count();
    assert_eq!(told, 3, "those whom the file did not take, too: {text}");
}

#[test]
fn without_a_file_journald_has_to_take_it_if_it_is_required() {
    for (required, expected) in [("true", "refused 74\n"), ("false", "got hunter2\n")] {
        let store = store(&format!("journald: true, required: {required}"));
        let output = run(&store, "$SECRETFS exec --env A=db/pw -- sh -c 'echo got $A' || echo refused $?");
        assert_eq!(stdout_of(&output), expected, "{}", String::from_utf8_lossy(&output.stderr));
    }
}
