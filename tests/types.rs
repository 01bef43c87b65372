//! Types of secrets with their fields checked, and what is known of a secret beside its values:
//! through the real binary and the real mount, with keys and certificates of the real programs.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Mounted, TestMount, TestStore, stdout_of, tool};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Refused as bad data, with these words.
#[track_caller]
fn is_refused(output: &Output, words: &str) {
    assert_eq!(output.status.code(), Some(65), "{words}: {}", stderr(output));
    assert!(stderr(output).contains(words), "{words}: {}", stderr(output));
}

fn set_fields(store: &TestStore, kind: &str, fields: &[(&str, &str)]) -> Output {
    let fields: BTreeMap<_, _> = fields.iter().copied().collect();
    let json = serde_json::to_string(&fields).unwrap();
    store.run_with(&["set", kind, "--type", kind, "--from-json"], json)
}

#[test]
fn each_field_has_its_rule_and_the_error_names_it() {
    let store = TestStore::new();
    let oauth = [("client_id", "i"), ("client_secret", "s")];
    let with = |name, value| [&oauth[..], &[(name, value)]].concat();
    for value in ["https://login.example/token", "http://localhost:8080/t?x=%20", "https://[::1]:443/"] {
        stdout_of(&set_fields(&store, "oauth", &with("token_url", value)));
    }
    for value in ["login.example/token", "ftp://x/", "https://", "https:///x", "https://a b/", "https://x:y/"]
    {
        is_refused(
            &set_fields(&store, "oauth", &with("token_url", value)),
            "its field `token_url` is no URL",
        );
    }
    for value in ["2027-01-31T12:00:00Z", "2027-01-31T12:00:00+02:00", "1800000000"] {
        stdout_of(&set_fields(&store, "oauth", &with("expires_at", value)));
    }
    for value in ["soon", "2027-01-31", "1e9", ""] {
        is_refused(
            &set_fields(&store, "oauth", &with("expires_at", value)),
            "its field `expires_at` is no time",
        );
    }
    for url in [
        "postgres://user:p%40ss@db.internal:5432/app?sslmode=require",
        "postgresql:///app?host=/var/run/postgresql",
        "mongodb://u:p@one:27017,two:27017/db",
        "redis://:secret@[::1]:6379/0",
        "jdbc:postgresql://db/app",
    ] {
        stdout_of(&set_fields(&store, "connection-string", &[("url", url)]));
    }
    for url in [
        "host=db user=app",
        "postgres://u:p@db:port/x",
        "localhost:5432",
        "u:p@tcp(db:3306)/x",
        "redis://a\n",
        "://x",
        "redis:",
        "a://%zz",
    ] {
        is_refused(&set_fields(&store, "connection-string", &[("url", url)]), "its field `url` is no URL");
    }
    stdout_of(&set_fields(&store, "bearer", &[("token", "eyJhbGciOi.J9_-~+/=")]));
    for token in ["", "a b", "line\n", "ä"] {
        is_refused(
            &set_fields(&store, "bearer", &[("token", token)]),
            "its field `token` is no bearer token",
        );
    }
    let hint = stderr(&set_fields(&store, "bearer", &[("token", "hunter2 hunter2")]));
    assert!(hint.contains("  try: --type plain") && !hint.contains("hunter2"), "{hint}");
}

/// A private key, and what belongs to it, as files.
struct Pair {
    private: String,
    public: String,
}

fn openssl(folder: &Path, line: &str) {
    let mut command = Command::new(tool("openssl"));
    stdout_of(&command.current_dir(folder).args(line.split(' ')).output().unwrap());
}

