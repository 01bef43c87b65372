//! `systemd/secretfs.service` under a real systemd as PID 1 of its own namespaces: other units read
//! its files as their users, PID 1 reads some itself, and stopping leaves nothing.

#[path = "../common/mod.rs"]
mod common;

mod app;
mod credentials;
mod journal;
mod load;
mod network;
mod reactions;
#[path = "../canary/scan.rs"]
mod scan;

use std::fs;
use std::process::Command;

use common::programs::{self, Row, version_of};
use common::{Machine, tool};

use app::{App, PASSWORD, PROBE_UNIT, ROTATED, UNIT, complaints, login};
use network::NETWORK;

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
    let folder = tempfile::tempdir().expect("a temporary folder");
    let exec_start = UNIT.lines().find(|line| line.starts_with("ExecStart=")).expect("a command");
    let drop_in = folder.path().join("open.service.d");
    fs::create_dir(&drop_in).expect("a folder");
    fs::write(drop_in.join("network.conf"), NETWORK).expect("a file");
    for (name, text, threshold, is_within) in [
        ("secretfs", UNIT, 29, true),
        ("secretfs-probe", PROBE_UNIT, 29, true),
        ("open", UNIT, 38, true),
        ("open", UNIT, 29, false),
        ("bare", &format!("[Service]\n{exec_start}\n"), 38, false),
    ] {
        let unit = folder.path().join(format!("{name}.service"));
        fs::write(&unit, text).expect("a file");
        let mut command = Command::new(tool("systemd-analyze"));
        command.args(["security", "--offline=true", "--no-pager", &format!("--threshold={threshold}")]);
        let output = command.arg(unit).output().expect("systemd-analyze can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.success(), is_within, "{name} {threshold}: {said}");
    }
}

/// The order of a boot: who wants the file gets a daemon that serves it first.
#[test]
fn a_service_that_wants_the_file_has_the_daemon_started_before_it() {
    let app = App::new(UNIT);
    let transcript = app.boot(
        "systemctl start legacy.service
         systemctl is-active secretfs.service secretfs-probe.service
         systemctl restart secretfs.service
         systemctl stop secretfs.service
         systemctl is-active secretfs-probe.service && exit 1
         fails pgrep secretfs",
    );
    transcript.expect_success();
    assert_eq!(app.machine.output_of("legacy"), format!("{PASSWORD}\n"));
}

#[test]
fn other_units_read_as_their_users_and_stopping_leaves_nothing() {
    let app = App::new(UNIT);
    let transcript = app.boot(
        "systemctl start secretfs.service
         systemctl start app-reads.service environment.service
         fails systemctl start stranger-reads.service
         findmnt --noheadings --output FSTYPE,OPTIONS /run/secretfs/app
         stat --format '%U %a' /run/secretfs/app/app.env
         systemctl stop secretfs.service
         fails mountpoint --quiet /run/secretfs/app
         systemctl show --property Result,ExecMainStatus secretfs.service",
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
        "systemctl start secretfs.service
         systemctl start environment.service credential.service
         {set}
         systemctl restart environment.service credential.service
         systemctl stop secretfs.service
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
        "systemctl start secretfs.service
         kill -KILL $(systemctl show --property MainPID --value secretfs.service)
         sleep 0.5
         for try in $(seq 50); do systemctl is-active -q secretfs.service && break; sleep 0.1; done
         systemctl start app-reads.service
         systemctl stop secretfs.service
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
        "systemctl start secretfs.service
         fails systemctl start app-reads.service",
    );
    transcript.expect_success();
    assert!(app.machine.output_of("app-reads").contains("No such file"));
}

/// Booted without its key, the daemon is there, and each reader is told; nobody waits, PID 1 least
/// of all. When the key comes, it serves.
#[test]
fn a_sealed_store_hangs_nobody_and_is_opened_when_its_key_comes() {
    let app = App::new(UNIT);
    let (folder, store) = (app.machine.folder().display().to_string(), app.store.path());
    let config = app.machine.folder().join("config.yaml");
    let text = fs::read_to_string(&config).expect("a file");
    let late = format!("store: {{path: {}, key: {{source: file, path: {folder}/late}}}}", store.display());
    fs::write(config, text.replace(&format!("store: {}", store.display()), &late)).expect("a file");
    let transcript = app.machine.boot(&format!(
        "systemctl start secretfs.service
         fails systemctl start app-reads.service
         fails timeout 10 systemctl start environment.service legacy.service
         install -m 0400 {folder}/key {folder}/late
         for try in $(seq 100); do systemctl start environment.service && break; sleep 0.1; done
         systemctl start app-reads.service
         systemctl stop secretfs.service
         fails mountpoint --quiet /run/secretfs/app"
    ));
    transcript.expect_success();
    let read = app.machine.output_of("app-reads");
    assert!(read.contains("Required key not available") && read.contains("s3cret value"), "{read}");
    let said = app.machine.output_of("service");
    assert!(said.contains("the store is sealed") && said.contains("key is there"), "{said}");
}
