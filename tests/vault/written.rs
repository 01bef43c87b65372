//! Paths that are written to: certificates of the server's real PKI, of which all fields are of one; had anew in time,
//! and taken back if that is wanted.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::bao::{BY_TOKEN, Bao};
use crate::common::programmed::eventually;
use crate::common::{Mounted, stdout_of, tool};
use crate::fails;

/// A server with an authority whose roles are `web` (without leases) and `leased`, and a policy `pki` for both.
pub(crate) fn authority() -> Bao {
    let bao = Bao::opened();
    bao.set("app", json!({"value": "v"}));
    bao.policy("app", "path \"secret/data/*\" { capabilities = [\"read\"] }");
    bao.policy("pki", "path \"pki/*\" { capabilities = [\"create\", \"update\"] }");
    bao.put("sys/mounts/pki", json!({"type": "pki"}));
    bao.put("pki/root/generate/internal", json!({"common_name": "root", "key_type": "ec", "ttl": "8760h"}));
    for (role, leased) in [("web", false), ("leased", true)] {
        let about = json!({"allowed_domains": "example", "allow_subdomains": true, "key_type": "ec",
            "max_ttl": "1h", "generate_lease": leased, "not_before_duration": "30s"});
        bao.put(&format!("pki/roles/{role}"), about);
    }
    bao
}

pub(crate) fn is_revoked(bao: &Bao, serial: &str) -> bool {
    let said = bao.call("GET", &format!("pki/cert/{serial}"), None);
    assert_eq!(said.status, 200, "{serial}: {}", said.body);
    said.body["data"]["revocation_time"].as_u64() != Some(0)
}

pub(crate) fn serials(bao: &Bao) -> Vec<String> {
    let keys = bao.call("LIST", "pki/certs", None).body["data"]["keys"].clone();
    serde_json::from_value(keys).unwrap_or_default()
}

pub(crate) fn issued(bao: &Bao) -> usize {
    serials(bao).len()
}

pub(crate) const PAIR: &str =
    "<< secret('vault:pki/issue/web#certificate') >>\n<< secret('vault:pki/issue/web#private_key') >>\n";
const SERIAL: &str = "<< secret('vault:pki/issue/web#serial_number') >>";

fn mounted(bao: &Bao, ttl: &str, more: &str) -> Mounted {
    let writes = format!(
        "writes: {{pki/issue/web: {{common_name: a.example, ttl: {ttl}, exclude_cn_from_sans: true}}}}"
    );
    let mount = bao.mount(&format!("{BY_TOKEN}, {writes}{more}")).template("pair.pem.tpl", PAIR);
    mount
        .template("serial.tpl", SERIAL)
        .template("end.tpl", "<< secret('vault:pki/issue/web').expires_at >>")
        .template("chain.pem.tpl", "<< secret('vault:pki/issue/web#ca_chain') >>")
        .start()
}

