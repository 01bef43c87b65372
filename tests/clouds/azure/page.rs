//! What `docs/providers/azure-kv.md` says is so: its first config is served, and the others are judged.

use std::fs;

use super::Scene;
use crate::common::azure::{CLIENT, HEADER, SECRET, TENANT};
use crate::common::programmed::eventually;
use crate::common::{TestMount, is_judged_good};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers/azure-kv.md");

#[test]
fn the_page_says_what_is_so() {
    let page = fs::read_to_string(PAGE).unwrap();
    let between =
        |begin: &str, end: &str| page.split(begin).nth(1).unwrap().split(end).next().unwrap().to_owned();
    let scene = Scene::new();
    scene.azure.put("db-password", "p@ss");
    scene.azure.put("db-login", r#"{"user": "app", "port": 5432}"#);
    let config = between("```yaml\n", "```").replace("https://app.vault.azure.net", &scene.azure.url());
    let mount = TestMount::new()
        .env("IDENTITY_ENDPOINT", &format!("{}/msi/token", scene.azure.url()))
        .env("IDENTITY_HEADER", HEADER)
        .template("app.conf.tpl", between("$ cat templates/app.conf.tpl\n", "$ "))
        .config(&config.replace("\"}", "\", cache: {ttl: 100ms}}"))
        .start();
    let shown = between("$ cat mnt/app.conf\n", "$ ");
    assert_eq!(mount.read("app.conf"), shown);
    scene.azure.put("db-password", "n3w");
    eventually("the change", || mount.read("app.conf") == shown.replace("p@ss", "n3w"));
    let others = page.split("```yaml\n").skip(2).filter_map(|rest| rest.split("```").next());
    assert_eq!(others.map(|config| is_judged_good(config, "auth:")).count(), 2);
    assert!(page.contains(TENANT) && page.contains(CLIENT) && !page.contains(SECRET));
}
