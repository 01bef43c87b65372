//! Azure's own client for Python reads from the vault that the other tests are about, and finds in it what we find: over
//! TLS, as an application and as a managed identity, with versions, pages and refusals.

use std::process::Command;

use serde_json::{Value, json};

use super::Scene;
use crate::common::azure::{CLIENT, HEADER, SECRET, TENANT};
use crate::common::{python, stdout_of};
use crate::harness::{Authority, Proxy};
use crate::scene::{ASKED, configured, fails};

const JUDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clouds/azure/judge.py");

#[test]
fn azures_own_client_reads_the_same() {
    let scene = Scene::new();
    let now = jiff::Timestamp::now().as_second();
    let old = scene.azure.put("db", "one");
    let new = scene.azure.put("db", "two €");
    scene.azure.put_with("off", "v", json!({"enabled": false}));
    scene.azure.put_with("over", "v", json!({"exp": now - 60}));
    for number in 0..40 {
        scene.azure.put(&format!("n-{number}"), "v");
    }
    let authority = Authority::new("Ours");
    let ca = authority.file(scene.folder.path());
    let proxy = Proxy::before_with_tls(scene.azure.served.address, authority.server(&["localhost"]).config());
    let url = format!("https://localhost:{}", proxy.address.port());

    let mut judge = Command::new(python());
    judge.arg(JUDGE).arg(&url).arg(&ca).args([TENANT, CLIENT, SECRET, &old]);
    judge.env("IDENTITY_ENDPOINT", format!("{}/msi/token", scene.azure.url())).env("IDENTITY_HEADER", HEADER);
    let told: Value = serde_json::from_str(&stdout_of(&judge.output().unwrap())).unwrap();
    assert_eq!(
        (&told["value"], &told["pinned"], &told["version"]),
        (&json!("two €"), &json!("one"), &json!(new))
    );
    assert_eq!((&told["managed"], &told["assigned"]), (&json!("two €"), &json!("two €")));
    assert_eq!(told["names"].as_array().unwrap().len(), 43, "two pages");
    assert_eq!((&told["versions"], &told["folded"]), (&json!(2), &json!("two €")));
    assert!(told["strict"].as_str().unwrap().contains("does not match the requested domain"), "{told}");

    let secret = scene.folder.path().join("secret");
    let auth = format!(
        "auth: {{method: client-secret, tenant_id: {TENANT}, client_id: {CLIENT}, client_secret: 'file:{}', authority: '{url}'}}",
        secret.display()
    );
    let config = format!(
        "providers: {{p: {{type: azure-kv, address: '{url}', tls: {{ca: {}}}, {auth}, {ASKED}}}}}\n",
        ca.display()
    );
    let pinned = format!("<< secret('p:db/{old}') >>");
    let files = [
        ("now", "<< secret('p:db') >>"),
        ("pinned", &*pinned),
        ("off", "<< secret('p:off') >>"),
        ("over", "<< secret('p:over') >>"),
        ("none", "<< secret('p:none') | default('none') >>"),
    ];
    let mount = configured(&config, &files).start();
    assert_eq!(mount.read("now"), told["value"].as_str().unwrap());
    assert_eq!(mount.read("pinned"), told["pinned"].as_str().unwrap());
    assert_eq!(mount.read("none"), "none");
    fails(&mount, "off", libc::EKEYREVOKED, "disabled");
    // Their client gives it, and leaves the date to who asks; we do not.
    assert_eq!(told["expires"], json!(now - 60));
    fails(&mount, "over", libc::EKEYEXPIRED, "expired");
}
