//! All of them in one config; and one that stands in for another, with the store's copy behind both.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::aws::{InAws, Kind};
use crate::common::azure::InAzure;
use crate::common::bao::Bao;
use crate::common::contract::Source;
use crate::common::etcd::Etcd;
use crate::common::gcp::Gcp;
use crate::common::kubernetes::InCluster;
use crate::common::onepassword::InOnePassword;
use crate::common::programmed::eventually;
use crate::common::{Daemon, TestDaemon, TestMount, TestStore, stdout_of, tool};

const MOUNT: &str = "mounts: [{at: mnt, templates: templates}]\naudit: {file: audit.log}\n";

fn token(folder: &std::path::Path, bao: &Bao) -> String {
    let file = folder.join("token");
    fs::write(&file, &bao.token).unwrap();
    format!("type: vault, address: '{}', auth: {{token: 'file:{}'}}", bao.address(), file.display())
}

/// With a secret each, whose value is the provider's name.
fn others() -> Vec<(&'static str, Box<dyn Source>)> {
    let all: Vec<(&'static str, Box<dyn Source>)> = vec![
        ("sm", Box::new(InAws::new(Kind::Secrets))),
        ("ssm", Box::new(InAws::new(Kind::Parameters))),
        ("azure", Box::new(InAzure::new())),
        ("gcp", Box::new(Gcp::start())),
        ("op", Box::new(InOnePassword::new())),
        ("k8s", Box::new(InCluster::new())),
    ];
    all.iter().for_each(|(name, source)| source.put("db", format!("of {name}").as_bytes()));
    all
}

