//! Each method of login, with what is said when it fails; tokens that are renewed, had anew, and given back.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use crate::common::bao::{BY_TOKEN, Bao};
use crate::common::programmed::eventually;
use crate::common::{Mounted, TestMount, stdout_of, tool};
use crate::{fails, tells_nothing};

pub(crate) const FILE: &str = "<< secret('vault:secret/app') >>";

/// A server with a secret that the policy `app` lets read.
pub(crate) fn served() -> Bao {
    prepared(Bao::dev())
}

fn prepared(bao: Bao) -> Bao {
    bao.set("app", json!({"value": "v"}));
    bao.policy("app", "path \"secret/data/*\" { capabilities = [\"read\"] }");
    bao
}

/// A role of approle with these settings; its id, and a secret id.
pub(crate) fn role(bao: &Bao, about: Value) -> (String, String) {
    // It may be there already.
    bao.call("POST", "sys/auth/approle", Some(json!({"type": "approle"})));
    let mut role = json!({"token_policies": ["app"]});
    role.as_object_mut().unwrap().extend(about.as_object().unwrap().clone());
    bao.put("auth/approle/role/web", role);
    let id = bao.call("GET", "auth/approle/role/web/role-id", None).body["data"]["role_id"].clone();
    let secret = bao.put("auth/approle/role/web/secret-id", json!({}))["data"]["secret_id"].clone();
    (id.as_str().unwrap().to_owned(), secret.as_str().unwrap().to_owned())
}

pub(crate) fn by_approle(bao: &Bao, role_id: &str, secret_id: &str, more: &str) -> TestMount {
    let auth = format!("auth: {{method: approle, role_id: '{role_id}', secret_id: '${{SECRET_ID}}'{more}}}");
    bao.mount(&auth).env("SECRET_ID", secret_id).template("f.tpl", FILE)
}

#[track_caller]
pub(crate) fn never_told(mount: &Mounted, secrets: &[&str]) {
    let log = mount.stderr();
    for secret in secrets {
        assert!(!log.contains(secret), "{log}");
    }
    tells_nothing(&log);
}

#[test]
fn one_login_serves_all_and_is_given_back() {
    let bao = served();
    let (role_id, secret_id) = role(&bao, json!({}));
    let before = bao.tokens();
    let mut files = by_approle(&bao, &role_id, &secret_id, "");
    for number in 0..20 {
        files = files.template(&format!("{number}.tpl"), FILE);
    }
    let mut mount = files.start();
    std::thread::scope(|scope| {
        for number in 0..20 {
            let mount = &mount;
            scope.spawn(move || assert_eq!(mount.read(&number.to_string()), "v"));
        }
    });
    assert_eq!(bao.tokens(), before + 1, "one login, however many ask");
    never_told(&mount, &[&secret_id]);
    assert!(mount.stop().success());
    assert_eq!(bao.tokens(), before, "at the end its token is given back");
    let wrong = by_approle(&bao, &role_id, "hunter2-no-such-id", "").start();
    fails(&wrong, "f", libc::EIO, "invalid role or secret ID");
    fails(&wrong, "f", libc::EIO, "the login at auth/approle");
    let elsewhere = by_approle(&bao, &role_id, &secret_id, ", mount: nowhere").start();
    fails(&elsewhere, "f", libc::EIO, "the login at auth/nowhere");
}

/// A server may lock out who tries again and again.
#[test]
fn a_login_that_was_refused_is_not_hammered() {
    let bao = served();
    bao.put("sys/auth/userpass", json!({"type": "userpass"}));
    bao.put("auth/userpass/users/app", json!({"password": "hunter2", "token_policies": ["app"]}));
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "hunter2-wrong").unwrap();
    let auth = format!("auth: {{method: userpass, username: app, password: 'file:{}'}}", password.display());
    let mount = bao.mount(&auth).template("f.tpl", FILE).start();
    for _ in 0..20 {
        fails(&mount, "f", libc::EIO, "invalid username or password");
    }
    fs::write(&password, "hunter2").unwrap();
    // Had it tried 20 times, the account would be locked for 15 minutes.
    eventually("the right one is taken up", || {
        fs::read_to_string(mount.path("f")).is_ok_and(|text| text == "v")
    });
    never_told(&mount, &[]);
}