/// A certificate with its key, made by `openssl genpkey` and put into this form by `openssl pkey`.
fn certificate(folder: &Path, name: &str, algorithm: &str, form: &str) -> Pair {
    let [key, shown, cert] = ["new", "key", "crt"].map(|end| format!("{name}.{end}"));
    openssl(folder, &format!("genpkey -quiet -algorithm {algorithm} -out {key}"));
    openssl(folder, format!("pkey -in {key} -out {shown} {form}").trim_end());
    openssl(folder, &format!("req -x509 -key {key} -out {cert} -days 3 -subj /CN={name}.invalid"));
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    Pair { private: read(&shown), public: read(&cert) }
}

fn ssh_key(folder: &Path, name: &str, options: &str) -> Pair {
    let mut command = Command::new(tool("ssh-keygen"));
    command.current_dir(folder).args(["-q", "-C", "a comment", "-f", name]);
    let options = options.split(' ').map(|option| if option == "none" { "" } else { option });
    stdout_of(&command.args(options).output().unwrap());
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    Pair { private: read(name), public: read(&format!("{name}.pub")) }
}

#[test]
fn a_certificate_takes_its_own_key_and_no_other() {
    let store = TestStore::new();
    let kinds = [
        ("RSA -pkeyopt rsa_keygen_bits:2048", ""),
        ("RSA -pkeyopt rsa_keygen_bits:2048", "-traditional"),
        ("EC -pkeyopt ec_paramgen_curve:P-256", ""),
        ("EC -pkeyopt ec_paramgen_curve:P-256", "-traditional"),
        ("EC -pkeyopt ec_paramgen_curve:P-384", ""),
        ("EC -pkeyopt ec_paramgen_curve:P-521", ""),
        ("ED25519", ""),
        ("ED448", ""),
    ];
    let pairs = kinds.map(|(algorithm, form)| {
        (algorithm, [0, 1].map(|number| certificate(store.folder(), &format!("c{number}"), algorithm, form)))
    });
    let set = |cert: &str, key: &str| set_fields(&store, "certificate", &[("cert", cert), ("key", key)]);
    for (algorithm, [one, other]) in &pairs {
        stdout_of(&set(&one.public, &one.private));
        // As from a store of many systems: words around it, another's line ends.
        let awkward = format!("subject=x\n{}", one.public).replace('\n', "\r\n");
        stdout_of(&set(&awkward, &one.private));
        if *algorithm != "ED448" {
            is_refused(
                &set(&one.public, &other.private),
                "its field `key` does not belong to its field `cert`",
            );
        }
    }
    let [(_, [rsa, stranger]), .., (_, [edwards, _]), _] = &pairs;
    is_refused(&set(&rsa.public, &edwards.private), "its field `key` does not belong");
    for (cert, key, words) in [
        (&*rsa.private, &*rsa.private, "its field `cert` holds no certificate"),
        ("x", &rsa.private, "its field `cert` holds no certificate"),
        (&rsa.public[..rsa.public.len() / 2], &rsa.private, "its field `cert` holds no certificate"),
        (&rsa.public, "x", "its field `key` holds no private key"),
        (&rsa.public, &rsa.public, "its field `key` holds no private key"),
        (&rsa.public, &rsa.private.replace("MII", "MIX"), "its field `key` holds no private key"),
    ] {
        is_refused(&set(cert, key), words);
    }
    let chained = |chain: &str| {
        let fields = [("cert", &*rsa.public), ("key", &*rsa.private), ("chain", chain)];
        set_fields(&store, "certificate", &fields)
    };
    stdout_of(&chained(&format!("{}{}", rsa.public, edwards.public)));
    is_refused(&chained(&stranger.public), "its field `chain` is not in order");
    is_refused(&chained(&format!("{}{}", rsa.public, rsa.private)), "its field `chain` holds a private key");
    is_refused(&chained("x"), "its field `chain` is no chain");
    is_refused(&chained(&rsa.private), "its field `chain` is no chain");
}

