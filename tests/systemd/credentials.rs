//! `LoadCredential=NAME:/run/secretfs/credentials.sock`, asked by a real systemd on behalf of units:
//! who gets what, who does not, and what becomes of who waits while the daemon dies.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::app::{App, PASSWORD, UNIT, complaints};
use super::common::{Transcript, stdout_of, tool, tools};

const SOCKET: &str = "/run/secretfs/credentials.sock";
/// The page whose config and unit these tests run.
const PAGE: &str = include_str!("../../docs/credentials.md");

/// An app whose config goes on with this, and units that ask for these credentials.
fn app(config: &str, units: &[(&str, &str)]) -> App {
    app_as(UNIT, config, units)
}

fn app_as(unit: &str, config: &str, units: &[(&str, &str)]) -> App {
    let mut app = App::new(unit);
    let path = app.machine.folder().join("config.yaml");
    let mut file = OpenOptions::new().append(true).open(path).expect("the config");
    file.write_all(config.as_bytes()).expect("more of it");
    for (unit, credential) in units {
        let text = asking_unit(&app.machine.folder().display().to_string(), unit, credential);
        app.machine = app.machine.unit(&format!("{unit}.service"), &text);
    }
    app
}

/// Prints its credential, in brackets: an empty one would be seen.
fn asking_unit(folder: &str, unit: &str, credential: &str) -> String {
    format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nUser=app\n\
         LoadCredential={credential}:{SOCKET}\nStandardOutput=append:{folder}/{unit}.output\n\
         ExecStart=/bin/sh -c 'printf \"[\"; cat \"$$CREDENTIALS_DIRECTORY/{credential}\"; printf \"]\"'\n"
    )
}

/// What the daemon has said on credentials.
fn refusals(app: &App) -> Vec<String> {
    complaints(app).into_iter().filter(|line| line.contains("credential_refused")).collect()
}

#[track_caller]
fn expect_refusal(app: &App, words: &str) {
    let said = refusals(app);
    assert!(said.iter().any(|line| line.contains(words)), "{words}: {said:#?}");
}

fn boot(app: &App, script: &str) -> Transcript {
    let transcript =
        app.boot(&format!("systemctl start secretfs.service\n{script}\nsystemctl stop secretfs.service"));
    transcript.expect_success();
    transcript
}

#[test]
fn a_unit_gets_what_the_config_has_under_the_name_that_it_asks_for() {
    let config = "credentials:\n  names:\n    password: db.password\n    db.user: db#username\n";
    let app = app(config, &[("web", "password"), ("other", "db.user")]);
    boot(
        &app,
        "systemctl start web.service other.service
         stat --format '%F %U %a' /run/secretfs/credentials.sock
         systemctl restart secretfs.service
         systemctl restart web.service",
    );
    assert_eq!(app.machine.output_of("web"), format!("[{PASSWORD}]").repeat(2));
    assert_eq!(app.machine.output_of("other"), "[app]");
    assert_eq!(refusals(&app), Vec::<String>::new());
}

/// The first block of this language on the page.
fn on_page(language: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("```{language}\n")).expect("a block");
    rest.split_once("```").expect("its end").0
}

/// A secret of a provider's own, as systemd gives it to our unit: with it a document of sops' is opened, and without
/// it nobody opens it.
#[test]
fn a_provider_is_asked_with_a_credential_of_our_unit() {
    let unit = UNIT.replace("[Service]\n", "[Service]\nLoadCredential=age-identity:/run/age-identity\n");
    assert_ne!(unit, UNIT);
    for (unit, is_given) in [(&*unit, true), (UNIT, false)] {
        let mut app = app_as(unit, "", &[]);
        let folder = app.machine.folder().to_owned();
        let sealed = encrypted(&folder);
        let config = format!(
            "providers:\n  sealed: {{type: file, path: {sealed}, age: {{identity: 'credential:age-identity'}}}}\n"
        );
        let text = fs::read_to_string(folder.join("config.yaml")).unwrap() + &config;
        fs::write(folder.join("config.yaml"), text).unwrap();
        let template = app.store.folder().join("templates/sealed.tpl");
        fs::write(template, "<< secret('sealed:db#password') >>\n").unwrap();
        app.machine = app.machine.reader("sealed", "app", "cat /run/secretfs/app/sealed");
        let start =
            if is_given { "systemctl start sealed.service" } else { "fails systemctl start sealed.service" };
        let folder = folder.display();
        let transcript = app.boot(&format!(
            "install -m 0400 {folder}/identity /run/age-identity
             systemctl start secretfs.service\n{start}\nsystemctl stop secretfs.service"
        ));
        transcript.expect_success();
        let said = complaints(&app).join("\n");
        match is_given {
            true => assert_eq!(app.machine.output_of("sealed"), "hunter2\n"),
            false => assert!(said.contains("the unit needs LoadCredential=age-identity:"), "{said}"),
        }
        assert!(!said.contains("hunter2") && !said.contains("AGE-SECRET-KEY"), "{said}");
    }
}

