//! Where the keys come from: each way that AWS' programs know, judged by moto, which checks every signature.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{FILE, mounted, never_told, prepared};
use crate::common::aws::{GLOBAL, InAws, Kind, Machine, Moto, told};
use crate::common::contract::Source;
use crate::common::http::{Request, Response, serve_tcp};
use crate::common::{Mounted, TestMount};
use crate::scene::{fails, reason};

fn secrets() -> InAws {
    let aws = InAws::new(Kind::Secrets);
    aws.put("a", b"hunter2-a");
    aws
}

/// The same, signed with other keys than moto's: it says so.
fn is_signed_well(mount: &Mounted, aws: &InAws) {
    let read = fs::read_to_string(mount.path("f"));
    assert_eq!(read.ok().as_deref(), Some("hunter2-a"), "{}", reason(mount, "f"));
    never_told(mount, &[&aws.secret]);
}

#[test]
fn of_our_own_store() {
    let aws = secrets();
    let auth = "access_key_id: 'store:aws-id', secret_access_key: 'store:aws/secret'";
    let mount = prepared(&format!("{}, auth: {{{auth}}}", aws.bare()), &FILE);
    let mount = mount.secret("aws-id", &aws.id).secret("aws/secret", &aws.secret);
    is_signed_well(&mount.start(), &aws);
}

#[test]
fn of_variables() {
    let aws = secrets();
    let given = |mount: TestMount, secret: &str| {
        mount.env("AWS_ACCESS_KEY_ID", &aws.id).env("AWS_SECRET_ACCESS_KEY", secret)
    };
    is_signed_well(&given(prepared(&aws.bare(), &FILE), &aws.secret).start(), &aws);
    let wrong = given(prepared(&aws.bare(), &FILE), "hunter2/wrong").start();
    fails(&wrong, "f", libc::EIO, "does not accept our keys (SignatureDoesNotMatch)");
    let without = aws.anywhere();
    let by_variable = given(prepared(&without, &FILE), &aws.secret).env("AWS_REGION", &aws.region).start();
    is_signed_well(&by_variable, &aws);
    let nowhere = given(prepared(&without, &FILE), &aws.secret).start();
    fails(&nowhere, "f", libc::EIO, "no region for AWS: set `region`");
}

/// Files of AWS, where its programs look for them.
fn with_files(mount: TestMount, credentials: &str, config: &str) -> TestMount {
    let folder = mount.folder().join(".aws");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("credentials"), credentials).unwrap();
    fs::write(folder.join("config"), config).unwrap();
    mount
}

fn profile(name: &str, aws: &InAws) -> String {
    format!("[{name}]\naws_access_key_id = {}\naws_secret_access_key = {}\n", aws.id, aws.secret)
}

#[test]
fn of_a_profile() {
    let aws = secrets();
    let region = format!("[profile app]\nregion = {}\n", aws.region);
    let named = prepared(&format!("{}, auth: {{profile: app}}", aws.anywhere()), &FILE);
    is_signed_well(&with_files(named, &profile("app", &aws), &region).start(), &aws);
    let chosen = prepared(&aws.anywhere(), &FILE).env("AWS_PROFILE", "app");
    is_signed_well(&with_files(chosen, &profile("app", &aws), &region).start(), &aws);
    let other = prepared(&format!("{}, auth: {{profile: other}}", aws.bare()), &FILE);
    let other = with_files(other, &profile("app", &aws), &region).start();
    fails(&other, "f", libc::EIO, "no keys for AWS in the profile `other`");
}

/// A profile whose keys a program prints; what runs it has the secret of somebody else, and it writes down what it has.
fn with_program(aws: &InAws, provider: &str, script: &str, config: &str) -> TestMount {
    let mount = prepared(provider, &FILE).env("OTHERS_TOKEN", "hunter2-other");
    let folder = mount.folder().display().to_string();
    let said = json!({"Version": 1, "AccessKeyId": aws.id, "SecretAccessKey": aws.secret});
    fs::write(mount.folder().join("said"), said.to_string()).unwrap();
    let program = format!("#!/bin/sh\ncat /proc/self/environ > {folder}/environ\n{script}\n");
    fs::write(mount.folder().join("keys"), program).unwrap();
    fs::set_permissions(mount.folder().join("keys"), fs::Permissions::from_mode(0o755)).unwrap();
    let config =
        format!("{config}\n[profile program]\ncredential_process = '{folder}/keys' \"$HOME/said\"\n");
    with_files(mount, "", &config)
}

