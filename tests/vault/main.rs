//! OpenBao as a provider, through the real mount: what is there, what is not, what has changed, what is forbidden, and
//! that nobody is told a value or a token.

mod clouds;
mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod ends;
mod front;
mod hosts;
mod lease;
mod leaving;
mod login;
mod page;
mod troubled;
mod written;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use common::Mounted;
use common::bao::{BY_TOKEN, Bao, ROOT, free_port};
use common::programmed::{attribute, eventually};
use secretfs::config::{Address, Login, SecretSource, Tls, Transport, Vault};
use secretfs::provider::{Given, Lender, Provider, Step, VaultProvider};
use secretfs::secret::{SecretBytes, SecretKey};
use serde_json::json;

fn reason(mount: &Mounted, file: &str) -> String {
    attribute(mount, file, "error").expect("a reason")
}

#[track_caller]
fn fails(mount: &Mounted, file: &str, errno: i32, says: &str) {
    assert_eq!(mount.errno(file), errno, "{file}: {:?}\n{}", attribute(mount, file, "error"), mount.stderr());
    let reason = reason(mount, file);
    assert!(reason.contains(says), "`{says}` is not in: {reason}");
    tells_nothing(&reason);
}

#[track_caller]
fn tells_nothing(text: &str) {
    for canary in [ROOT, "hunter2"] {
        assert!(!text.contains(canary), "{canary} is in {text}");
    }
}

#[test]
fn both_kinds_of_key_and_value_are_read() {
    let bao = Bao::dev();
    bao.put("sys/mounts/old", json!({"type": "kv", "options": {"version": "1"}}));
    bao.put("sys/mounts/deep/er/kv", json!({"type": "kv", "options": {"version": "2"}}));
    bao.set(
        "app",
        json!({"password": "hunter2-a", "port": 5432, "tls": true, "nested": {"a": [1]}, "none": null}),
    );
    bao.set("app", json!({"password": "hunter2-b", "port": 5433}));
    bao.set("plain", json!({"value": "hunter2-plain"}));
    bao.put("old/db/main", json!({"user": "app", "password": "hunter2-old"}));
    bao.put("deep/er/kv/data/x", json!({"data": {"value": "hunter2-deep"}}));
    bao.put("secret/data/sp%20ace/%C3%A9%23%3F", json!({"data": {"value": "odd"}}));
    let mount = bao
        .mount(BY_TOKEN)
        .template("v2.tpl", "<< secret('vault:secret/app#password') >>:<< secret('vault:secret/app#port') >>")
        .template(
            "first.tpl",
            "<< secret('vault:secret/app#nested@1') >><< secret('vault:secret/app#tls@1') >><< secret('vault:secret/app#password@1') >>",
        )
        .template("plain.tpl", "<< secret('vault:secret/plain') >> v<< secret('vault:secret/plain').version >>")
        .template("v1.tpl", "<< secret('vault:old/db/main#user') >>:<< secret('vault:old/db/main#password') >>")
        .template("deep.tpl", "<< secret('vault:deep/er/kv/x') >>")
        .template("none.tpl", "<< secret('vault:secret/nothing') | default('d') >><< secret('vault:old/no') | default('d') >>")
        .template("missing.tpl", "<< secret('vault:secret/nothing') >>")
        .template("field.tpl", "<< secret('vault:secret/app#none@1') >>")
        .template("version.tpl", "<< secret('vault:secret/app#password@9') >>")
        .template("old_version.tpl", "<< secret('vault:old/db/main#user@1') >>")
        .start();
    assert_eq!(mount.read("v2"), "hunter2-b:5433");
    assert_eq!(mount.read("first"), "{\"a\":[1]}truehunter2-a");
    assert_eq!(mount.read("plain"), "hunter2-plain v1");
    assert_eq!(mount.read("v1"), "app:hunter2-old");
    assert_eq!(mount.read("deep"), "hunter2-deep");
    assert_eq!(mount.read("none"), "dd");
    for file in ["missing", "field", "version", "old_version"] {
        assert_eq!(mount.errno(file), libc::ENOKEY, "{file}: {}", reason(&mount, file));
    }
    bao.set("plain", json!({"value": "hunter2-new"}));
    eventually("the new version is there", || mount.read("plain") == "hunter2-new v2");
    bao.put("old/db/main", json!({"user": "app", "password": "hunter2-newer"}));
    eventually("the new value is there", || mount.read("v1") == "app:hunter2-newer");
    tells_nothing(&mount.stderr());
}

