//! Where the keys come from: each way that AWS' programs know, judged by moto, which checks every signature.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{FILE, fails, mounted, never_told, prepared};
use crate::common::aws::{GLOBAL, InAws, Kind, Moto};
use crate::common::contract::Source;
use crate::common::http::{Request, Response, serve_tcp};
use crate::common::{Mounted, TestMount};

fn secrets() -> InAws {
    let aws = InAws::new(Kind::Secrets);
    aws.put("a", b"hunter2-a");
    aws
}

/// The same, signed with other keys than moto's: it says so.
fn is_signed_well(mount: &Mounted, aws: &InAws) {
    let read = fs::read_to_string(mount.path("f"));
    assert_eq!(read.ok().as_deref(), Some("hunter2-a"), "{}", super::reason(mount, "f"));
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
    let bare = aws.bare();
    let without = bare.replace(&format!(", region: {}", aws.region), "");
    let by_variable = given(prepared(&without, &FILE), &aws.secret).env("AWS_REGION", aws.region).start();
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
    let bare = aws.bare().replace(&format!(", region: {}", aws.region), "");
    let region = format!("[profile app]\nregion = {}\n", aws.region);
    let named = prepared(&format!("{bare}, auth: {{profile: app}}"), &FILE);
    is_signed_well(&with_files(named, &profile("app", &aws), &region).start(), &aws);
    let chosen = prepared(&bare, &FILE).env("AWS_PROFILE", "app");
    is_signed_well(&with_files(chosen, &profile("app", &aws), &region).start(), &aws);
    let other = prepared(&format!("{}, auth: {{profile: other}}", aws.bare()), &FILE);
    let other = with_files(other, &profile("app", &aws), &region).start();
    fails(&other, "f", libc::EIO, "no keys for AWS in the profile `other`");
}

#[test]
fn of_a_program() {
    let aws = secrets();
    let mount = prepared(&format!("{}, auth: {{profile: app}}", aws.bare()), &FILE);
    let program = mount.folder().join("keys");
    let said = json!({"Version": 1, "AccessKeyId": aws.id, "SecretAccessKey": aws.secret});
    fs::write(&program, format!("#!/bin/sh\necho '{said}'\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!("[profile app]\ncredential_process = {}\n", program.display());
    is_signed_well(&with_files(mount, "", &config).start(), &aws);
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
    let told = asked.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "its keys are kept: {told:?}");
    assert!(
        told[0].contains("ExternalId=of-the-other") && told[0].contains("RoleSessionName=secretfs"),
        "{told:?}"
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

const TOKEN: &str = "hunter2-imds-token";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// What a machine of AWS is told, as IMDSv2 tells it: nothing without a token.
fn imds(
    asked: &Arc<AtomicUsize>,
    keys: impl Fn(usize) -> Value + Send + Sync + 'static,
    region: &str,
) -> String {
    let (asked, region) = (asked.clone(), region.to_owned());
    serve_tcp(move |request| match (&*request.method, &*request.target) {
        ("PUT", "/latest/api/token") => match request.header("x-aws-ec2-metadata-token-ttl-seconds") {
            Some(ttl) => {
                Response::new(200, TOKEN).header(&format!("x-aws-ec2-metadata-token-ttl-seconds: {ttl}"))
            }
            None => Response::new(400, ""),
        },
        _ if request.header("x-aws-ec2-metadata-token") != Some(TOKEN) => Response::new(401, ""),
        ("GET", target) if target == ROLES => Response::new(200, "app-role"),
        ("GET", target) if target.strip_prefix(ROLES) == Some("app-role") => {
            Response::new(200, keys(asked.fetch_add(1, Ordering::SeqCst)).to_string())
        }
        ("GET", "/latest/meta-data/placement/region") => Response::new(200, region.clone()),
        _ => Response::new(404, ""),
    })
}

/// Keys of a session as a machine is told them: id, secret, token.
fn told([id, secret, token]: [&str; 3]) -> Value {
    json!({"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-11-23T00:00:00Z", "AccessKeyId": id,
        "SecretAccessKey": secret, "Token": token, "Expiration": "2099-01-01T00:00:00Z"})
}

/// Those of a role, which are good with their token only.
fn session(aws: &InAws, name: &str) -> [String; 3] {
    let args = json!({"RoleArn": role(name), "RoleSessionName": "machine"});
    let keys = &Moto::shared().call("sts", aws.region, "assume_role", &args)["Credentials"];
    ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|part| keys[part].as_str().unwrap().to_owned())
}

#[test]
fn of_the_machine() {
    let aws = secrets();
    let [id, secret, token] = session(&aws, "machine");
    let (asked, keys) = (Arc::default(), [id, secret.clone(), token.clone()]);
    let metadata = imds(&asked, move |_| told(keys.each_ref().map(|it| &**it)), aws.region);
    let bare = aws.bare().replace(&format!(", region: {}", aws.region), "");
    let provider = format!("{bare}, auth: {{metadata: 'http://{metadata}'}}, cache: {{ttl: 100ms}}");
    let mount = prepared(&provider, &FILE).env("AWS_EC2_METADATA_DISABLED", "false");
    let mount = mount.env("ALL_PROXY", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9").start();
    is_signed_well(&mount, &aws);
    never_told(&mount, &[TOKEN, &secret, &token]);
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(150));
        assert_eq!(mount.read("f"), "hunter2-a");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "they are kept");
}

/// Keys that are void are asked for anew, once; but not those that we have just been given.
#[test]
fn keys_that_have_expired_are_renewed() {
    let aws = secrets();
    let (asked, keys) = (Arc::default(), session(&aws, "renewed"));
    let metadata = imds(&asked, move |_| told(keys.each_ref().map(|it| &**it)), aws.region);
    let provider = format!("{}, auth: {{metadata: 'http://{metadata}'}}, cache: {{ttl: 100ms}}", aws.bare());
    let mount = prepared(&provider, &FILE).env("AWS_EC2_METADATA_DISABLED", "false").start();
    is_signed_well(&mount, &aws);
    let is_told = std::sync::atomic::AtomicBool::new(false);
    std::thread::sleep(std::time::Duration::from_millis(200));
    aws.front.answer(move |_| {
        let expired = json!({"__type": "ExpiredTokenException", "message": "hunter2"}).to_string();
        (!is_told.swap(true, Ordering::SeqCst)).then(|| Response::new(400, expired))
    });
    is_signed_well(&mount, &aws);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let never = imds(&asked, |_| told(["AKIDNEVER", "hunter2/never", "hunter2"]), aws.region);
    let provider = format!("{}, auth: {{metadata: 'http://{never}'}}", aws.bare());
    let mount = prepared(&provider, &FILE).env("AWS_EC2_METADATA_DISABLED", "false").start();
    fails(&mount, "f", libc::EIO, "does not accept our keys (InvalidClientTokenId)");
    let times = asked.load(Ordering::SeqCst) - 2;
    assert!((2..=4).contains(&times), "once more, and then after a pause: {times}");
}

#[test]
fn of_a_container() {
    let aws = secrets();
    let keys = session(&aws, "container");
    let keys = told(keys.each_ref().map(|it| &**it)).to_string();
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
    assert_eq!(mount.errno("f"), libc::ETIMEDOUT, "{}", super::reason(&mount, "f"));
    println!("a machine that is silent: {:?}", start.elapsed());
    fails(&mount, "f", libc::ETIMEDOUT, "longer than");
}