#[test]
fn of_a_program() {
    let aws = secrets();
    let provider = format!("{}, auth: {{profile: program}}", aws.bare());
    let mount = with_program(&aws, &provider, "exec cat \"$1\"", "").env("AWS_REGION", "r").start();
    is_signed_well(&mount, &aws);
    let environ = fs::read_to_string(mount.store().folder().join("environ")).unwrap();
    let names: Vec<_> = environ.split_terminator('\0').map(|it| it.split('=').next().unwrap()).collect();
    assert!(names.contains(&"HOME") && names.contains(&"AWS_REGION"), "the control: {names:?}");
    assert!(!names.contains(&"OTHERS_TOKEN") && !environ.contains("hunter2"), "{names:?}");
    let failing = with_program(&aws, &provider, "cat \"$1\"; echo hunter2 >&2; exit 3", "").start();
    fails(&failing, "f", libc::EIO, "in the profile `program`: its `credential_process` ended with status 3");
    let silent = with_program(&aws, &provider, "echo hunter2", "").start();
    fails(&silent, "f", libc::EIO, "its `credential_process` prints no keys");
    // The library's own way goes on from there.
    let arn = role("by-program");
    let config = format!("[profile app]\nrole_arn = {arn}\nsource_profile = program\n");
    let mount = with_program(&aws, &aws.bare(), "exec cat \"$1\"", &config).env("AWS_PROFILE", "app");
    let mount = mount.env("AWS_ENDPOINT_URL_STS", &format!("http://{}", aws.front.address)).start();
    is_signed_well(&mount, &aws);
    never_told(&mount, &["hunter2-other"]);
}

/// A role that whoever has keys may take on.
fn role(name: &str) -> String {
    let moto = Moto::shared();
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]});
    let made = moto.try_call(
        "iam",
        GLOBAL,
        "create_role",
        &json!({"RoleName": name, "AssumeRolePolicyDocument": trust.to_string()}),
    );
    let every =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let args = json!({"RoleName": name, "PolicyName": "all", "PolicyDocument": every.to_string()});
    moto.call("iam", GLOBAL, "put_role_policy", &args);
    made["Role"]["Arn"].as_str().unwrap().to_owned()
}

#[test]
fn of_a_role_that_is_taken_on() {
    let aws = secrets();
    let arn = role("taken-on");
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = asked.clone();
    aws.front.answer(move |request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        if body.contains("Action=AssumeRole") {
            seen.lock().unwrap().push(body);
        }
        None
    });
    let sts = format!("sts_endpoint: 'http://{}'", aws.front.address);
    let auth = format!("role: '{arn}', external_id: of-the-other, {sts}");
    let keys = aws.provider();
    let provider = keys.replace("auth: {", &format!("auth: {{{auth}, "));
    let mount = mounted(&format!("{provider}, cache: {{ttl: 100ms}}"), &FILE);
    is_signed_well(&mount, &aws);
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(mount.read("f"), "hunter2-a");
    }
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1, "its keys are kept: {asked:?}");
    assert!(
        asked[0].contains("ExternalId=of-the-other") && asked[0].contains("RoleSessionName=secretfs"),
        "{asked:?}"
    );
    // The way of its own programs: by the profile and the variables.
    let config = format!("[profile app]\nrole_arn = {arn}\nsource_profile = base\n");
    let by_profile = prepared(&format!("{}, auth: {{profile: app}}", aws.bare()), &FILE);
    let by_profile = by_profile.env("AWS_ENDPOINT_URL_STS", &format!("http://{}", aws.front.address));
    is_signed_well(&with_files(by_profile, &profile("base", &aws), &config).start(), &aws);
    let wrong = provider.replace("/secret'", "/wrong'");
    fails(&mounted(&wrong, &FILE), "f", libc::EIO, "does not let us take on the role");
}

/// By a question without a signature, which moto does not answer while it checks them: a stub in its place.
#[test]
fn of_a_web_identity() {
    let aws = secrets();
    let [id, secret, token] = session(&aws, "web-identity");
    aws.front.answer(move |request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        if !body.contains("Action=AssumeRoleWithWebIdentity") {
            return None;
        }
        if !body.contains("WebIdentityToken=hunter2.web.identity") || request.header("authorization").is_some() {
            let refused = "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>";
            return Some(Response::new(400, refused));
        }
        let keys = format!(
            "<Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
             <SessionToken>{token}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
        );
        let of_whom = "<AssumedRoleUser><AssumedRoleId>x</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/x/y</Arn></AssumedRoleUser>";
        Some(Response::new(200, format!("<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>{keys}{of_whom}</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>")))
    });
    let start = |text: &str| {
        let mount = prepared(&aws.bare(), &FILE);
        let token = mount.folder().join("token");
        fs::write(&token, text).unwrap();
        let mount = mount.env("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap());
        let mount = mount.env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/web-identity");
        mount.env("AWS_ENDPOINT_URL_STS", &format!("http://{}", aws.front.address)).start()
    };
    is_signed_well(&start("hunter2.web.identity"), &aws);
    fails(&start("another"), "f", libc::EIO, "refuses it (InvalidIdentityToken)");
}

