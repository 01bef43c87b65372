//! A machine with a store, templates, and our unit as shipped except for where its files lie.

use std::fs;
use std::path::Path;

use super::common::{Machine, TestStore, Transcript, copy_program, stdout_of};

pub(crate) const UNIT: &str = include_str!("../../systemd/secretfs.service");
pub(crate) const PROBE_UNIT: &str = include_str!("../../systemd/secretfs-probe.service");
/// For a service that reads the file as its environment.
const DROP_IN: &str = include_str!("../../systemd/example.service.d/secretfs.conf");
pub(crate) const FILE: &str = "/run/secretfs/app/app.env";
/// By file in the mount: the ready template.
const TEMPLATES: [(&str, &str); 2] = [
    ("app.env.tpl", include_str!("../../templates/systemd/app.env.tpl")),
    ("credential.tpl", include_str!("../../templates/systemd/credential.tpl")),
];
pub(crate) const PASSWORD: &str = r#"s3cret value "1" 'x' $HOME \ # ;"#;
pub(crate) const ROTATED: &str = "n3w";

/// A store with a login, and the unit as shipped except for where its files lie.
pub(crate) struct App {
    pub(crate) machine: Machine,
    pub(crate) store: TestStore,
}

impl App {
    pub(crate) fn new(unit: &str) -> Self {
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
        fs::write(folder.join("config.yaml"), config).expect("a config");
        // A test is not that patient.
        let probe = PROBE_UNIT.replace("daemon --probe", "daemon --probe --patience 3");
        machine = machine
            .unit("secretfs.service", &installed(&folder, unit, "service.output"))
            .unit("secretfs-probe.service", &installed(&folder, &probe, "probe.output"))
            .unit("legacy.service", &legacy_unit(&folder.display().to_string()))
            .reader("app-reads", "app", &format!("cat {FILE}"))
            .reader("stranger-reads", "stranger", &format!("cat {FILE}"))
            .unit("environment.service", &environment_unit(&folder.display().to_string()))
            .unit("credential.service", &credential_unit(&folder.display().to_string()));
        Self { machine, store }
    }

    pub(crate) fn boot(&self, script: &str) -> Transcript {
        let folder = self.machine.folder().display();
        let key = format!("install -D -m 0400 {folder}/key /run/credstore/secretfs.key\n");
        self.machine.boot(&(key + script))
    }
}

/// One of our units, in the machine of this folder.
pub(crate) fn installed(folder: &Path, unit: &str, output: &str) -> String {
    let place = |path: &str| folder.join(path).display().to_string();
    let unit = unit.replace("/usr/bin/secretfs", &place("secretfs"));
    let unit = unit.replace("/etc/secretfs/config.yaml", &place("config.yaml"));
    // What a booted machine has and this one has not: targets, and the sockets they bring.
    let unit = unit.replace("[Unit]\n", "[Unit]\nDefaultDependencies=no\n");
    unit.replace("[Service]\n", &format!("[Service]\nStandardError=append:{}\n", place(output)))
}

/// What the service has complained about on stderr. The machine has a pid namespace of its own, and
/// its PID 1 may not lift the limit on locked memory: that is its affair, and no complaint here.
pub(crate) fn complaints(app: &App) -> Vec<String> {
    let said = app.machine.output_of("service");
    let of_machine = ["memory could not be locked", "runs in a pid namespace of its own"];
    let is_complaint =
        |line: &&str| !line.contains(" INFO ") && !of_machine.iter().any(|words| line.contains(words));
    said.lines().filter(is_complaint).map(str::to_owned).collect()
}

/// PID 1 reads the file, as root, before it becomes the user.
fn environment_unit(folder: &str) -> String {
    format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nUser=app\n\
         EnvironmentFile={FILE}\nStandardOutput=append:{folder}/environment.output\n\
         ExecStart=/bin/sh -c 'echo \"$$DATABASE_PASSWORD\"'\n"
    )
}

/// A service with our drop-in; it says nothing of ours itself.
fn legacy_unit(folder: &str) -> String {
    let drop_in = DROP_IN.replace("[Unit]\n", "[Unit]\nDefaultDependencies=no\n");
    format!(
        "{drop_in}Type=oneshot\nUser=app\nStandardOutput=append:{folder}/legacy.output\n\
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

pub(crate) fn login(password: &str) -> String {
    serde_json::json!({"username": "app", "password": password}).to_string()
}