#[test]
fn names_are_names_and_never_ways_elsewhere() {
    let bao = Bao::dev();
    bao.put("secret/data/sp%20ace/%C3%A9%3F%25", json!({"data": {"value": "odd"}}));
    let mount = bao
        .mount(BY_TOKEN)
        .template("odd.tpl", "<< secret('vault:secret/sp ace/é?%') >>")
        .template("up.tpl", "<< secret('vault:secret/../sys/health#version') >>")
        .template("empty.tpl", "<< secret('vault:secret//app') >>")
        .template("self.tpl", "<< secret('vault:auth/token/lookup-self#id') >>")
        .template("system.tpl", "<< secret('vault:sys/seal-status#version') >>")
        .template("query.tpl", "<< secret('vault:secret/app?version=1') | default('none') >>")
        .start();
    assert_eq!(mount.read("odd"), "odd");
    assert_eq!(mount.read("query"), "none");
    for file in ["up", "empty"] {
        fails(&mount, file, libc::EIO, "cannot be asked for");
    }
    for file in ["self", "system"] {
        fails(&mount, file, libc::EIO, "of the server itself");
    }
}

/// Somebody took it away: a default must not hide that.
#[test]
fn a_deleted_version_is_revoked_and_not_missing() {
    let bao = Bao::dev();
    bao.set("app", json!({"value": "one"}));
    let mount =
        bao.mount(BY_TOKEN).template("f.tpl", "<< secret('vault:secret/app') | default('d') >>").start();
    assert_eq!(mount.read("f"), "one");
    bao.delete("secret/data/app");
    eventually("it is revoked", || fs::read(mount.path("f")).is_err());
    assert_eq!(mount.errno("f"), libc::EKEYREVOKED, "{}", reason(&mount, "f"));
    bao.put("secret/undelete/app", json!({"versions": [1]}));
    eventually("it is back", || fs::read_to_string(mount.path("f")).is_ok_and(|text| text == "one"));
    bao.put("secret/destroy/app", json!({"versions": [1]}));
    eventually("it is destroyed", || fs::read(mount.path("f")).is_err());
    assert_eq!(mount.errno("f"), libc::EKEYREVOKED);
    // The control: with all that is known of it gone, there is none.
    bao.delete("secret/metadata/app");
    eventually("it is missing", || fs::read_to_string(mount.path("f")).is_ok_and(|text| text == "d"));
    bao.set("app", json!({"value": "anew"}));
    eventually("it is written anew", || mount.read("f") == "anew");
}

#[test]
fn namespaces_are_apart() {
    let bao = Bao::dev();
    bao.put("sys/namespaces/team1", json!({}));
    let mounted = bao.call_as(ROOT, Some("team1"), "POST", "sys/mounts/kv", Some(json!({"type": "kv-v2"})));
    assert_eq!(mounted.status, 204, "{}", mounted.body);
    eventually("the mount is ready", || {
        let body = json!({"data": {"value": "of team1"}});
        bao.call_as(ROOT, Some("team1"), "POST", "kv/data/app", Some(body)).status == 200
    });
    let within = |namespace: &str| {
        let more = format!("{BY_TOKEN}, namespace: {namespace}");
        bao.mount(&more).template("f.tpl", "<< secret('vault:kv/app') >>").start()
    };
    assert_eq!(within("team1").read("f"), "of team1");
    assert_eq!(within("/team1/").read("f"), "of team1");
    fails(&within("team2"), "f", libc::EIO, "namespace not found");
    let outside = bao.mount(BY_TOKEN).template("f.tpl", "<< secret('vault:kv/app') >>").start();
    fails(&outside, "f", libc::EIO, "the read of `kv/app` (404): no handler");
}

#[test]
fn what_a_policy_forbids_is_refused_and_costs_no_other_file_anything() {
    let mut bao = Bao::dev();
    bao.set("app", json!({"value": "mine"}));
    bao.set("other", json!({"value": "hunter2"}));
    bao.policy("app", "path \"secret/data/app\" { capabilities = [\"read\"] }");
    bao.token = bao.make_token(json!({"policies": ["app"]}));
    let mount = bao
        .mount(BY_TOKEN)
        .template("app.tpl", "<< secret('vault:secret/app') >>")
        .template("other.tpl", "<< secret('vault:secret/other') | default('d') >>")
        .template("mount.tpl", "<< secret('vault:nosuch/other') >>")
        .start();
    fails(&mount, "other", libc::EIO, "permission denied");
    fails(&mount, "mount", libc::EIO, "permission denied");
    assert_eq!(mount.read("app"), "mine");
    mount.await_log("kind=\"auth\"", 1);
    let log = mount.stderr();
    assert!(!log.contains(&bao.token), "{log}");
}

