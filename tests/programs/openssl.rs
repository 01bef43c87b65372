//! openssl signs with a key of the mount and opens a key with a passphrase of the mount.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::common::programs::{self, Row};
use super::common::ready::{mount_ready, set_secrets};
use super::common::{TestStore, stdout_of};
use super::{program, refused};

fn openssl(home: &Path, arguments: &[&str]) -> std::process::Output {
    program("openssl", home).args(arguments).output().unwrap()
}

/// A private key as text; its public half lies in the folder.
fn key(home: &Path, public: &str) -> String {
    let key = stdout_of(&openssl(
        home,
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "/dev/stdout"],
    ));
    fs::write(home.join("key"), &key).unwrap();
    stdout_of(&openssl(home, &["pkey", "-in", "key", "-pubout", "-out", public]));
    fs::remove_file(home.join("key")).unwrap();
    key
}

fn rotate(store: &TestStore, name: &str, value: &str) {
    set_secrets(store, &json!({ name: value }));
}

#[test]
fn openssl_signs_with_the_key_of_the_moment() {
    let home = TempDir::new().unwrap();
    let (first, second) = (key(home.path(), "first.pub"), key(home.path(), "second.pub"));
    fs::write(home.path().join("letter"), "what is signed").unwrap();
    let mounted = mount_ready("openssl/key.pem", &json!({"signing_key": first}));
    let mount_key = mounted.path("key.pem").display().to_string();
    let sign = || {
        let arguments = ["dgst", "-sha256", "-sign", &mount_key, "-out", "signature", "letter"];
        stdout_of(&openssl(home.path(), &arguments));
    };
    let verify = |public: &str| {
        openssl(home.path(), &["dgst", "-sha256", "-verify", public, "-signature", "signature", "letter"])
    };

    sign();
    assert_eq!(stdout_of(&verify("first.pub")), "Verified OK\n");
    refused(&verify("second.pub"), "Verification failure");
    rotate(mounted.store(), "signing_key", &second);
    sign();
    assert_eq!(stdout_of(&verify("second.pub")), "Verified OK\n");
    refused(&verify("first.pub"), "Verification failure");
}

#[test]
fn openssl_opens_a_key_with_a_passphrase_file() {
    let home = TempDir::new().unwrap();
    let plain = key(home.path(), "public");
    fs::write(home.path().join("plain"), plain).unwrap();
    let encrypt = |passphrase: &str| {
        let pass = format!("pass:{passphrase}");
        let arguments = ["pkey", "-in", "plain", "-aes256", "-passout", &pass, "-out", "encrypted"];
        stdout_of(&openssl(home.path(), &arguments));
    };
    let mounted = mount_ready("openssl/passphrase", &json!({"key_passphrase": "it's \"wild\" \\n $1 é"}));
    let pass = format!("file:{}", mounted.path("passphrase").display());
    let open = || openssl(home.path(), &["pkey", "-in", "encrypted", "-passin", &pass, "-pubout"]);
    let public = fs::read_to_string(home.path().join("public")).unwrap();

    encrypt("it's \"wild\" \\n $1 é");
    assert_eq!(stdout_of(&open()), public);
    encrypt("the next one");
    refused(&open(), "Could not");
    rotate(mounted.store(), "key_passphrase", "the next one");
    assert_eq!(stdout_of(&open()), public);

    programs::row(Row {
        program: "openssl",
        version: programs::version_of("openssl", &["version"]),
        read: "a private key, a passphrase (`-passin file:`)",
        seen: "a signature that only the right public key verifies; an encrypted key opened, refused with the old \
               passphrase",
        reload: "read by each command",
    });
}