/// What openssl makes of this.
fn openssl(args: &[&str], stdin: &str) -> std::process::Output {
    let mut command = Command::new(tool("openssl"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
pub(crate) fn is_a_pair(text: &str) {
    let of_certificate = stdout_of(&openssl(&["x509", "-noout", "-pubkey"], text));
    let (_, key) = text.split_once("-----END CERTIFICATE-----\n").unwrap();
    assert_eq!(stdout_of(&openssl(&["pkey", "-pubout"], key)), of_certificate);
}

#[test]
fn all_fields_are_of_one_certificate() {
    let bao = authority();
    let before = issued(&bao);
    let mount = mounted(&bao, "1h", "");
    let pair = mount.read("pair.pem");
    is_a_pair(&pair);
    let chain = mount.read("chain.pem");
    let file = mount.store().folder().join("chain");
    fs::write(&file, &chain).unwrap();
    let verified = openssl(&["verify", "-CAfile", file.to_str().unwrap()], &pair);
    assert!(stdout_of(&verified).contains("OK"), "{chain}");
    let serial = mount.read("serial");
    let end: jiff::Timestamp = mount.read("end").parse().unwrap();
    let left = end.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((3400..=3600).contains(&left), "it says itself when it ends: {left}");
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!((mount.read("pair.pem"), mount.read("serial")), (pair.clone(), serial.clone()));
    }
    assert_eq!(issued(&bao), before + 1, "asked for again and again, it is the same");
    // The control: who asks on his own has another one.
    let other = mounted(&bao, "1h", "");
    is_a_pair(&other.read("pair.pem"));
    assert_ne!(other.read("pair.pem"), pair);
    assert_eq!(issued(&bao), before + 2);
    assert!(!mount.stderr().contains("PRIVATE KEY"), "{}", mount.stderr());
}

/// Whoever opens it has one that is good; whoever has it open keeps the one that was opened.
#[test]
fn it_is_had_anew_in_time() {
    let bao = authority();
    let mount = mounted(&bao, "12s", "");
    let held = File::open(mount.path("pair.pem")).unwrap();
    let mut first = String::new();
    (&held).read_to_string(&mut first).unwrap();
    let (start, mut seen) = (Instant::now(), vec![first.clone()]);
    while start.elapsed() < Duration::from_secs(20) {
        let pair = mount.read("pair.pem");
        is_a_pair(&pair);
        assert!(openssl(&["x509", "-noout", "-checkend", "0"], &pair).status.success(), "it has ended");
        if seen.last() != Some(&pair) {
            seen.push(pair);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!((2..=4).contains(&seen.len()), "{}", seen.len());
    let mut again = vec![0; first.len()];
    held.read_exact_at(&mut again, 0).unwrap();
    assert!(again == first.as_bytes(), "an open file stays as it was opened");
    // The control: the first one has ended by now.
    assert!(!openssl(&["x509", "-noout", "-checkend", "0"], &first).status.success());
}

/// There is a third of its time left when a new one is wanted: until then an outage costs nobody anything.
#[test]
fn while_the_server_is_down_the_old_one_is_served_to_its_end() {
    let bao = authority();
    let mount = mounted(&bao, "30s", "");
    let (pair, start) = (mount.read("pair.pem"), Instant::now());
    bao.seal();
    std::thread::sleep(Duration::from_secs(23).saturating_sub(start.elapsed()));
    if start.elapsed() < Duration::from_secs(28) {
        assert_eq!(mount.read("pair.pem"), pair, "it is good for seconds yet, and nothing else is to be had");
    }
    std::thread::sleep(Duration::from_secs(31).saturating_sub(start.elapsed()));
    eventually("it has ended", || fs::read(mount.path("pair.pem")).is_err());
    bao.unseal();
    eventually("a new one", || fs::read_to_string(mount.path("pair.pem")).is_ok_and(|it| it != pair));
}

#[test]
fn it_is_revoked_if_that_is_said_and_not_otherwise() {
    let bao = authority();
    for (more, is_to_be) in [(", revoke: true", true), ("", false)] {
        let mut mount = mounted(&bao, "1h", more);
        let serial = mount.read("serial");
        assert!(!is_revoked(&bao, &serial));
        assert!(mount.stop().success());
        assert_eq!(is_revoked(&bao, &serial), is_to_be, "{more}");
    }
}

#[test]
fn what_is_not_allowed_is_said_and_other_engines_can_be_written_to() {
    let bao = authority();
    bao.put("sys/mounts/transit", json!({"type": "transit"}));
    bao.put("transit/keys/k", json!({}));
    let sealed = bao.put("transit/encrypt/k", json!({"plaintext": "aGVsbG8="}))["data"]["ciphertext"].clone();
    let writes = format!(
        "writes: {{pki/issue/web: {{common_name: a.other}}, transit/decrypt/k: {{ciphertext: '{}'}}, \
         transit/decrypt/none: {{ciphertext: 'vault:v1:hunter2'}}}}",
        sealed.as_str().unwrap()
    );
    let mount = bao
        .mount(&format!("{BY_TOKEN}, {writes}"))
        .template("wrong.tpl", SERIAL)
        .template("opened.tpl", "<< secret('vault:transit/decrypt/k#plaintext') | b64decode >>")
        .template("none.tpl", "<< secret('vault:transit/decrypt/none#plaintext') | default('d') >>")
        .template("old.tpl", "<< secret('vault:pki/issue/web#certificate@1') | default('d') >>")
        .start();
    fails(&mount, "wrong", libc::EIO, "what is written to `pki/issue/web`");
    fails(&mount, "wrong", libc::EIO, "not allowed by this role");
    assert_eq!(mount.read("opened"), "hello");
    assert_eq!(mount.errno("none"), libc::EIO);
    assert_eq!(mount.read("old"), "d", "what is made has no versions");
}