/// A token that may not ask what is where reads both kinds all the same.
#[test]
fn who_may_not_know_the_mounts_finds_out_by_reading() {
    let bao = Bao::dev();
    bao.put("sys/mounts/old", json!({"type": "kv", "options": {"version": "1"}}));
    bao.set("app", json!({"value": "two"}));
    bao.put("old/app", json!({"value": "one"}));
    let deny = "path \"sys/internal/ui/mounts/*\" { capabilities = [\"deny\"] }
        path \"secret/data/*\" { capabilities = [\"read\"] } path \"old/*\" { capabilities = [\"read\"] }";
    bao.policy("blind", deny);
    let token = bao.make_token(json!({"policies": ["blind"], "no_default_policy": true}));
    let said = bao.call_as(&token, None, "GET", "sys/internal/ui/mounts/secret/app", None);
    println!("the server says {} to the blind", said.status);
    let mount = bao
        .mount(BY_TOKEN)
        .env("SECRETFS_TEST_TOKEN", &token)
        .template("both.tpl", "<< secret('vault:secret/app') >> << secret('vault:old/app') >>")
        .template("none.tpl", "<< secret('vault:old/none') | default('d') >>")
        .start();
    assert_eq!(mount.read("both"), "two one");
    assert_eq!(mount.read("none"), "d");
}

#[test]
fn the_way_is_tls_and_whom_not_to_believe_is_not_asked() {
    let bao = Bao::dev_tls();
    bao.set("app", json!({"value": "by tls"}));
    let file = "<< secret('vault:secret/app') >>";
    assert_eq!(bao.mount(BY_TOKEN).template("f.tpl", file).start().read("f"), "by tls");
    let config = format!(
        "providers: {{vault: {{type: vault, address: \"{}\", {BY_TOKEN}}}}}\nmounts: [{{at: mnt, templates: templates}}]\n",
        bao.address()
    );
    let stranger = bao.mount(BY_TOKEN).config(&config).template("f.tpl", file).start();
    assert_eq!(stranger.errno("f"), libc::EIO);
    stranger.await_log("kind=\"tls\"", 1);
    tells_nothing(&stranger.stderr());
}

#[test]
fn a_sealed_server_is_unavailable_and_heals_when_it_is_opened() {
    let mut bao = Bao::sealed();
    let made = bao.call("PUT", "sys/init", Some(json!({"secret_shares": 1, "secret_threshold": 1}))).body;
    let key = made["keys_base64"][0].as_str().unwrap().to_owned();
    bao.token = made["root_token"].as_str().unwrap().to_owned();
    bao.put("sys/unseal", json!({ "key": key }));
    bao.wait_until("it is active", |bao| bao.health() == 200);
    bao.put("sys/mounts/secret", json!({"type": "kv-v2"}));
    eventually("the mount is ready", || {
        bao.call("POST", "secret/data/app", Some(json!({"data": {"value": "v"}}))).status == 200
    });
    let mount =
        bao.mount(BY_TOKEN).template("f.tpl", "<< secret('vault:secret/app') | default('d') >>").start();
    assert_eq!(mount.read("f"), "v");
    bao.put("sys/seal", json!({}));
    eventually("it fails", || fs::read(mount.path("f")).is_err());
    fails(&mount, "f", libc::EIO, "is sealed");
    bao.put("sys/unseal", json!({ "key": key }));
    eventually("it is back", || fs::read_to_string(mount.path("f")).is_ok_and(|text| text == "v"));
}

/// Who asks too often is told so, and is left in peace; what is known is served meanwhile.
#[test]
fn a_quota_is_heeded() {
    let bao = Bao::dev();
    for name in ["a", "b", "c", "d", "e", "f"] {
        bao.set(name, json!({ "value": name }));
    }
    bao.put("sys/quotas/config", json!({"enable_rate_limit_response_headers": true}));
    bao.put("sys/quotas/rate-limit/q", json!({"rate": 2, "interval": "2s", "path": "secret/"}));
    let mut mount = bao.mount(&format!("{BY_TOKEN}, cache: {{ttl: 1h}}"));
    for name in ["a", "b", "c", "d", "e", "f"] {
        mount = mount.template(&format!("{name}.tpl"), format!("<< secret('vault:secret/{name}') >>"));
    }
    let mount = mount.start();
    let refused = ["a", "b", "c", "d", "e", "f"].map(|name| fs::read(mount.path(name)).is_err());
    assert!(refused.contains(&true), "the control: the quota holds");
    mount.await_log("kind=\"throttled\"", 1);
    for name in ["a", "b", "c", "d", "e", "f"] {
        eventually("all are there in the end", || {
            std::thread::sleep(Duration::from_millis(200));
            fs::read_to_string(mount.path(name)).is_ok_and(|text| text == name)
        });
    }
}