#[test]
fn a_key_that_is_encrypted_is_taken_as_it_is() {
    let store = TestStore::new();
    let folder = store.folder();
    let pair = certificate(folder, "a", "RSA -pkeyopt rsa_keygen_bits:2048", "-aes256 -passout pass:x");
    assert!(pair.private.contains("BEGIN ENCRYPTED PRIVATE KEY"));
    stdout_of(&set_fields(&store, "certificate", &[("cert", &pair.public), ("key", &pair.private)]));
    let form = "-aes256 -passout pass:x -traditional";
    let pair = certificate(folder, "b", "RSA -pkeyopt rsa_keygen_bits:2048", form);
    assert!(pair.private.contains("Proc-Type: 4,ENCRYPTED"));
    stdout_of(&set_fields(&store, "certificate", &[("cert", &pair.public), ("key", &pair.private)]));
}

#[test]
fn an_ssh_key_takes_its_own_public_key_and_no_other() {
    let store = TestStore::new();
    let kinds = [
        "-t ed25519 -N none",
        "-t rsa -b 2048 -N none",
        "-t rsa -b 2048 -N none -m PEM",
        "-t ecdsa -b 256 -N none",
        "-t ecdsa -b 384 -N none -m PKCS8",
        "-t ecdsa -b 521 -N none",
        "-t ed25519 -N a-passphrase",
    ];
    let set = |private: &str, public: &str| {
        set_fields(&store, "ssh-key", &[("private", private), ("public", public)])
    };
    for (number, options) in kinds.iter().enumerate() {
        let [one, other] =
            ["a", "b"].map(|name| ssh_key(store.folder(), &format!("{name}{number}"), options));
        stdout_of(&set(&one.private, &one.public));
        is_refused(
            &set(&one.private, &other.public),
            "its field `public` does not belong to its field `private`",
        );
        is_refused(&set(&one.private, &one.private), "its field `public` is no public key");
        is_refused(&set(&one.public, &one.public), "its field `private` holds no private key");
        stdout_of(&set_fields(&store, "ssh-key", &[("private", &one.private)]));
    }
}

/// The public part of one OpenSSH key in front of the secret part of another.
fn mixed(one: &str, other: &str) -> String {
    let decoded = |text: &str| {
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(body).expect("Base64")
    };
    // After the magic, three short strings (`none`, `none`, nothing) and the number of keys.
    let split = |bytes: &[u8]| {
        let start = 15 + 8 + 8 + 4 + 4;
        let length = u32::from_be_bytes(bytes[start..start + 4].try_into().unwrap()) as usize;
        start + 4 + length
    };
    let (one, other) = (decoded(one), decoded(other));
    let bytes = [&one[..split(&one)], &other[split(&other)..]].concat();
    let text = STANDARD.encode(bytes);
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----\n")
}

#[test]
fn the_secret_part_of_an_ssh_key_belongs_to_its_public_part() {
    let store = TestStore::new();
    let kinds = ["-t ed25519", "-t rsa -b 2048", "-t ecdsa -b 256", "-t ecdsa -b 384", "-t ecdsa -b 521"];
    for (number, kind) in kinds.iter().enumerate() {
        let options = format!("{kind} -N none");
        let [one, other] =
            ["a", "b"].map(|name| ssh_key(store.folder(), &format!("{name}{number}"), &options));
        let set = |private: &str| set_fields(&store, "ssh-key", &[("private", private)]);
        is_refused(&set(&mixed(&one.private, &other.private)), "its field `private` holds no private key");
        // The control: taken apart and put together again it is a key.
        stdout_of(&set(&mixed(&one.private, &one.private)));
    }
}

/// OpenSSL can leave away what follows from the secret number.
#[test]
fn a_key_without_its_public_part_is_a_key() {
    let store = TestStore::new();
    for curve in ["P-256", "P-384", "P-521", "secp256k1"] {
        let algorithm = format!("EC -pkeyopt ec_paramgen_curve:{curve}");
        let [one, other] = ["a", "b"].map(|name| certificate(store.folder(), name, &algorithm, ""));
        openssl(store.folder(), "ec -in a.key -no_public -out bare.key");
        let bare = fs::read_to_string(store.folder().join("bare.key")).unwrap();
        assert!(bare.len() < one.private.len());
        let set = |cert: &str| set_fields(&store, "certificate", &[("cert", cert), ("key", &bare)]);
        stdout_of(&set(&one.public));
        if curve != "secp256k1" {
            is_refused(&set(&other.public), "its field `key` does not belong to its field `cert`");
        }
    }
}

