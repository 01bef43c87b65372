//! Who we are for Google: each kind of credentials, a token that is void or at its end, and what is refused.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::common::Mounted;
use crate::common::gcp::Gcp;
use crate::common::http::{Response, serve_tcp};
use crate::common::programmed::eventually;
use crate::scene::{ASKED, fails, mounted, prepared, reason, tells_nothing};

const FILE: [(&str, &str); 1] = [("f", "<< secret('p:db') | default('d') >>")];

fn served() -> Gcp {
    let gcp = Gcp::start();
    gcp.put("db", "hunter2");
    gcp
}

fn with(gcp: &Gcp, file: &Path) -> Mounted {
    mounted(&format!("{}, {ASKED}", gcp.provider(file)), &FILE)
}

#[track_caller]
fn is_served(mount: &Mounted) {
    let said = fs::read_to_string(mount.path("f"));
    assert_eq!(said.ok().as_deref(), Some("hunter2"), "{}", reason(mount, "f"));
    tells_nothing(&mount.stderr());
}

#[test]
fn each_kind_of_credentials() {
    let gcp = served();
    for (name, file, calls) in gcp.all_kinds() {
        let before = gcp.state().calls.len();
        is_served(&with(&gcp, &file));
        assert_eq!(gcp.state().calls[before..], [&calls[..], &["access"]].concat(), "{name}");
    }
}

#[test]
fn who_pays_is_told_if_it_is_not_the_project() {
    let gcp = served();
    is_served(&with(&gcp, &gcp.user_file("user.json", "")));
    assert_eq!(gcp.state().quota_project, None, "the control");
    is_served(&with(&gcp, &gcp.user_file("user.json", "payer-1")));
    assert_eq!(gcp.state().quota_project.as_deref(), Some("payer-1"));
}

/// In their order: the variable, what gcloud has left, the machine.
#[test]
fn what_every_program_of_googles_finds() {
    let gcp = served();
    let start = |left: bool, variable: Option<&Path>| {
        let test = prepared(&format!("{}, {ASKED}", gcp.settings()), &FILE);
        let test = test.env("GCE_METADATA_HOST", &gcp.address().to_string());
        if left {
            let folder = test.folder().join(".config/gcloud");
            fs::create_dir_all(&folder).unwrap();
            let user = fs::read(gcp.user_file("left.json", "")).unwrap();
            fs::write(folder.join("application_default_credentials.json"), user).unwrap();
        }
        match variable {
            Some(path) => test.env("GOOGLE_APPLICATION_CREDENTIALS", &path.display().to_string()).start(),
            None => test.start(),
        }
    };
    let asked = || [gcp.calls("token"), gcp.calls("machine")];
    is_served(&start(true, Some(&gcp.key())));
    assert_eq!(asked(), [0, 0], "the key");
    is_served(&start(true, None));
    assert_eq!(asked(), [1, 0], "what is left");
    is_served(&start(false, None));
    assert_eq!(asked(), [1, 1], "the machine");
    let gone = gcp.key().with_file_name("gone.json");
    fails(&start(true, Some(&gone)), "f", libc::EIO, "gone.json");
    // Nobody stands in for whom a file has told of.
    gcp.state().life = 1;
    let mount = start(true, None);
    is_served(&mount);
    fs::remove_file(mount.store().folder().join(".config/gcloud/application_default_credentials.json"))
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    fails(&mount, "f", libc::EIO, "are gone");
    assert_eq!(asked()[1], 1);
}

#[test]
fn the_machine_is_asked_where_the_config_says() {
    let gcp = served();
    let at = |address: &str| {
        let auth = format!("auth: {{method: metadata, metadata: 'http://{address}'}}");
        let mount = prepared(&format!("{}, {auth}, {ASKED}", gcp.settings()), &FILE);
        mount.env("ALL_PROXY", "http://127.0.0.1:9").start()
    };
    is_served(&at(&gcp.address().to_string()));
    assert_eq!(gcp.calls("machine"), 1);
    let token = r#"{"access_token": "31337-", "expires_in": 3599, "token_type": "Bearer"}"#;
    let other = serve_tcp(move |_| Response::new(200, token));
    fails(&at(&other), "f", libc::EIO, "what answers there is not Google's");
    let none = serve_tcp(|_| Response::new(404, "").header("Metadata-Flavor: Google"));
    fails(&at(&none), "f", libc::EIO, "has no service account");
}