/// A file of many secrets is one open: they are asked for at once.
#[test]
fn many_secrets_in_one_file() {
    let bao = Bao::dev();
    let all = 0..100;
    for number in all.clone() {
        bao.set(&format!("many/{number}"), json!({"value": format!("v{number}")}));
    }
    let text: Vec<String> = all.clone().map(|n| format!("<< secret('vault:secret/many/{n}') >>")).collect();
    let mount = bao.mount(BY_TOKEN).template("f.tpl", text.join(" ")).start();
    let expected: Vec<String> = all.map(|n| format!("v{n}")).collect();
    assert_eq!(mount.read("f"), expected.join(" "));
}

/// By way of the library: the command is not there yet.
fn provider(bao: &Bao, port: u16, token: &str) -> VaultProvider {
    provider_writing(bao, port, token, &[])
}

fn provider_writing(bao: &Bao, port: u16, token: &str, to: &[&str]) -> VaultProvider {
    let file = bao.folder().join("token");
    fs::write(&file, token).unwrap();
    let address = Address { is_tls: false, host: "127.0.0.1".into(), port, prefix: String::new() };
    let transport = Transport { address, tls: Tls::default() };
    let login = Login::Token(SecretSource::File(file));
    let settings = Vault {
        transport,
        namespace: None,
        mount: "token".into(),
        login,
        writes: to.iter().map(|path| ((*path).to_owned(), BTreeMap::new())).collect(),
        revokes: false,
        give_back_after: Duration::from_secs(24 * 3600),
    };
    VaultProvider::new(settings, Duration::from_secs(4), SecretBytes::copy_of(&[0; 32]), None)
}

fn told(steps: &[Step]) -> Vec<String> {
    let told = |step: &Step| match &step.outcome {
        Ok(what) => format!("{}: {what}", step.name),
        Err(error) => format!("{} FAILED: {error}", step.name),
    };
    steps.iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_listed_and_what_fails_is_found_step_by_step() {
    let bao = Bao::dev();
    bao.put("sys/mounts/old", json!({"type": "kv", "options": {"version": "1"}}));
    for name in ["app", "team/a/db", "team/b%20c"] {
        bao.set(name, json!({"value": "v"}));
    }
    bao.put("old/x/y", json!({"value": "v"}));
    bao.policy("some", "path \"secret/metadata/team/*\" { capabilities = [\"list\"] } path \"old/*\" { capabilities = [\"list\"] }");
    let some = bao.make_token(json!({"policies": ["some"]}));
    let fine = provider(&bao, bao.port, ROOT);
    assert_eq!(fine.names().await.unwrap(), ["old/x/y", "secret/app", "secret/team/a/db", "secret/team/b c"]);
    assert!(fine.health().await.is_ok());
    let steps = told(&fine.steps().await);
    let connect = format!("connect: 127.0.0.1:{}", bao.port);
    let expected = [&*connect, "answers: version 2.7.2", "login: policies: root", "list: 4 names"];
    assert_eq!(steps, expected);
    let partly = provider(&bao, bao.port, &some);
    assert_eq!(partly.names().await.unwrap(), ["old/x/y"], "what may be listed from its top");
    let void = told(&provider(&bao, bao.port, "hunter2").steps().await);
    assert_eq!(void.len(), 3, "{void:?}");
    assert!(void[2].starts_with("login FAILED: our token is void"), "{void:?}");
    let nobody = provider(&bao, free_port(), ROOT);
    let steps = told(&nobody.steps().await);
    assert!(steps.len() == 1 && steps[0].contains("connection is refused"), "{steps:?}");
    assert!(nobody.health().await.is_err());
    tells_nothing(&format!("{steps:?}{void:?}"));
}

/// Nothing is kept on a disk of what was made for this process, and nothing is asked for after the goodbye.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_told_apart_and_nobody_asks_after_the_goodbye() {
    let bao = Bao::dev();
    bao.set("app", json!({"value": "v"}));
    bao.put("sys/mounts/transit", json!({"type": "transit"}));
    bao.put("transit/keys/k", json!({}));
    let provider = provider_writing(&bao, bao.port, ROOT, &["transit/datakey/plaintext/k"]);
    let made = [SecretKey::named("transit/datakey/plaintext/k")];
    let batch = provider.fetch(&made).await.unwrap();
    assert!(batch.as_of.is_lent && batch.as_of.until.is_none() && batch.answers[0].is_ok());
    let read = provider.fetch(&[SecretKey::named("transit/keys/k")]).await.unwrap();
    assert!(read.as_of.is_lent, "of no engine of key and value");
    let kept = [SecretKey::named("secret/app")];
    assert!(!provider.fetch(&kept).await.unwrap().as_of.is_lent, "the control");
    provider.give_back(Given::Over).await;
    for keys in [&made, &kept] {
        let error = provider.fetch(keys).await.err().expect("it has left").to_string();
        assert!(error.contains("given all back"), "{error}");
    }
}