#[test]
fn a_config_of_all_nine_types_is_checked_and_read() {
    let (bao, etcd, others) = (Bao::dev(), Etcd::start(), others());
    bao.set("db", json!({"value": "of vault"}));
    etcd.put("/s/db", "of etcd");
    let mount = TestMount::new();
    let mut config = format!("providers:\n  vault: {{{}}}\n", token(mount.folder(), &bao));
    config += &format!("  etcd: {{type: etcd, address: '{}', prefix: /s/}}\n", etcd.url());
    config += "  all: {type: multi, of: [vault, sm]}\n";
    let mut text = "<< secret('vault:secret/db') >>\n<< secret('etcd:db') >>\n".to_owned();
    text += "<< secret('all:secret/db') >>\n";
    for (name, source) in &others {
        config +=
            &format!("  {name}: {{{}, cache: {{ttl: 200ms, negative_ttl: 200ms}}}}\n", source.provider());
        text += &format!("<< secret('{name}:{}db') >>\n", source.below());
    }
    let mount = mount.template("all.tpl", &text).config(&(config + MOUNT));
    let checked = mount.command_of(&["check"]).output().unwrap();
    assert!(
        stdout_of(&checked).ends_with("1 template: 0 faults, 0 missing, 1 note\n"),
        "that it is plain text"
    );
    let listed = mount.command_of(&["provider", "list", "--json"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let types: Vec<_> = listed.as_array().unwrap().iter().map(|it| it["type"].as_str().unwrap()).collect();
    for kind in
        ["vault", "etcd", "aws-sm", "aws-ssm", "azure-kv", "gcp-sm", "1password", "kubernetes", "multi"]
    {
        assert!(types.contains(&kind), "{kind}: {types:?}");
    }
    // The control: one of them has none.
    others[3].1.delete("db");
    let checked = mount.command_of(&["check", "--json"]).output().unwrap();
    let told: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(checked.status.code() == Some(1) && told["missing"].to_string().contains("gcp:db"), "{told}");
    others[3].1.put("db", b"of gcp");
    let mount = mount.start();
    let values = "of vault\nof etcd\nof vault\nof sm\nof ssm\nof azure\nof gcp\nof op\nof k8s\n";
    assert_eq!(mount.read("all"), values);
}

/// Who has answered for the file that was opened last, and whether that was old, as the audit says it.
fn last(daemon: &Daemon) -> (String, bool) {
    let log = fs::read_to_string(daemon.folder().join("audit.log")).unwrap();
    let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let last = lines.rfind(|line| line["file"].as_str().is_some_and(|it| it.ends_with("/db"))).unwrap();
    let provider = last["secrets"][0]["provider"].as_str().unwrap_or_default().to_owned();
    (provider, !last["stale"].is_null())
}

fn is_marked(daemon: &Daemon) -> bool {
    let mut ask = Command::new(tool("getfattr"));
    ask.args(["--absolute-names", "--only-values", "-n", "user.secretfs.stale"]).arg(daemon.path("db"));
    ask.output().unwrap().status.success()
}

/// A Vault that is down, AWS that is down after it: each step is named in the audit. The control is the daemon without
/// copies, which refuses at the end.
#[test]
fn a_vault_fails_over_to_aws_and_both_to_the_stores_copy() {
    let aws = InAws::new(Kind::Secrets);
    for has_copies in [true, false] {
        aws.start();
        let bao = Bao::dev();
        bao.set("db", json!({"value": "of vault"}));
        aws.put("secret/db", b"of aws");
        let daemon = TestDaemon::new();
        let vault = token(daemon.folder(), &bao);
        let soon = "timeout: 1s, cache: {ttl: 300ms, negative_ttl: 300ms";
        let config = format!(
            "providers:\n  v: {{{vault}, {soon}}}}}\n  a: {{{}, {soon}, mirror: {has_copies}}}}}\n  \
             both: {{type: multi, of: [v, a], strategy: failover}}\n{MOUNT}",
            aws.provider()
        );
        let mut daemon = daemon.template("db.tpl", "<< secret('both:secret/db') >>").config(&config).start();
        assert_eq!((daemon.read("db"), last(&daemon)), ("of vault".to_owned(), ("v".to_owned(), false)));
        bao.stop();
        let reads = |daemon: &Daemon| fs::read_to_string(daemon.path("db")).unwrap_or_default();
        eventually("AWS stands in", || reads(&daemon) == "of aws");
        assert_eq!(last(&daemon), ("a".to_owned(), false));
        if has_copies {
            eventually("there is a copy", || daemon.store().copies("a") == 1);
        }
        aws.stop();
        daemon.stop();
        daemon.start_again();
        if !has_copies {
            assert!(matches!(daemon.errno("db"), libc::EIO | libc::ETIMEDOUT));
            continue;
        }
        eventually("the store's copy stands in", || reads(&daemon) == "of aws");
        assert_eq!(last(&daemon), ("a".to_owned(), true));
        assert!(is_marked(&daemon));
        aws.start();
        eventually("AWS is back", || reads(&daemon) == "of aws" && last(&daemon) == ("a".to_owned(), false));
    }
}

/// A rule on a secret's name is not gone round by a copy from before it, which lies under a second name of the same. The
/// control has no rule.
#[test]
fn no_copy_of_before_a_rule_is_served_under_a_second_name() {
    for rule in ["", "policy: [{secrets: 'op://Prod/db/password', deny: {uid: 4242}}]\n"] {
        let op = InOnePassword::new();
        op.put("db", b"of op");
        let config = format!(
            "providers:\n  op: {{{}, timeout: 1s, cache: {{ttl: 300ms, mirror: true}}}}\n{MOUNT}",
            op.provider()
        );
        let daemon =
            TestDaemon::new().template("db.tpl", "<< secret('op://Prod/db/PASSWORD') >>").config(&config);
        let mut daemon = daemon.start();
        assert_eq!(daemon.read("db"), "of op");
        eventually("there is a copy", || daemon.store().copies("op") == 1);
        op.stop();
        daemon.stop();
        daemon.config(&(config + rule));
        daemon.start_again();
        let read = fs::read_to_string(daemon.path("db"));
        assert_eq!(read.is_ok_and(|it| it == "of op"), rule.is_empty());
    }
}

/// Whoever has one of these variables can ask as we do.
#[test]
fn what_a_provider_asks_with_goes_to_no_child_and_into_no_template() {
    const OWN: [&str; 3] = ["AZURE_CLIENT_SECRET", "IDENTITY_HEADER", "OP_CONNECT_TOKEN"];
    const OTHER: &str = "AZURE_CLIENT_ID";
    let store = TestStore::new();
    let providers =
        "  a: {type: azure-kv, address: 'https://v'}\n  o: {type: 1password, address: 'https://c'}\n";
    fs::write(store.folder().join("secretfs.yaml"), format!("providers:\n{providers}")).unwrap();
    let run = |args: &[&str]| {
        let mut command = store.command(args);
        command.envs(OWN.map(|name| (name, "hunter2"))).env(OTHER, "hunter2");
        command.output().unwrap()
    };
    let child = stdout_of(&run(&["exec", "--", "env"]));
    let named = |name: &str| run(&["exec", "--env", &format!("X=env:{name}"), "--", "true"]).status.success();
    for name in OWN {
        assert!(!child.contains(&format!("{name}=")) && !named(name), "{name}");
    }
    assert!(child.contains(&format!("{OTHER}=hunter2")) && named(OTHER), "the control");
}
