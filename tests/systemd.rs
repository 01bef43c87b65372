//! `systemd/secretfs-mount@.service` under a real systemd as PID 1 of its own namespaces: other
//! units read its files as their users, PID 1 reads some itself, and stopping leaves nothing.

mod common;

use std::fs;
use std::process::Command;

use common::programs::{self, Row, version_of};
use common::{Machine, TestStore, Transcript, copy_program, stdout_of, tool};

const UNIT: &str = include_str!("../systemd/secretfs-mount@.service");
const FILE: &str = "/run/secretfs/app/app.env";
/// By file in the mount: the ready template.
const TEMPLATES: [(&str, &str); 2] = [
    ("app.env.tpl", include_str!("../templates/systemd/app.env.tpl")),
    ("credential.tpl", include_str!("../templates/systemd/credential.tpl")),
];
const PASSWORD: &str = r#"s3cret value "1" 'x' $HOME \ # ;"#;
const ROTATED: &str = "n3w";

/// The machine itself: units run, as their users, and a failing script is seen as one.
#[test]
fn the_machine_runs_units_and_tells_success_from_failure() {
    let machine = Machine::new().reader("whoami", "app", "id -un");
    machine.boot("systemctl start whoami.service\necho done").expect_success();
    assert_eq!(machine.output_of("whoami"), "app\n");
    let failed = Machine::new().reader("fails", "app", "exit 3");
    assert!(!failed.boot("systemctl start fails.service\necho done").succeeded);
    assert!(!Machine::new().boot("fails true").succeeded);
}

/// Lower is better; without any hardening it is 9.6.
#[test]
fn the_unit_stays_hardened() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/secretfs-mount@.service");
    let score = |file: &str| {
        let mut command = Command::new(tool("systemd-analyze"));
        command.args(["security", "--offline=true", "--no-pager", "--threshold=29", file]);
        command.output().expect("systemd-analyze can be started")
    };
    let output = score(unit);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bare = folder.path().join("bare@.service");
    let exec_start = UNIT.lines().find(|line| line.starts_with("ExecStart=")).expect("a command");
    fs::write(&bare, format!("[Service]\n{exec_start}\n")).expect("a file");
    assert!(!score(bare.to_str().expect("UTF-8")).status.success(), "the threshold refuses nothing");
}

/// A store with a login, and the unit as shipped except for where its files lie.
struct App {
    machine: Machine,
    store: TestStore,
}

impl App {
    fn new(unit: &str) -> Self {
        let store = TestStore::new();
        stdout_of(&store.run_with(&["set", "db", "--from-json"], login(PASSWORD)));
        let templates = store.folder().join("templates");
        fs::create_dir(&templates).expect("a folder");
        for (file, text) in TEMPLATES {
            fs::write(templates.join(file), text).expect("a template");
        }
        let mut machine = Machine::new();
        let folder = machine.folder().to_owned();
        // A copy, since root without CAP_DAC_OVERRIDE cannot enter everybody's clone.
        copy_program(env!("CARGO_BIN_EXE_secretfs"), &folder.join("secretfs"));
        fs::copy(store.key_file(), folder.join("key")).expect("a copy");
        let config = format!(
            "store: {}\nmounts:\n  - at: /run/secretfs/app\n    templates: {}\n    owner: app\n\
             \x20   dialect: systemd\n",
            store.path().display(),
            templates.display()
        );
        fs::write(folder.join("app.yaml"), config).expect("a config");
        let place = |path: &str| folder.join(path).display().to_string();
        let unit = unit.replace("/usr/bin/secretfs", &place("secretfs"));
        let unit = unit.replace("/etc/secretfs/%i.yaml", &place("%i.yaml"));
        // What a booted machine has and this one has not: targets, and the sockets they bring.
        let unit = unit.replace("[Unit]\n", "[Unit]\nDefaultDependencies=no\n");
        let said = format!("[Service]\nStandardError=append:{}\n", place("service.output"));
        let unit = unit.replace("[Service]\n", &said);
        machine = machine
            .unit("secretfs-mount@.service", &unit)
            .reader("app-reads", "app", &format!("cat {FILE}"))
            .reader("stranger-reads", "stranger", &format!("cat {FILE}"))
            .unit("environment.service", &environment_unit(&folder.display().to_string()))
            .unit("credential.service", &credential_unit(&folder.display().to_string()));
        Self { machine, store }
    }

    fn boot(&self, script: &str) -> Transcript {
        let folder = self.machine.folder().display();
        let key = format!("install -D -m 0400 {folder}/key /run/credstore/secretfs.app.key\n");
        self.machine.boot(&(key + script))
    }
}

/// What the service has said on stderr. Whether PID 1 may lift the limit on locked memory is a
/// matter of the machine (a container's may not), so that is no complaint here.
fn complaints(app: &App) -> Vec<String> {
    let said = app.machine.output_of("service");
    said.lines().filter(|line| !line.contains("memory could not be locked")).map(str::to_owned).collect()
}