/// What is answered there, in a wrapping token.
pub(crate) fn wrapped(bao: &Bao, path: &str) -> String {
    let mut curl = Command::new(tool("curl"));
    curl.args(["-s", "-X", "POST", "-H", "X-Vault-Wrap-TTL: 300", "-d", "{}"]);
    curl.arg("-H").arg(format!("X-Vault-Token: {}", bao.token));
    let said = curl.arg(format!("{}/v1/{path}", bao.address())).output().unwrap();
    let said: Value = serde_json::from_str(&stdout_of(&said)).unwrap();
    said["wrap_info"]["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_wrapped_secret_id_is_used_once() {
    let bao = served();
    let (role_id, _) = role(&bao, json!({}));
    let token = wrapped(&bao, "auth/approle/role/web/secret-id");
    let start = |token: &str| by_approle(&bao, &role_id, token, ", wrapped: true").start();
    let mount = start(&token);
    assert_eq!(mount.read("f"), "v");
    let again = start(&token);
    fails(&again, "f", libc::EIO, "somebody has intercepted it");
    never_told(&again, &[&token]);
    let strange = start(&wrapped(&bao, "sys/wrapping/wrap"));
    fails(&strange, "f", libc::EIO, "not made where secret ids are made");
    drop((again, strange));
    assert_eq!(mount.read("f"), "v", "who has unwrapped it goes on");
}

/// Signs tokens that a server believes who knows its public key.
pub(crate) struct Signer(SigningKey);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(SigningKey::from_bytes(&[7; 32]))
    }

    pub(crate) fn pem(&self) -> String {
        let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        let public = STANDARD.encode([&head[..], self.0.verifying_key().as_bytes()].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n")
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as("EdDSA", claims)
    }

    /// What says so of itself, and is not: for whom nobody checks it but somebody else.
    pub(crate) fn sign_as(&self, algorithm: &str, claims: &Value) -> String {
        let parts = [json!({"alg": algorithm, "typ": "JWT"}), claims.clone()];
        let text = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(text.as_bytes()).to_bytes());
        format!("{text}.{signature}")
    }
}

#[test]
fn a_signed_token_of_somebody_else() {
    let bao = served();
    let (signer, now) = (Signer::new(), jiff::Timestamp::now().as_second());
    let pem = signer.pem();
    let signed = |audience: &str, end: i64| {
        signer.sign(&json!({"iss": "test", "sub": "app", "aud": audience, "iat": now - 600, "exp": end}))
    };
    // A service account's token is sent to its own method in the same way.
    for method in ["jwt", "kubernetes"] {
        bao.put(&format!("sys/auth/{method}"), json!({"type": "jwt"}));
        bao.put(&format!("auth/{method}/config"), json!({"jwt_validation_pubkeys": [pem]}));
        let role = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["secretfs"], "token_policies": ["app"]});
        bao.put(&format!("auth/{method}/role/web"), role);
        let start = |role: &str, token: &str| {
            let auth = format!("auth: {{method: {method}, role: {role}, jwt: '${{SECRETFS_TEST_JWT}}'}}");
            bao.mount(&auth).env("SECRETFS_TEST_JWT", token).template("f.tpl", FILE).start()
        };
        let good = signed("secretfs", now + 600);
        let mount = start("web", &good);
        assert_eq!(mount.read("f"), "v", "{method}");
        never_told(&mount, &[&good]);
        fails(&start("web", &signed("other", now + 600)), "f", libc::EIO, "audience");
        fails(&start("web", &signed("secretfs", now - 300)), "f", libc::EIO, "expired");
        fails(&start("nobody", &good), "f", libc::EIO, "nobody");
        let garbage = start("web", "hunter2.garbage");
        fails(&garbage, "f", libc::EIO, &format!("the login at auth/{method}"));
    }
}

