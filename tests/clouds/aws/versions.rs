//! Which version of a secret a path means, and what is in it.

use serde_json::json;

use super::{arn, mounted, never_told};
use crate::common::aws::{InAws, Kind};
use crate::common::contract::Source;
use crate::common::programmed::eventually;
use crate::scene::fails;

#[test]
fn stages_ids_and_numbers() {
    let aws = InAws::new(Kind::Secrets);
    aws.put("app/db", b"hunter2-old");
    let id = aws.call("get_secret_value", &json!({"SecretId": "app/db"}))["VersionId"]
        .as_str()
        .unwrap()
        .to_owned();
    let old = [("old", "<< secret('p:app/db').version >>")];
    let number = mounted(&aws.provider(), &old).read("old");
    aws.put("app/db", b"hunter2-new");
    let pending =
        json!({"SecretId": "app/db", "SecretString": "hunter2-next", "VersionStages": ["AWSPENDING"]});
    aws.call("put_secret_value", &pending);
    let whole = arn(&aws, "app/db");
    let text = |path: &str| format!("<< secret('p:{path}') >>");
    let texts = [
        ("now", text("app/db")),
        ("before", text("app/db?stage=AWSPREVIOUS")),
        ("next", text("app/db?stage=AWSPENDING")),
        ("by-id", text(&format!("app/db?version={id}"))),
        ("by-number", text(&format!("app/db@{number}"))),
        ("arn", text(&whole)),
        ("no-stage", text("app/db?stage=NONE")),
        ("no-id", text("app/db?version=00000000-0000-0000-0000-000000000000")),
        ("no-number", text("app/db@7")),
        ("no-way", text("app/db?stage=AWSPREVIOUS@7")),
    ];
    let files: Vec<_> = texts.iter().map(|(name, text)| (*name, &**text)).collect();
    let mount = mounted(&aws.provider(), &files);
    for (file, value) in [
        ("now", "hunter2-new"),
        ("before", "hunter2-old"),
        ("next", "hunter2-next"),
        ("by-id", "hunter2-old"),
        ("by-number", "hunter2-old"),
    ] {
        assert_eq!(mount.read(file), value, "{file}");
    }
    for file in ["arn", "no-stage", "no-id", "no-number", "no-way"] {
        fails(&mount, file, libc::ENOKEY, "");
    }
    never_told(&mount, &[]);
    // One name each: by its ARN, where the prefix begins it.
    let (begin, end) = whole.split_at(whole.find("app/").unwrap());
    let by_arn = [("whole", text(end)), ("part", text(&end[..end.len() - 7])), ("name", text("app/db"))];
    let files: Vec<_> = by_arn.iter().map(|(name, text)| (*name, &**text)).collect();
    let mount = mounted(&format!("{}, prefix: '{begin}'", aws.provider()), &files);
    assert_eq!(mount.read("whole"), "hunter2-new");
    for file in ["part", "name"] {
        fails(&mount, file, libc::ENOKEY, "");
    }
}

#[test]
fn fields_bytes_and_a_secret_that_is_about_to_be_deleted() {
    let aws = InAws::new(Kind::Secrets);
    aws.put("json", br#"{"user": "u", "port": 5432, "nested": {"a": 1}}"#);
    aws.put("bytes", b"\xff\x01\xfe");
    aws.put("gone", b"x");
    let files = [
        ("json", "<< secret('p:json#user') >>:<< secret('p:json#port') >>:<< secret('p:json#nested') >>"),
        ("whole", "<< secret('p:json') >>"),
        ("bytes", "<< secret('p:bytes') >>"),
        ("gone", "<< secret('p:gone') | default('d') >>"),
    ];
    let mount = mounted(&format!("{}, cache: {{ttl: 100ms}}", aws.provider()), &files);
    assert_eq!(mount.read("json"), "u:5432:{\"a\": 1}");
    assert_eq!(mount.read("whole"), r#"{"user": "u", "port": 5432, "nested": {"a": 1}}"#);
    assert_eq!(std::fs::read(mount.path("bytes")).unwrap(), b"\xff\x01\xfe");
    assert_eq!(mount.read("gone"), "x", "the control");
    aws.call("delete_secret", &json!({"SecretId": "gone", "RecoveryWindowInDays": 7}));
    eventually("it is taken away", || std::fs::read(mount.path("gone")).is_err());
    fails(&mount, "gone", libc::EKEYREVOKED, "revoked");
}

#[test]
fn versions_and_labels_of_parameters() {
    let aws = InAws::new(Kind::Parameters);
    for value in ["one", "two", "three"] {
        aws.put("app/db", value.as_bytes());
    }
    aws.call(
        "label_parameter_version",
        &json!({"Name": "/app/db", "ParameterVersion": 2, "Labels": ["live"]}),
    );
    aws.call("put_parameter", &json!({"Name": "/app/hosts", "Value": "a,b", "Type": "StringList"}));
    let files = [
        ("now", "<< secret('p:db') >> << secret('p:db').version >>"),
        ("first", "<< secret('p:db:1') >>"),
        ("by-number", "<< secret('p:db@1') >>"),
        ("label", "<< secret('p:db:live') >>"),
        (
            "all",
            "<< secret('p:db') >> << secret('p:db:1') >> << secret('p:db:live') >> << secret('p:hosts') >>",
        ),
        ("none", "<< secret('p:db:9') >>"),
        ("no-label", "<< secret('p:db:dead') >>"),
        ("empty-part", "<< secret('p:a//b') >>"),
    ];
    let mount = mounted(&format!("{}, prefix: /app/", aws.provider()), &files);
    assert_eq!(mount.read("now"), "three 3");
    assert_eq!((mount.read("first"), mount.read("by-number")), ("one".into(), "one".into()));
    assert_eq!(mount.read("label"), "two");
    assert_eq!(mount.read("all"), "three one two a,b", "several versions of one are several questions");
    for file in ["none", "no-label", "empty-part"] {
        fails(&mount, file, libc::ENOKEY, "");
    }
}

#[test]
fn names_are_listed_page_by_page() {
    for kind in [Kind::Secrets, Kind::Parameters] {
        let aws = InAws::new(kind);
        for number in 0..25 {
            aws.put(&format!("app/n{number:02}"), b"v");
        }
        aws.put("other", b"v");
        let prefix = if kind == Kind::Secrets { "app/" } else { "/app/" };
        let provider = format!("{}, prefix: {prefix}", aws.provider());
        let mount = mounted(&provider, &[("f", "<< secret('p:n07') >>")]);
        assert_eq!(mount.read("f"), "v");
        let listed =
            mount.store().command(&["--config", "secretfs.yaml", "provider", "test", "p"]).output().unwrap();
        let said = String::from_utf8_lossy(&listed.stdout);
        assert!(
            listed.status.success() && said.contains("25 secrets"),
            "{said}{}",
            String::from_utf8_lossy(&listed.stderr)
        );
        assert!(said.contains("region") && said.contains(&aws.region), "{said}");
    }
}