/// Keys of a role: id, secret and token, which are good together only.
fn session(aws: &InAws, name: &str) -> [String; 3] {
    let args = json!({"RoleArn": role(name), "RoleSessionName": "machine"});
    let keys = &Moto::shared().call("sts", &aws.region, "assume_role", &args)["Credentials"];
    ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|part| keys[part].as_str().unwrap().to_owned())
}

fn of(machine: &Machine) -> String {
    format!("auth: {{metadata: 'http://{}'}}", machine.address)
}

#[test]
fn of_the_machine() {
    let aws = secrets();
    let keys = session(&aws, "machine");
    let machine = Machine::with(&keys, &aws.region);
    let provider = format!("{}, {}, cache: {{ttl: 100ms}}", aws.anywhere(), of(&machine));
    let mount = prepared(&provider, &FILE).env("AWS_EC2_METADATA_DISABLED", "false");
    let mount = mount.env("ALL_PROXY", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9").start();
    is_signed_well(&mount, &aws);
    never_told(&mount, &[&keys[1], &keys[2]]);
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(150));
        assert_eq!(mount.read("f"), "hunter2-a");
    }
    assert_eq!(machine.asked(), 1, "they are kept");
}

/// Keys that are void are asked for anew, once; but not those that we have just been given.
#[test]
fn keys_that_have_expired_are_renewed() {
    let aws = secrets();
    let machine = Machine::with(&session(&aws, "renewed"), &aws.region);
    let provider = format!("{}, {}, cache: {{ttl: 100ms}}", aws.bare(), of(&machine));
    let mount = prepared(&provider, &FILE).env("AWS_EC2_METADATA_DISABLED", "false").start();
    is_signed_well(&mount, &aws);
    let is_told = AtomicBool::new(false);
    std::thread::sleep(std::time::Duration::from_millis(200));
    aws.front.answer(move |_| {
        let expired = json!({"__type": "ExpiredTokenException", "message": "hunter2"}).to_string();
        (!is_told.swap(true, Ordering::SeqCst)).then(|| Response::new(400, expired))
    });
    is_signed_well(&mount, &aws);
    assert_eq!(machine.asked(), 2);
    let machine = Machine::with(&["AKIDNEVER", "hunter2/never", "hunter2"], &aws.region);
    let provider = format!("{}, {}", aws.bare(), of(&machine));
    let mount = prepared(&provider, &FILE).env("AWS_EC2_METADATA_DISABLED", "false").start();
    fails(&mount, "f", libc::EIO, "does not accept our keys (InvalidClientTokenId)");
    let times = machine.asked();
    assert!((2..=4).contains(&times), "once more, and then after a pause: {times}");
}

#[test]
fn of_a_container() {
    let aws = secrets();
    let keys = told(&session(&aws, "container"));
    let metadata = serve_tcp(move |request: &Request| match request.header("authorization") {
        Some("hunter2-container") if request.target == "/v1/credentials?x=1" => {
            Response::new(200, keys.clone())
        }
        _ => Response::new(401, ""),
    });
    let mount = |token: &str| {
        let mount = prepared(&aws.bare(), &FILE).env("ALL_PROXY", "http://127.0.0.1:9");
        let mount =
            mount.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://{metadata}/v1/credentials?x=1"));
        mount.env("AWS_CONTAINER_AUTHORIZATION_TOKEN", token).start()
    };
    is_signed_well(&mount("hunter2-container"), &aws);
    fails(&mount("another"), "f", libc::EIO, "refuses it (status 401)");
}

#[test]
fn of_nowhere() {
    let aws = secrets();
    fails(&mounted(&aws.bare(), &FILE), "f", libc::EIO, "no keys for AWS: AWS_ACCESS_KEY_ID is not set");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metadata = silent.local_addr().unwrap();
    let provider = format!("{}, auth: {{metadata: 'http://{metadata}'}}, timeout: 30s", aws.bare());
    let mount = prepared(&provider, &FILE).env("AWS_EC2_METADATA_DISABLED", "false").start();
    let start = std::time::Instant::now();
    assert_eq!(mount.errno("f"), libc::ETIMEDOUT, "{}", reason(&mount, "f"));
    println!("a machine that is silent: {:?}", start.elapsed());
    fails(&mount, "f", libc::ETIMEDOUT, "longer than");
}