/// A document of sops', whose identity is beside it.
fn encrypted(folder: &Path) -> String {
    let run = |command: &mut Command| {
        let done = command.current_dir(folder).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        stdout_of(&done)
    };
    run(Command::new(tool("age-keygen")).args(["-o", "identity"]));
    let recipient = run(Command::new(tool("age-keygen")).args(["-y", "identity"]));
    fs::write(folder.join("sealed.json"), r#"{"db": {"password": "hunter2"}}"#).unwrap();
    run(Command::new(tools("bin/sops")).args(["encrypt", "-i", "--age", recipient.trim(), "sealed.json"]));
    folder.join("sealed.json").display().to_string()
}

/// What the page shows: a rule names one unit, by the control group and not by the word of who asks.
#[test]
fn a_rule_gives_a_credential_to_one_unit() {
    let units = [("web", "db.password"), ("other", "db.password"), ("typo", "db.pasword")];
    let mut app = app(on_page("yaml"), &units);
    assert!(on_page("ini").contains(&format!("LoadCredential=db.password:{SOCKET}\n")), "what the units say");
    let folder = app.machine.folder().display().to_string();
    app.machine = app.machine.unit("impostor.service", &impostor(&folder, &["web.service 0"]));
    boot(
        &app,
        "systemctl start web.service
         fails systemctl start other.service
         fails systemctl start typo.service
         systemctl start impostor.service",
    );
    assert_eq!(app.machine.output_of("web"), format!("[{PASSWORD}]"));
    assert_eq!([app.machine.output_of("other"), app.machine.output_of("typo")], ["", ""]);
    let said: Vec<_> =
        refusals(&app).iter().map(|line| untimed(line).replace(&(folder.clone() + "/"), "")).collect();
    assert_eq!(said.join("\n"), on_page("text").trim_end());
}

/// Without its time.
fn untimed(line: &str) -> String {
    line.split_once("Z  ").map_or(line, |(_, rest)| rest).to_owned()
}

/// A rule on the secret holds here, too, and can name the door and the credential.
#[test]
fn rules_on_secrets_hold_for_credentials() {
    let config = "credentials: {names: {user: db.username, password: db.password}}\n\
                  policy:\n  - secrets: db\n    files: user\n    deny: {door: systemd}\n\
                  \x20 - secrets: db\n    deny: {door: exec}\n";
    let app = app(config, &[("web", "password"), ("third", "user")]);
    boot(&app, "systemctl start web.service\nfails systemctl start third.service");
    assert_eq!(app.machine.output_of("web"), format!("[{PASSWORD}]"));
    expect_refusal(&app, "denied by the rule at");
}

#[test]
fn what_is_not_there_fails_the_start_of_the_unit_and_the_log_says_what_to_do() {
    let config = "credentials:\n  names:\n    password: db.passwort\n    token: nothing\n";
    let app = app(config, &[("field", "password"), ("secret", "token"), ("name", "pasword")]);
    let transcript = boot(
        &app,
        "fails systemctl start field.service
         fails systemctl start secret.service
         fails systemctl start name.service
         systemctl show --property ExecMainStatus name.service",
    );
    assert!(transcript.output.contains("ExecMainStatus=243"), "{}", transcript.output);
    for unit in ["field", "secret", "name"] {
        assert_eq!(app.machine.output_of(unit), "", "{unit}");
    }
    for words in ["there is no secret `nothing`", "no field `passwort`", "did you mean `password`?"] {
        expect_refusal(&app, words);
    }
}

/// Everybody can take the address of a unit's credential. Each line: who, and what came back.
const IMPOSTOR: &str = r#"
import os, socket, sys, time
unit, uid, out = sys.argv[1], int(sys.argv[2]), open(sys.argv[3], "a")
if uid: os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
asked = socket.socket(socket.AF_UNIX)
if unit != "-": asked.bind("\0f4b4692a71d9438e/unit/%s/db.password" % unit)
try:
    asked.connect("/run/secretfs/credentials.sock")
    time.sleep(float(os.environ.get("READS_AFTER", "0")))
    got = b""
    while part := asked.recv(65536): got += part
    told = "too much" if len(got) > 1 << 20 else len(got) if len(got) > 99 else got.decode()
except OSError as error:
    told = error.strerror
print(unit, uid, told, file=out)
"#;

/// A unit that asks as these, and writes what came back to `told.output`.
fn impostor(folder: &str, asked: &[&str]) -> String {
    fs::write(format!("{folder}/impostor.py"), IMPOSTOR).expect("a program");
    let ask = |who: &&str| format!("/usr/bin/env python3 {folder}/impostor.py {who} {folder}/told.output; ");
    let asks: String = asked.iter().map(ask).collect();
    format!("[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/sh -c '{asks}'\n")
}

#[test]
fn nobody_else_gets_a_unit_s_credential() {
    let config = "credentials:\n  names:\n    db.password: db.password\n";
    let mut app = app(config, &[("web", "db.password")]);
    let folder = app.machine.folder().display().to_string();
    let asked = ["web.service 0", "- 0", "impostor.service 1001"];
    app.machine = app.machine.unit("impostor.service", &impostor(&folder, &asked));
    boot(&app, "systemctl start web.service impostor.service");
    assert_eq!(app.machine.output_of("web"), format!("[{PASSWORD}]"), "the control: the unit itself");
    let told = app.machine.output_of("told");
    assert_eq!(told, "web.service 0 \n- 0 \nimpostor.service 1001 Permission denied\n");
    expect_refusal(&app, "asked for as web.service by a process of impostor.service");
    expect_refusal(&app, "says neither unit nor credential");
}

/// A frozen unit, a machine that swaps: an end before the end would be a value cut off, or a refusal
/// short enough to be taken for a value.
#[test]
fn who_reads_late_gets_the_whole_answer() {
    let config = "credentials:\n  names:\n    db.password: {secret: long, access: [{deny: {unit: refused.service}}]}\n";
    let mut app = app(config, &[]);
    stdout_of(&app.store.run_with(&["set", "long"], "x".repeat(700_000)));
    let folder = app.machine.folder().display().to_string();
    let late = |unit: &str, as_unit: &str| {
        impostor(&folder, &[&format!("{as_unit} 0")])
            .replace("[Service]\n", "[Service]\nEnvironment=READS_AFTER=5.5\n")
            .replace("told.output", &format!("{unit}.output"))
    };
    app.machine = app.machine.unit("whole.service", &late("whole", "whole.service"));
    app.machine = app.machine.unit("refused.service", &late("refused", "refused.service"));
    boot(&app, "systemctl start whole.service refused.service");
    assert_eq!(app.machine.output_of("whole"), "whole.service 0 700000\n");
    assert_eq!(app.machine.output_of("refused"), "refused.service 0 too much\n");
}

#[test]
fn who_is_given_a_credential_is_written_down_and_a_placeholder_is_no_value() {
    let config = "audit: {file: FOLDER/audit.log}\n\
                  policy:\n  - secrets: db\n    placeholder: {unit: other.service}\n\
                  credentials:\n  names:\n    password: db.password\n    none: nothing\n";
    let units = [("web", "password"), ("other", "password"), ("missing", "none"), ("typo", "pasword")];
    let mut app = app("", &units);
    let folder = app.machine.folder().display().to_string();
    let mut file = OpenOptions::new().append(true).open(format!("{folder}/config.yaml")).expect("the config");
    file.write_all(config.replace("FOLDER", &folder).as_bytes()).expect("more of it");
    app.machine = app.machine.unit("impostor.service", &impostor(&folder, &["web.service 0"]));
    boot(
        &app,
        "systemctl start web.service
         systemctl start other.service
         fails systemctl start missing.service
         fails systemctl start typo.service
         systemctl start impostor.service",
    );
    assert_eq!(app.machine.output_of("web"), format!("[{PASSWORD}]"));
    let other = app.machine.output_of("other");
    assert!(other.len() > 2 && !other.contains("s3cret"), "{other}");
    let log = fs::read_to_string(format!("{folder}/audit.log")).expect("the audit");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line"))
        .filter(|line: &serde_json::Value| line["door"] == "systemd")
        .collect();
    let seen: Vec<_> = lines
        .iter()
        .map(|it| {
            [&it["unit"], &it["verdict"], &it["outcome"]].map(|it| it.as_str().unwrap_or("-")).join(" ")
        })
        .collect();
    assert_eq!(
        seen,
        [
            "web.service real ok",
            "other.service placeholder ok",
            "missing.service real no_key",
            "typo.service denied denied",
            "- denied denied"
        ],
        "{log}"
    );
    assert!(!log.contains("s3cret"), "{log}");
}

/// A dot may part a secret from its field or be in its name, and a label may be any secret's: rules are
/// about what it turns out to be, by all its names.
#[test]
fn dotted_names_and_labels_are_judged_by_what_they_turn_out_to_be() {
    let config = "credentials:
  names:
    field: db.password
    dotted: api.key
    twice: db.username
    label: label=ai
    shut: label=shut
policy:
  - {secrets: [api.key, label=ai, lab], allow: {unit: web-*.service}}
  - {secrets: label=shut, allow: anyone}
  - {secrets: [hidden, db.password], deny: anyone}
";
    let served = [("web-field", "field"), ("web-dotted", "dotted"), ("web-label", "label")];
    let refused = [
        ("no-dotted", "dotted", "denied by the lack of a rule"),
        ("no-label", "label", "denied by the rule at"),
        ("web-shut", "shut", "denied by the rule at"),
        ("web-twice", "twice", "it can mean `db#username` and `db.username`"),
    ];
    let units: Vec<_> = served.into_iter().chain(refused.map(|(unit, name, _)| (unit, name))).collect();
    let app = app(&format!("{config}audit: {{file: /var/lib/secretfs-audit.log}}\n"), &units);
    app.store.set("api.key", "dotted value").set("db.username", "another");
    stdout_of(&app.store.run_with(&["set", "lab", "--label", "ai"], "labelled value"));
    stdout_of(&app.store.run_with(&["set", "hidden", "--label", "shut"], "hidden value"));
    let starts: String = served.iter().map(|(unit, _)| format!("systemctl start {unit}.service\n")).collect();
    let fails: String =
        refused.iter().map(|(unit, ..)| format!("fails systemctl start {unit}.service\n")).collect();
    let transcript = boot(&app, &format!("{starts}{fails}cat /var/lib/secretfs-audit.log"));
    for ((unit, _), value) in served.iter().zip([PASSWORD, "dotted value", "labelled value"]) {
        assert_eq!(app.machine.output_of(unit), format!("[{value}]"), "{unit}");
    }
    for (unit, _, words) in refused {
        assert_eq!(app.machine.output_of(unit), "", "{unit}");
        let said = refusals(&app);
        let is_told =
            |line: &String| line.contains(words) && line.contains(&format!("unit=\"{unit}.service\""));
        assert!(said.iter().any(is_told), "{unit}, {words}: {said:#?}");
    }
    let audit = transcript.output.lines().filter_map(|line| serde_json::from_str(line).ok());
    let audit: Vec<serde_json::Value> = audit.collect();
    for (unit, names) in
        [("web-field", "db"), ("web-dotted", "api.key"), ("web-label", "lab"), ("web-shut", "hidden")]
    {
        let of_unit = |line: &&serde_json::Value| line["unit"] == format!("{unit}.service");
        let lines: Vec<_> = audit.iter().filter(of_unit).map(|it| it["secrets"].to_string()).collect();
        assert!(lines.len() == 1 && lines[0].contains(&format!("\"{names}\"")), "{unit}: {lines:?}");
    }
}

/// Traces the manager and all that it starts, until it is told to end.
const TRACER: &str = r#"
import ctypes, os, signal, sys
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
CONT, SEIZE, LISTEN, FORKS = 7, 0x4206, 0x4208, 2 | 4 | 8
assert ptrace(SEIZE, 1, None, FORKS) == 0, os.strerror(ctypes.get_errno())
open(sys.argv[1], "w").close()
while True:
    pid, status = os.waitpid(-1, 0x40000000)
    if not os.WIFSTOPPED(status): continue
    stopped, event = os.WSTOPSIG(status), status >> 16
    is_group = event == 128 and stopped != signal.SIGTRAP
    ptrace(LISTEN if is_group else CONT, pid, None, None if event else stopped)
"#;

/// Who traces the asker is given what it is given. The manager itself gets a refusal, and no end that
/// it would take for an empty credential.
#[test]
fn an_asker_whom_somebody_traces_is_refused() {
    let config = "audit: {file: /var/lib/audit.log}\ncredentials:\n  names:\n    password: db.password\n";
    let unit = UNIT.replace("CapabilityBoundingSet=", "CapabilityBoundingSet=CAP_SYS_PTRACE ");
    let app = app_as(&unit, config, &[("web", "password")]);
    let folder = app.machine.folder().display().to_string();
    fs::write(format!("{folder}/tracer.py"), TRACER).expect("a program");
    let transcript = boot(
        &app,
        &format!(
            "systemctl start web.service
             /usr/bin/env python3 {folder}/tracer.py {folder}/traces & tracer=$!
             until [ -e {folder}/traces ]; do sleep 0.01; done
             fails systemctl start web.service
             kill $tracer; wait $tracer || true
             systemctl start web.service
             cat /var/lib/audit.log"
        ),
    );
    // Before and after it is the control.
    assert_eq!(app.machine.output_of("web"), format!("[{PASSWORD}]").repeat(2));
    assert_eq!(refusals(&app).len(), 1);
    expect_refusal(&app, "who asks for it may be anybody: somebody traces it");
    let audit = transcript.output.lines().filter(|line| line.contains("\"door\":\"systemd\""));
    let outcomes: Vec<_> = audit.map(|line| line.contains("\"verdict\":\"denied\"")).collect();
    assert_eq!(outcomes, [false, true, false], "{}", transcript.output);
}

/// The secret of a provider that takes its time, and what happens meanwhile.
fn while_waiting(unit: &str, script: &str) -> App {
    let config = "providers:\n  slow: {type: exec, command: [/bin/sh, -c, \"sleep 2; echo late\"], timeout: 4s}\n\
                  credentials:\n  names:\n    password: \"slow:x\"\n";
    let app = app_as(unit, config, &[("web", "password")]);
    let transcript = app.boot(&format!(
        "main() {{ systemctl show --property MainPID --value secretfs.service; }}
         worker() {{ pgrep --full -- '--worker$' | head -n 1; }}
         systemctl start secretfs.service
         systemctl start --no-block web.service
         sleep 0.7
         {script}
         while systemctl is-active web.service | grep -q activating; do sleep 0.1; done
         for try in $(seq 50); do systemctl is-active -q secretfs.service && break; sleep 0.1; done
         systemctl stop secretfs.service || true"
    ));
    transcript.expect_success();
    app
}

/// An end without a byte is an empty credential for systemd: it must not look like an answer.
#[test]
fn who_waits_while_the_worker_dies_gets_no_empty_credential() {
    assert_eq!(while_waiting(UNIT, "").machine.output_of("web"), "[late\n]".replace('\n', ""));
    for end in ["kill -KILL $(worker)", "kill -KILL $(main) $(worker)", "systemctl stop secretfs.service"] {
        let app = while_waiting(UNIT, end);
        assert_eq!(app.machine.output_of("web"), "", "{end}");
    }
    // Nobody keeps the connection: this is what is guarded against.
    let unit = UNIT.replace("FileDescriptorStoreMax=256", "FileDescriptorStoreMax=0");
    let app = while_waiting(&unit, "kill -KILL $(main) $(worker)");
    assert_eq!(app.machine.output_of("web"), "[]", "the control");
}
