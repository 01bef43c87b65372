//! restic and borg back up and restore with the password of their repository.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::common::programs::{self, Row};
use super::common::ready::{mount_ready, set_secrets};
use super::common::stdout_of;
use super::{program, refused};

const FIRST: &str = "it's \"wild\" \\n $1 é";
const SECOND: &str = "the next one";

/// A home with something to keep.
fn home() -> TempDir {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join("data")).unwrap();
    fs::write(home.path().join("data/file"), "what must not be lost\n").unwrap();
    home
}

#[track_caller]
fn is_restored(folder: &Path) {
    assert_eq!(fs::read_to_string(folder.join("data/file")).unwrap(), "what must not be lost\n");
}

#[test]
fn restic_backs_up_and_restores_with_a_password_file() {
    let home = home();
    let mounted = mount_ready("restic/password", &json!({ "restic_password": FIRST }));
    let file = mounted.path("password");
    let restic = |arguments: &[&str]| {
        let mut restic = program("restic", home.path());
        restic.args(["--quiet", "--no-cache", "--repo", "repository", "--password-file"]);
        restic.arg(&file).args(arguments).output().unwrap()
    };

    stdout_of(&restic(&["init"]));
    stdout_of(&restic(&["backup", "data"]));
    set_secrets(mounted.store(), &json!({ "restic_password": SECOND }));
    refused(&restic(&["snapshots"]), "wrong password");
    // The repository's own rotation: opened by the old version, given the new one from the mount.
    let old = home.path().join("old");
    fs::write(&old, stdout_of(&mounted.store().run(&["get", "restic_password@1"]))).unwrap();
    let mut passwd = program("restic", home.path());
    passwd.args(["--no-cache", "--repo", "repository", "--password-file"]).arg(&old);
    stdout_of(&passwd.args(["key", "passwd", "--new-password-file"]).arg(&file).output().unwrap());
    stdout_of(&restic(&["restore", "latest", "--target", "restored"]));
    is_restored(&home.path().join("restored"));

    programs::row(Row {
        program: "restic",
        version: programs::version_of("restic", &["version"]),
        read: "the password of a repository",
        seen: "init, backup and restore; `wrong password` before the repository had the new one",
        reload: "read by each command; `restic key passwd` takes the new one from the mount",
    });
}

#[test]
fn borg_backs_up_and_restores_with_a_passcommand() {
    let home = home();
    let mounted = mount_ready("borg/passphrase", &json!({ "borg_passphrase": FIRST }));
    let command = format!("cat {}", mounted.path("passphrase").display());
    let plain = |arguments: &[&str]| {
        let mut borg = program("borg", home.path());
        borg.env("BORG_BASE_DIR", home.path()).env("BORG_REPO", home.path().join("repository"));
        borg.args(arguments);
        borg
    };
    let with = |borg: &mut Command| borg.env("BORG_PASSCOMMAND", &command).output().unwrap();

    stdout_of(&with(&mut plain(&["init", "--encryption", "repokey"])));
    stdout_of(&with(&mut plain(&["create", "::one", "data"])));
    set_secrets(mounted.store(), &json!({ "borg_passphrase": SECOND }));
    refused(&with(&mut plain(&["list"])), "is incorrect");
    let mut change = plain(&["key", "change-passphrase"]);
    let old = stdout_of(&mounted.store().run(&["get", "borg_passphrase@1"]));
    change.env("BORG_PASSPHRASE", old).env("BORG_NEW_PASSPHRASE", SECOND);
    stdout_of(&change.output().unwrap());
    let restored = home.path().join("restored");
    fs::create_dir(&restored).unwrap();
    stdout_of(&with(plain(&["extract", "::one"]).current_dir(&restored)));
    is_restored(&restored);

    programs::row(Row {
        program: "borg",
        version: programs::version_of("borg", &["--version"]),
        read: "the passphrase of a repository, by BORG_PASSCOMMAND",
        seen: "init, create and extract; `passphrase is incorrect` before the repository had the new one",
        reload: "read by each command; `borg key change-passphrase` gives the repository the new one",
    });
}