/// One that was void so soon may be so again: what comes between is a refusal, and nothing older.
#[test]
fn a_token_that_is_void_is_had_anew() {
    let gcp = served();
    let mount = with(&gcp, &gcp.user_file("user.json", ""));
    is_served(&mount);
    is_served(&mount);
    assert_eq!(gcp.calls("token"), 1, "the control: it is kept");
    gcp.revoke();
    let asked = gcp.calls("access");
    eventually("it is had anew", || {
        let said = fs::read(mount.path("f"));
        assert!(said.is_err() || said.is_ok_and(|it| it == b"hunter2"));
        gcp.calls("token") == 2 && gcp.calls("access") > asked + 1
    });
    is_served(&mount);
    assert_eq!(gcp.calls("token"), 2);
}

#[test]
fn a_token_at_its_end_is_not_used() {
    let gcp = served();
    gcp.state().life = 1;
    let mount = with(&gcp, &gcp.user_file("user.json", ""));
    is_served(&mount);
    std::thread::sleep(Duration::from_millis(1500));
    is_served(&mount);
    // The fake would still take the old one.
    assert!(gcp.calls("token") > 1);
}

#[test]
fn a_key_is_read_anew_when_it_is_no_good() {
    let gcp = served();
    let mount = with(&gcp, &gcp.key());
    is_served(&mount);
    gcp.revoke();
    eventually("it is refused", || fs::read(mount.path("f")).is_err());
    fails(&mount, "f", libc::EIO, "does not take the token");
    gcp.grant(&gcp.key());
    eventually("the new key is taken up", || fs::read(mount.path("f")).is_ok_and(|it| it == b"hunter2"));
    tells_nothing(&mount.stderr());
}

#[test]
fn credentials_that_are_refused_say_so() {
    let gcp = served();
    let changed = |name: &str, file: &Path, change: &dyn Fn(&mut serde_json::Value)| {
        let mut content = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        change(&mut content);
        gcp.file(name, &content)
    };
    let kinds = gcp.all_kinds();
    let file = |name: &str| kinds.iter().find(|(it, ..)| *it == name).unwrap().1.clone();
    let cases = [
        (
            changed("a", &file("user"), &|it| it["refresh_token"] = "31337-old".into()),
            "refuses our credentials (invalid_grant)",
        ),
        (
            changed("b", &file("federated by a file"), &|it| it["audience"] = "31337-".into()),
            "refuses our credentials (invalid_request)",
        ),
        (
            changed("c", &file("impersonated"), &|it| {
                let url = format!("{}/v1/projects/-/serviceAccounts/x@p:generateAccessToken", gcp.url());
                it["service_account_impersonation_url"] = url.into();
            }),
            "refuses our credentials (PERMISSION_DENIED)",
        ),
        (
            changed("d", &file("federated by a URL"), &|it| {
                it["credential_source"]["headers"] = json!({"X-Own": "31337-other"});
            }),
            "check its `headers`",
        ),
        (
            changed("e", &file("federated by a URL"), &|it| {
                it["credential_source"]["format"]["subject_token_field_name"] = "none".into();
            }),
            "has no text `none`",
        ),
        (
            changed("f", &file("user"), &|it| it["token_uri"] = "http://sts.example/token".into()),
            "`token_uri` that is no https://",
        ),
        (
            changed("g", &file("federated by a file"), &|it| {
                it["credential_source"] =
                    json!({"environment_id": "aws1", "region_url": "http://169.254.169.254/x"});
            }),
            "AWS",
        ),
        (
            changed("h", &file("federated by a file"), &|it| {
                it["credential_source"] = json!({"executable": {"command": "/bin/echo 31337-"}});
            }),
            "`executable`",
        ),
        (changed("i", &gcp.key(), &|it| it["private_key"] = "31337-".into()), "no private key of RSA"),
    ];
    for (file, says) in cases {
        let mount = with(&gcp, &file);
        fails(&mount, "f", libc::EIO, says);
        tells_nothing(&mount.stderr());
    }
    assert_eq!(gcp.calls("access"), 0);
}