/// PID 1 reads the file, as root, before it becomes the user.
fn environment_unit(folder: &str) -> String {
    format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nUser=app\n\
         EnvironmentFile={FILE}\nStandardOutput=append:{folder}/environment.output\n\
         ExecStart=/bin/sh -c 'echo \"$$DATABASE_PASSWORD\"'\n"
    )
}

/// PID 1 reads the file, as root, and keeps a copy in memory for this unit alone.
fn credential_unit(folder: &str) -> String {
    format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nUser=app\n\
         LoadCredential=password:/run/secretfs/app/credential\nStandardOutput=append:{folder}/credential.output\n\
         ExecStart=/bin/sh -c 'cat \"$$CREDENTIALS_DIRECTORY/password\"; echo'\n"
    )
}

fn login(password: &str) -> String {
    serde_json::json!({"username": "app", "password": password}).to_string()
}

#[test]
fn other_units_read_as_their_users_and_stopping_leaves_nothing() {
    let app = App::new(UNIT);
    let transcript = app.boot(
        "systemctl start secretfs-mount@app.service
         systemctl start app-reads.service environment.service
         fails systemctl start stranger-reads.service
         findmnt --noheadings --output FSTYPE,OPTIONS /run/secretfs/app
         stat --format '%U %a' /run/secretfs/app/app.env
         systemctl stop secretfs-mount@app.service
         fails mountpoint --quiet /run/secretfs/app
         systemctl show --property Result,ExecMainStatus secretfs-mount@app.service",
    );
    transcript.expect_success();
    let rendered = app.machine.output_of("app-reads");
    assert!(rendered.contains("DATABASE_PASSWORD=") && rendered.contains("s3cret value"), "{rendered}");
    assert_eq!(app.machine.output_of("environment"), format!("{PASSWORD}\n"));
    assert_eq!(complaints(&app), Vec::<String>::new(), "the hardening forbids nothing that it needs");
    let refused = app.machine.output_of("stranger-reads");
    assert!(refused.contains("Permission denied") && !refused.contains("s3cret"), "{refused}");
    let output = &transcript.output;
    for words in ["fuse", "ro,nosuid,nodev,noexec", "app 400", "Result=success", "ExecMainStatus=0"] {
        assert!(output.contains(words), "{words}: {output}");
    }
}

#[test]
fn units_get_files_of_the_mount_as_environment_and_as_credential() {
    let app = App::new(UNIT);
    fs::write(app.machine.folder().join("rotated.json"), login(ROTATED)).expect("a file");
    let set = format!(
        "{folder}/secretfs --store {} --key-file {folder}/key set db --from-json < {folder}/rotated.json\n",
        app.store.path().display(),
        folder = app.machine.folder().display()
    );
    let transcript = app.boot(&format!(
        "systemctl start secretfs-mount@app.service
         systemctl start environment.service credential.service
         {set}
         systemctl restart environment.service credential.service
         systemctl stop secretfs-mount@app.service
         fails systemctl start credential.service
         fails systemctl start environment.service",
    ));
    transcript.expect_success();
    for unit in ["environment", "credential"] {
        assert_eq!(app.machine.output_of(unit), format!("{PASSWORD}\n{ROTATED}\n"), "{unit}");
    }
    programs::row(Row {
        program: "systemd",
        version: version_of("systemctl", &["--version"]),
        read: "`EnvironmentFile=`, and `LoadCredential=NAME:FILE` (PID 1, as root)",
        seen: "units print the password; without the mount they do not start",
        reload: "`systemctl restart` of the unit",
    });
}

#[test]
fn a_killed_service_comes_back_by_itself() {
    let app = App::new(UNIT);
    let transcript = app.boot(
        "systemctl start secretfs-mount@app.service
         kill -KILL $(systemctl show --property MainPID --value secretfs-mount@app.service)
         sleep 0.5
         for try in $(seq 50); do systemctl is-active -q secretfs-mount@app.service && break; sleep 0.1; done
         systemctl start app-reads.service
         systemctl stop secretfs-mount@app.service
         fails mountpoint --quiet /run/secretfs/app",
    );
    transcript.expect_success();
    assert!(app.machine.output_of("app-reads").contains("s3cret value"));
}

/// Why the unit has no `ProtectSystem=` and its like: the mount would be there, and nobody would see it.
#[test]
fn a_mount_namespace_would_hide_the_mount() {
    let app = App::new(&UNIT.replace("[Service]\n", "[Service]\nProtectSystem=yes\n"));
    let transcript = app.boot(
        "systemctl start secretfs-mount@app.service
         fails systemctl start app-reads.service",
    );
    transcript.expect_success();
    assert!(app.machine.output_of("app-reads").contains("No such file"));
}

/// Without its key the service does not become ready, and its log says what is missing.
#[test]
fn a_missing_key_fails_the_start_with_a_reason() {
    let app = App::new(UNIT);
    let transcript = app.machine.boot("fails systemctl start secretfs-mount@app.service");
    transcript.expect_success();
    let said = app.machine.output_of("service");
    assert!(said.contains("sealed") && said.contains("key"), "{said}");
}
