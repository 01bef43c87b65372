//! Google's Secret Manager: versions and their states, damage, refusals in Google's words, names. What holds for every
//! provider is in `provider_contract.rs`; who asks is in `identity`, and whether the fake is one in `judge`.

mod identity;
mod judge;
mod page;

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::common::gcp::{Gcp, PROJECT, refused};
use crate::common::http::Response;
use crate::common::programmed::eventually;
use crate::common::{Mounted, stdout_of};
use crate::scene::{ASKED, fails, mounted, ruled, tells_nothing};

fn of(gcp: &Gcp, files: &[(&str, &str)]) -> Mounted {
    mounted(&format!("{}, {ASKED}", gcp.provider(&gcp.key())), files)
}

#[test]
fn versions_have_numbers_and_other_names() {
    let gcp = Gcp::start();
    for value in ["one", "two", "three"] {
        gcp.put("db", value);
    }
    gcp.put("json", r#"{"user": "u", "port": 5432}"#);
    gcp.put_at("other/secrets/db", b"other's");
    gcp.with("db", |it| it.aliases.insert("live".to_owned(), 2));
    let files = [
        ("latest", "<< secret('p:db') >> << secret('p:db').version >>"),
        ("number", "<< secret('p:db@1') >> << secret('p:db/versions/3') >>"),
        ("alias", "<< secret('p:db/versions/live') >> << secret('p:db/versions/live').version >>"),
        ("full", "<< secret('p:projects/p-1/secrets/db') >> << secret('p:projects/other/secrets/db') >>"),
        ("fields", "<< secret('p:json#user') >>:<< secret('p:json#port') >>"),
        ("none", "<< secret('p:db@4') | default('d') >><< secret('p:db/versions/no') | default('d') >>"),
        ("twice", "<< secret('p:db/versions/1@1') | default('d') >>"),
    ];
    let mount = of(&gcp, &files);
    for (file, text) in [
        ("latest", "three 3"),
        ("number", "one three"),
        ("alias", "two 2"),
        ("full", "three other's"),
        ("fields", "u:5432"),
        ("none", "dd"),
    ] {
        assert_eq!(mount.read(file), text, "{file}");
    }
    fails(&mount, "twice", libc::EIO, "names a version twice");
    gcp.with("db", |it| it.aliases.insert("live".to_owned(), 3));
    eventually("the alias has moved", || mount.read("alias") == "three 3");
    assert_eq!(gcp.calls("list"), 0);
}

#[test]
fn secrets_of_a_region_are_asked_for_there() {
    let gcp = Gcp::start();
    gcp.put("db", "everywhere");
    gcp.put_at(&format!("{PROJECT}/locations/europe-west1/secrets/db"), b"in Europe");
    let provider = format!("{}, location: europe-west1, {ASKED}", gcp.provider(&gcp.key()));
    let long = "<< secret('p:projects/p-1/locations/europe-west1/secrets/db') >>";
    let elsewhere = "<< secret('p:projects/p-1/locations/us-east1/secrets/db') | default('d') >>";
    let mount =
        mounted(&provider, &[("f", "<< secret('p:db') >>"), ("long", long), ("elsewhere", elsewhere)]);
    assert_eq!((mount.read("f"), mount.read("long")), ("in Europe".into(), "in Europe".into()));
    fails(&mount, "elsewhere", libc::EIO, "another location");
}

/// Whoever disables the newest version means it: no elder one, no default, and nothing from before.
#[test]
fn a_version_that_is_taken_away_is_not_served() {
    let gcp = Gcp::start();
    gcp.put("db", "one");
    gcp.put("db", "two");
    let text = "<< secret('p:db') | default('d') >>";
    let provider = format!("{}, cache: {{ttl: 1ms, max_stale: 1h}}", gcp.provider(&gcp.key()));
    let mount = mounted(&provider, &[("f", text), ("first", "<< secret('p:db@1') >>")]);
    assert_eq!(mount.read("f"), "two", "the control");
    for state in ["DISABLED", "DESTROYED"] {
        gcp.with("db", |it| it.set_state(2, state));
        eventually(state, || {
            fs::read(mount.path("f")).is_err_and(|it| it.raw_os_error() == Some(libc::EKEYREVOKED))
        });
        assert_eq!(mount.read("first"), "one", "its elder version can be named");
    }
    gcp.with("db", |it| it.set_state(2, "ENABLED"));
    eventually("it is there again", || fs::read(mount.path("f")).is_ok_and(|it| it == b"two"));
}

#[test]
fn what_is_damaged_on_its_way_is_asked_for_once_more() {
    let gcp = Gcp::start();
    gcp.put("db", "hunter2");
    let mount = of(&gcp, &[("f", "<< secret('p:db') | default('d') >>")]);
    gcp.state().damaged = 1;
    assert_eq!(mount.read("f"), "hunter2");
    assert_eq!((gcp.calls("access"), gcp.state().damaged), (2, 0));
    gcp.state().damaged = 1_000;
    eventually("it is not served", || fs::read(mount.path("f")).is_err());
    fails(&mount, "f", libc::EIO, "CRC-32C");
    gcp.state().damaged = 0;
    eventually("it heals", || fs::read(mount.path("f")).is_ok_and(|it| it == b"hunter2"));
    tells_nothing(&mount.stderr());
}

/// By Google's words, not by the number alone. The control of each: without it the same file can be read.
#[test]
fn a_refusal_is_known_by_its_words() {
    let gcp = Gcp::start();
    gcp.put("db", "hunter2");
    let detail =
        |reason: &str| json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]);
    let page = |status| Response::new(status, "<html>31337-");
    type Answer<'a> = Box<dyn Fn() -> Response + 'a>;
    let cases: Vec<(Answer<'_>, &str, &str)> = vec![
        (
            Box::new(|| refused(403, "PERMISSION_DENIED", "31337-", detail("IAM_PERMISSION_DENIED"))),
            "(PERMISSION_DENIED, IAM_PERMISSION_DENIED): roles/secretmanager.secretAccessor",
            "auth",
        ),
        (
            Box::new(|| refused(403, "PERMISSION_DENIED", "31337-", detail("31337- x"))),
            "(PERMISSION_DENIED):",
            "auth",
        ),
        (
            Box::new(|| refused(400, "FAILED_PRECONDITION", "key 31337-", json!([]))),
            "key of encryption",
            "auth",
        ),
        (Box::new(|| refused(400, "INVALID_ARGUMENT", "31337-", json!([]))), "(INVALID_ARGUMENT)", "decode"),
        (Box::new(|| refused(503, "UNAVAILABLE", "31337-", json!([]))), "(UNAVAILABLE)", "unavailable"),
        (Box::new(|| refused(429, "RESOURCE_EXHAUSTED", "31337-", json!([]))), "quota", "throttled"),
        (Box::new(|| page(404)), "check `address`", "decode"),
        (Box::new(|| page(403)), "something before it", "unavailable"),
        (Box::new(|| page(401)), "something before it", "unavailable"),
    ];
    for (answer, says, kind) in cases {
        let mount = of(&gcp, &[("f", "<< secret('p:db') | default('d') >>")]);
        assert_eq!(mount.read("f"), "hunter2", "the control");
        gcp.state().instead = (0..100).map(|_| answer()).collect();
        eventually(says, || fs::read(mount.path("f")).is_err());
        fails(&mount, "f", libc::EIO, says);
        mount.await_log(&format!("kind=\"{kind}\""), 1);
        gcp.state().instead.clear();
        tells_nothing(&mount.stderr());
    }
}