/// Half of a pair that is rotated alone would be a pair that does not work.
#[test]
fn half_a_pair_is_refused_and_both_halves_are_taken() {
    let store = TestStore::new();
    let [one, other] = ["a", "b"].map(|name| ssh_key(store.folder(), name, "-t ed25519 -N none"));
    stdout_of(&set_fields(&store, "ssh-key", &[("private", &one.private), ("public", &one.public)]));
    let half = store.run(&["rotate", "ssh-key", "--field", "private=@b"]);
    is_refused(&half, "its field `public` does not belong to its field `private`");
    stdout_of(&store.run(&["rotate", "ssh-key", "--field", "private=@b", "--field", "public=@b.pub"]));
    assert_eq!(stdout_of(&store.run(&["get", "ssh-key.public"])), other.public);
}

fn json(store: &TestStore, args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&stdout_of(&store.run(&[&["--json"], args].concat()))).expect("JSON")
}

#[test]
fn edits_change_what_they_name_and_add_no_version() {
    let store = TestStore::new();
    let set = ["set", "k", "--label", "openai", "--tag", "a", "--tag", "b", "--description", "old"];
    stdout_of(&store.run_with(&set, "v"));
    let edited =
        json(&store, &["edit", "k", "--tag", "c", "--untag", "a", "--description", "", "--expires", "30d"]);
    assert_eq!(edited["tags"], serde_json::json!(["b", "c"]));
    assert_eq!((&edited["description"], &edited["label"]), (&serde_json::Value::Null, &"openai".into()));
    assert_eq!((&edited["version"], &edited["latest"]), (&1.into(), &1.into()));
    assert_eq!(json(&store, &["show", "k"]), edited);
    let expiring = |time| json(&store, &["list", "--expiring", time]).as_array().unwrap().len();
    assert_eq!((expiring("29d"), expiring("31d")), (0, 1));
    assert_eq!(json(&store, &["versions", "k"])[0]["expires_at"], edited["expires_at"]);
    stdout_of(&store.run(&["edit", "k", "--expires", "never"]));
    assert_eq!(expiring("31d"), 0);
    assert_eq!(stdout_of(&store.run(&["get", "k"])), "v");
}

/// Until the reader of a mount finds this.
#[track_caller]
fn expect(mounted: &Mounted, file: &str, outcome: Result<&str, i32>) {
    match outcome {
        Ok(text) => assert_eq!(mounted.read(file), text),
        Err(errno) => assert_eq!(mounted.errno(file), errno),
    }
}

#[test]
fn what_is_disabled_or_let_expire_is_refused_at_the_next_open() {
    let mounted = TestMount::new()
        .secret("k", "hunter2")
        .template("f.tpl", "<< secrets.k | default('none') >>")
        .start();
    let run = |args: &[&str]| stdout_of(&mounted.store().run(args));
    expect(&mounted, "f", Ok("hunter2"));
    run(&["disable", "k"]);
    expect(&mounted, "f", Err(libc::EKEYREVOKED));
    assert!(!mounted.store().run(&["get", "k"]).status.success());
    assert!(run(&["show", "k"]).contains("state        disabled\n"));
    assert_eq!(json(mounted.store(), &["list"])[0]["disabled"], true);
    run(&["enable", "k"]);
    expect(&mounted, "f", Ok("hunter2"));
    run(&["edit", "k", "--expires", "1s"]);
    expect(&mounted, "f", Ok("hunter2"));
    std::thread::sleep(Duration::from_millis(1_100));
    expect(&mounted, "f", Err(libc::EKEYEXPIRED));
    run(&["edit", "k", "--expires", "1h"]);
    expect(&mounted, "f", Ok("hunter2"));
    // A new version has its own.
    stdout_of(&mounted.store().run_with(&["rotate", "k"], "hunter3"));
    expect(&mounted, "f", Ok("hunter3"));
    assert_eq!(json(mounted.store(), &["show", "k"])["expires_at"], serde_json::Value::Null);
}

