//! gpg decrypts with a passphrase file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::json;
use tempfile::TempDir;

use super::common::programs::{self, Row};
use super::common::ready::{mount_ready, set_secrets};
use super::common::stdout_of;
use super::{program, refused};

/// A home of gpg and its agent.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = TempDir::with_prefix("gpg-").unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self(home)
    }

    fn gpg(&self, passphrase_file: &Path, arguments: &[&str]) -> Output {
        let mut gpg = program("gpg", self.0.path());
        gpg.env("GNUPGHOME", self.0.path());
        gpg.args(["--batch", "--quiet", "--no-symkey-cache", "--pinentry-mode", "loopback"]);
        gpg.arg("--passphrase-file").arg(passphrase_file).args(arguments).output().unwrap()
    }

    /// It would know a passphrase for a while.
    fn end_agent(&self) {
        let mut gpgconf = program("gpgconf", self.0.path());
        let _ = gpgconf.env("GNUPGHOME", self.0.path()).args(["--kill", "all"]).status();
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.end_agent();
    }
}

#[test]
fn gpg_decrypts_with_a_passphrase_file() {
    let home = Home::new();
    let passphrase = "it's \"wild\" \\n $1 é";
    let mounted = mount_ready("gpg/passphrase", &json!({ "gpg_passphrase": passphrase }));
    let file = mounted.path("passphrase");
    let encrypt = |passphrase: &str| {
        fs::write(home.0.path().join("letter"), "the letter\n").unwrap();
        let given = home.0.path().join("given");
        fs::write(&given, passphrase).unwrap();
        let arguments = ["--yes", "--symmetric", "--output", "letter.gpg", "letter"];
        stdout_of(&home.gpg(&given, &arguments));
    };
    let decrypt = || home.gpg(&file, &["--decrypt", "letter.gpg"]);

    encrypt(passphrase);
    assert_eq!(stdout_of(&decrypt()), "the letter\n");
    encrypt("the next one");
    refused(&decrypt(), "decryption failed");
    set_secrets(mounted.store(), &json!({"gpg_passphrase": "the next one"}));
    assert_eq!(stdout_of(&decrypt()), "the letter\n");

    // A key of its own, protected by the same file.
    let arguments = ["--quick-generate-key", "tester", "ed25519", "sign", "never"];
    stdout_of(&home.gpg(&file, &arguments));
    home.end_agent();
    stdout_of(&home.gpg(&file, &["--yes", "--detach-sign", "letter"]));
    stdout_of(&home.gpg(&file, &["--verify", "letter.sig", "letter"]));

    programs::row(Row {
        program: "gpg",
        version: programs::version_of("gpg", &["--version"]),
        read: "a passphrase file",
        seen: "a file decrypted, and refused with the old passphrase; a signature by a key that it protects",
        reload: "read by each command",
    });
}