/// It says how long it wants to be left alone, and is.
#[test]
fn a_quota_that_is_used_up_is_respected() {
    let gcp = Gcp::start();
    gcp.put("db", "hunter2");
    let mount = of(&gcp, &[("f", "<< secret('p:db') >>")]);
    assert_eq!(mount.read("f"), "hunter2", "the control");
    let retry = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3600s"}]);
    gcp.state().instead = (0..100).map(|_| refused(429, "RESOURCE_EXHAUSTED", "no", retry.clone())).collect();
    eventually("it is throttled", || fs::read(mount.path("f")).is_err());
    let asked = gcp.calls("access");
    for _ in 0..20 {
        assert_eq!(mount.errno("f"), libc::EIO);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(gcp.calls("access"), asked, "it is left alone");
}

#[test]
fn what_cannot_be_a_name_there_is_missing_and_not_asked_for() {
    let gcp = Gcp::start();
    gcp.put("a", "hunter2");
    let names =
        ["a/b", "..", "../a", "a b", "é", "%61", "a?x", "a/versions/0", "projects/../secrets/a", "a.b"];
    let texts = names.map(|name| format!("<< secret(\"p:{name}\") | default('none') >>"));
    let files: Vec<_> = texts.iter().enumerate().map(|(at, text)| (format!("f{at}"), text)).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (&**name, &***text)).collect();
    let mount = of(&gcp, &files);
    for (file, text) in &files {
        assert_eq!(mount.read(file), "none", "{text}");
    }
    assert_eq!(gcp.calls("access"), 0);
}

