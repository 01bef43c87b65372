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

/// A socket in place of journald's, from which a line is taken every now and then; and others who
/// send to it as fast as they can.
const STAND_IN: &str = r#"
import os, socket, sys, time
path = "/run/systemd/journal/socket"
if sys.argv[1] == "take":
    taker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    taker.bind(path)
    os.chmod(path, 0o666)
    while True:
        taker.recv(65536)
        time.sleep(0.0002)
os.setuid(65534)
flood = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
flood.setblocking(sys.argv[1] != "hurry")
full = 0
for number in range(2000 if sys.argv[1] == "hurry" else 1 << 40):
    try: flood.sendto(b"MESSAGE=x", path)
    except BlockingIOError: full += 1
print(full)
"#;

#[test]
fn who_fills_the_queue_of_journald_stops_nobody() {
    let store = store("journald: true");
    fs::write(store.folder().join("stand-in.py"), STAND_IN).unwrap();
    let python = tool("python3").display().to_string();
    let script = format!(
        "mkdir -p /run/systemd/journal
        {python} stand-in.py take & taker=$!
        until [ -S /run/systemd/journal/socket ]; do sleep 0.02; done
        {python} stand-in.py flood & one=$!; {python} stand-in.py flood & other=$!
        sleep 0.5; {python} stand-in.py hurry >full
        for i in $(seq 40); do $SECRETFS get db/pw >/dev/null && echo ok || echo refused; done
        $SECRETFS --config secretfs.yaml mount >ready & mounted=$!
        until grep -q ready ready 2>/dev/null; do sleep 0.02; done
        for i in $(seq 40); do cat mnt/f >/dev/null && echo ok || echo refused; done
        kill $mounted; wait $mounted || true
        kill $one $other $taker"
    );
    let output = run(&store, &script);
    let full: u32 = fs::read_to_string(store.folder().join("full")).unwrap().trim().parse().unwrap();
    assert!(full > 100, "the control: who does not wait is refused: {full} of 2000");
    assert_eq!(stdout_of(&output), "ok\n".repeat(80), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_line_with_thousands_of_names_arrives() {
    let store = store("journald: true");
    let name = |number: u32| format!("{}{number:04}", "n".repeat(90));
    let all = 0..2_000;
    let secrets: serde_json::Map<_, _> = all.clone().map(|it| (name(it), "v".into())).collect();
    fs::write(store.folder().join("all.json"), serde_json::to_vec(&secrets).unwrap()).unwrap();
    let template: String = all.map(|it| format!("A{it}=<< secrets.{} >>\n", name(it))).collect();
    fs::write(store.folder().join("all.tpl"), template).unwrap();
    let script = "begin; $SECRETFS import all.json >/dev/null
        $SECRETFS exec --env-file all.tpl -- sh -c 'echo got $A7' || true
        journalctl --sync; journalctl -a -D /run/log/journal -o json SYSLOG_IDENTIFIER=secretfs-audit; end";
    let text = stdout_of(&run(&store, script));
    assert!(text.starts_with("got v\n"), "{}", text.len());
    let lines = entries(&text);
    let is_it = |it: &serde_json::Value| it["SECRETFS_AUDIT"].as_str().is_some_and(|it| it.len() > 212_992);
    assert!(lines.iter().any(is_it), "longer than a datagram can be: {}", lines.len());
}