#[test]
fn the_certificate_of_the_connection() {
    let bao = prepared(Bao::dev_tls());
    let make = |name: &str| {
        let [cert, key] = ["pem", "key"].map(|end| bao.folder().join(format!("{name}.{end}")));
        let mut openssl = Command::new(tool("openssl"));
        openssl.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '));
        openssl.args(["-subj", &format!("/CN={name}"), "-addext", "extendedKeyUsage=clientAuth"]);
        stdout_of(&openssl.arg("-keyout").arg(&key).arg("-out").arg(&cert).output().unwrap());
        (cert, key)
    };
    let (known, unknown) = (make("app"), make("stranger"));
    bao.put("sys/auth/cert", json!({"type": "cert"}));
    let pem = fs::read_to_string(&known.0).unwrap();
    bao.put("auth/cert/certs/web", json!({"certificate": pem, "token_policies": ["app"]}));
    let start = |(cert, key): &(std::path::PathBuf, std::path::PathBuf), role: &str| {
        let config = format!(
            "providers: {{vault: {{type: vault, address: \"{}\", auth: {{method: cert{role}}}, \
             tls: {{ca: {}, cert: {}, key: {}}}}}}}\nmounts: [{{at: mnt, templates: templates}}]\n",
            bao.address(),
            bao.ca().display(),
            cert.display(),
            key.display()
        );
        TestMount::new().config(&config).template("f.tpl", FILE).start()
    };
    assert_eq!(start(&known, "").read("f"), "v");
    assert_eq!(start(&known, ", role: web").read("f"), "v");
    fails(&start(&known, ", role: other"), "f", libc::EIO, "the login at auth/cert");
    fails(&start(&unknown, ""), "f", libc::EIO, "the login at auth/cert");
}

#[test]
fn a_token_in_a_file_is_taken_up_when_it_changes() {
    let bao = served();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let token = || bao.make_token(json!({"policies": ["app"]}));
    let (first, second) = (token(), token());
    let put = |text: &str| {
        fs::write(file.with_extension("new"), text).unwrap();
        fs::rename(file.with_extension("new"), &file).unwrap();
    };
    put(&format!("{first}\n"));
    let auth = format!("auth: {{token: 'file:{}'}}", file.display());
    let mut mount = bao.mount(&auth).template("f.tpl", FILE).start();
    assert_eq!(mount.read("f"), "v");
    bao.put("auth/token/revoke", json!({ "token": first }));
    eventually("it is void", || fs::read(mount.path("f")).is_err());
    fails(&mount, "f", libc::EIO, "our token is void");
    put(&second);
    eventually("the new one is taken up", || {
        fs::read_to_string(mount.path("f")).is_ok_and(|text| text == "v")
    });
    never_told(&mount, &[&first, &second]);
    assert!(mount.stop().success());
    let said = bao.call_as(&second, None, "GET", "auth/token/lookup-self", None);
    assert_eq!(said.status, 200, "a token of somebody else is not ours to revoke");
}

#[track_caller]
fn reads_for(mount: &Mounted, time: Duration) -> usize {
    let (start, mut reads) = (Instant::now(), 0);
    while start.elapsed() < time {
        assert_eq!(mount.read("f"), "v", "after {:?}", start.elapsed());
        reads += 1;
        std::thread::sleep(Duration::from_millis(30));
    }
    reads
}

/// Renewed as long as that is granted, then had anew: no read ever meets a token that is over.
#[test]
fn a_short_token_is_renewed_and_had_anew() {
    let bao = served();
    let (role_id, secret_id) = role(&bao, json!({"token_ttl": "4s", "token_max_ttl": "10s"}));
    let mount = by_approle(&bao, &role_id, &secret_id, "").start();
    reads_for(&mount, Duration::from_secs(16));
    let log = mount.stderr();
    assert!(!log.contains("provider_error"), "{log}");
    // The control: one that nobody renews is over by then.
    let token = bao.make_token(json!({"policies": ["app"], "ttl": "2s", "renewable": false}));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(bao.call_as(&token, None, "GET", "secret/data/app", None).status, 403);
}

/// Batch tokens cannot be renewed, counted ones are used up.
#[test]
fn tokens_that_cannot_be_renewed_are_had_anew() {
    let bao = served();
    let (role_id, secret_id) = role(&bao, json!({"token_type": "batch", "token_ttl": "4s"}));
    let mount = by_approle(&bao, &role_id, &secret_id, "").start();
    reads_for(&mount, Duration::from_secs(9));
    assert!(!mount.stderr().contains("provider_error"), "{}", mount.stderr());
    bao.delete("auth/approle/role/web");
    let (role_id, secret_id) = role(&bao, json!({"token_num_uses": 3}));
    let mount = by_approle(&bao, &role_id, &secret_id, "").start();
    reads_for(&mount, Duration::from_secs(3));
    assert!(!mount.stderr().contains("provider_error"), "{}", mount.stderr());
}