/// Else a rule on a secret would be gone round by another of its names.
#[test]
fn where_there_are_rules_a_secret_has_one_name() {
    let gcp = Gcp::start();
    gcp.put("db", "hunter2");
    let files = [
        ("own", "<< secret('p:db') >>"),
        ("full", "<< secret('p:projects/p-1/secrets/db') >>"),
        ("pinned", "<< secret('p:db/versions/1') >>"),
    ];
    let free = of(&gcp, &files);
    for file in ["own", "full", "pinned"] {
        assert_eq!(free.read(file), "hunter2", "the control");
    }
    let ruled = ruled(&gcp.provider(&gcp.key()), "{secrets: ['p:db'], deny: [{uid: 4242}]}", &files).start();
    assert_eq!(ruled.read("own"), "hunter2");
    for file in ["full", "pinned"] {
        fails(&ruled, file, libc::EIO, "each has one name");
    }
}

#[test]
fn names_come_page_by_page_and_only_for_people() {
    let gcp = Gcp::start();
    for number in 0..2_500 {
        gcp.put(&format!("s-{number}"), "x");
    }
    gcp.put_at(&format!("{PROJECT}/locations/europe-west1/secrets/regional"), b"x");
    let mount = of(&gcp, &[("f", "<< secret('p:s-1') >>")]);
    assert_eq!(mount.read("f"), "x");
    assert_eq!(gcp.calls("list"), 0);
    let test = ["--config", "secretfs.yaml", "provider", "test", "p", "--read", "s-2"];
    let told = stdout_of(&mount.store().command(&test).output().unwrap());
    assert!(told.contains("2500 secrets"), "{told}");
    assert!(told.contains("service account app@p-1.iam.gserviceaccount.com"), "{told}");
    let show = ["--config", "secretfs.yaml", "provider", "show", "p"];
    let shown = stdout_of(&mount.store().command(&show).output().unwrap());
    assert!(shown.contains("gcp-sm") && shown.contains("credentials from file:"), "{shown}");
}

/// One login, however many ask; the answers of a cold file come from one question each.
#[test]
fn many_secrets_are_one_login() {
    let gcp = Gcp::start();
    let text: String = (0..100)
        .map(|number| {
            gcp.put(&format!("s-{number}"), format!("<{number}>"));
            format!("<< secret('p:s-{number}') >>")
        })
        .collect();
    let file = gcp.user_file("user.json", "");
    let mount = mounted(&gcp.provider(&file), &[("f", &text)]);
    assert_eq!(mount.read("f"), (0..100).map(|number| format!("<{number}>")).collect::<String>());
    assert_eq!((gcp.calls("token"), gcp.calls("access")), (1, 100));
}