/// By what a secret is like: always the one that is like that at the moment of the open.
#[test]
fn a_template_finds_the_one_secret_with_a_label_and_a_type() {
    let mounted = TestMount::new()
        .secret("other", "x")
        .template("f.tpl", "<< secret(label='open ai', type='api-key') >>")
        .template("soft.tpl", "<< secret(label='open ai') | default('none') >>")
        .template("db.tpl", "<< secret(label='shop').username >>")
        .start();
    let labelled = |name: &str, value: &str| {
        let args = ["set", name, "--type", "api-key", "--label", "open ai"];
        stdout_of(&mounted.store().run_with(&args, value));
    };
    let run = |args: &[&str]| stdout_of(&mounted.store().run(args));
    expect(&mounted, "f", Err(libc::ENOKEY));
    expect(&mounted, "soft", Ok("none"));
    labelled("one", "v1");
    expect(&mounted, "f", Ok("v1"));
    expect(&mounted, "soft", Ok("v1"));
    labelled("one", "v2");
    expect(&mounted, "f", Ok("v2"));
    // Two are an error, and no default hides it.
    labelled("two", "v3");
    expect(&mounted, "f", Err(libc::EIO));
    expect(&mounted, "soft", Err(libc::EIO));
    let mut ask = Command::new(tool("getfattr"));
    ask.args(["--only-values", "--absolute-names", "-n", "user.secretfs.error"]).arg(mounted.path("f"));
    let reason = stdout_of(&ask.output().unwrap());
    assert!(reason.contains("with the label `open ai` and the type api-key"), "{reason}");
    assert!(reason.contains("2 secrets are like that") && !reason.contains("v3"), "{reason}");
    // What is disabled does not count beside another, and alone it is what it is.
    run(&["disable", "one"]);
    expect(&mounted, "f", Ok("v3"));
    run(&["disable", "two"]);
    expect(&mounted, "f", Err(libc::EKEYREVOKED));
    run(&["enable", "one"]);
    expect(&mounted, "f", Ok("v2"));
    run(&["edit", "one", "--label", "else"]);
    expect(&mounted, "f", Err(libc::EKEYREVOKED));
    run(&["rm", "two", "--yes"]);
    expect(&mounted, "f", Err(libc::ENOKEY));
    stdout_of(&mounted.store().run_with(
        &["set", "db", "--type", "basic-auth", "--label", "shop", "--from-json"],
        r#"{"username": "app", "password": "p"}"#,
    ));
    expect(&mounted, "db", Ok("app"));
    run(&["edit", "other", "--label", "shop"]);
    expect(&mounted, "db", Err(libc::EIO));
}

/// Another namespace's secrets are not like anything here.
#[test]
fn a_label_finds_nothing_in_another_namespace() {
    let store = TestStore::new();
    store.set("a", "x");
    stdout_of(&store.run_with(&["--namespace", "other", "set", "k", "--label", "l"], "v"));
    fs::write(store.folder().join("t.tpl"), "<< secret(label='l') >>").unwrap();
    let refused = store.run(&["render", "t.tpl"]);
    assert_eq!(refused.status.code(), Some(66));
    assert!(stderr(&refused).contains("try: `secretfs list --label 'l'`"), "{}", stderr(&refused));
    assert_eq!(stdout_of(&store.run(&["--namespace", "other", "render", "t.tpl"])), "v");
}