#[test]
fn a_token_that_is_revoked_in_the_middle_is_replaced() {
    let bao = served();
    let (role_id, secret_id) = role(&bao, json!({}));
    let mount = by_approle(&bao, &role_id, &secret_id, "").start();
    assert_eq!(mount.read("f"), "v");
    for _ in 0..3 {
        revoke_logins(&bao);
        reads_for(&mount, Duration::from_millis(500));
    }
    assert!(!mount.stderr().contains("provider_error"), "{}", mount.stderr());
    // The control: who may not log in any more has nothing any more.
    bao.delete("auth/approle/role/web");
    revoke_logins(&bao);
    eventually("it is refused", || fs::read(mount.path("f")).is_err());
    fails(&mount, "f", libc::EIO, "invalid role or secret ID");
}

/// All tokens that a login has given.
fn revoke_logins(bao: &Bao) {
    let listed = bao.call("LIST", "auth/token/accessors", None).body["data"]["keys"].clone();
    for accessor in listed.as_array().unwrap() {
        let about = bao.put("auth/token/lookup-accessor", json!({ "accessor": accessor }));
        if about["data"]["path"] == "auth/approle/login" {
            bao.put("auth/token/revoke-accessor", json!({ "accessor": accessor }));
        }
    }
}

/// The store's own secret: nothing about the login lies open anywhere.
#[test]
fn its_credentials_may_be_in_the_store() {
    let bao = served();
    let (role_id, secret_id) = role(&bao, json!({}));
    let auth = format!("auth: {{method: approle, role_id: '{role_id}', secret_id: 'store:vault/login'}}");
    let mount = bao.mount(&auth).secret("vault/login", &secret_id).template("f.tpl", FILE).start();
    assert_eq!(mount.read("f"), "v");
    let mount = bao.mount(&auth).template("f.tpl", FILE).start();
    fails(&mount, "f", libc::EIO, "store:vault/login");
}

#[test]
fn by_token() {
    let bao = served();
    assert_eq!(bao.mount(BY_TOKEN).template("f.tpl", FILE).start().read("f"), "v");
    let void = bao.mount(BY_TOKEN).env("SECRETFS_TEST_TOKEN", "hunter2-void").template("f.tpl", FILE).start();
    fails(&void, "f", libc::EIO, "our token is void");
    assert!(Path::new(&bao.folder()).exists());
}

/// How a token of the server looks.
fn tokens_in(text: &str) -> Vec<&str> {
    let is_token = |word: &&str| word.len() >= 26 && (word.starts_with("s.") || word.starts_with("b."));
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').filter(is_token).collect()
}

/// With a log of everything, and an audit: neither has a value, a token, or what we log in with.
#[test]
fn nobody_is_told_a_value_or_a_token() {
    let bao = served();
    bao.set("app", json!({"value": "hunter2-value", "other": "hunter2-other"}));
    let (role_id, secret_id) = role(&bao, json!({}));
    let config = format!(
        "providers: {{vault: {{type: vault, address: \"{}\", cache: {{ttl: 100ms}}, \
         auth: {{method: approle, role_id: '{role_id}', secret_id: '${{SECRET_ID}}'}}}}}}\n\
         mounts: [{{at: mnt, templates: templates}}]\naudit: {{file: audit.jsonl}}\n",
        bao.address()
    );
    let mut mount = by_approle(&bao, &role_id, &secret_id, "")
        .config(&config)
        .template("f.tpl", "<< secret('vault:secret/app#value') >>")
        .template(
            "wrong.tpl",
            "<< secret('vault:secret/app#nothing') >><< secret('vault:secret/app#other') >>",
        )
        .template("forbidden.tpl", "<< secret('vault:sys2/app#nothing') >>")
        .env("SECRETFS_LOG", "trace")
        .start();
    assert_eq!(mount.read("f"), "hunter2-value");
    for file in ["wrong", "forbidden"] {
        assert!(fs::read(mount.path(file)).is_err());
    }
    revoke_logins(&bao);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(mount.read("f"), "hunter2-value");
    assert!(mount.stop().success());
    let audit = fs::read_to_string(mount.store().folder().join("audit.jsonl")).unwrap();
    assert!(audit.contains("secret/app"), "the control: it is an audit of these reads: {audit}");
    for text in [&mount.stderr(), &audit] {
        for told in ["hunter2", &secret_id] {
            assert!(!text.contains(told), "{told} is in {text}");
        }
        assert_eq!(tokens_in(text), Vec::<&str>::new());
    }
    let log = mount.stderr();
    assert!(log.contains("provider_error"), "the control: what fails is logged: {log}");
    let made = bao.make_token(json!({}));
    assert_eq!(tokens_in(&format!("token=\"{made}\"")), [made.as_str()], "the control: one would be seen");
}
