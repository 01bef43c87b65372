//! What `docs/providers/azure-kv.md` says is so: its first config is served, and the others are judged.

use super::Scene;
use crate::common::azure::{CLIENT, HEADER, SECRET, TENANT};
use crate::common::programmed::eventually;
use crate::common::{TestMount, is_judged_good};
use crate::scene::Page;

#[test]
fn the_page_says_what_is_so() {
    let page = Page::of("azure-kv.md");
    let (served, others) = page.configs();
    let scene = Scene::new();
    scene.azure.put("db-password", "p@ss");
    scene.azure.put("db-login", r#"{"user": "app", "port": 5432}"#);
    let config = served.replace("https://app.vault.azure.net", &scene.azure.url());
    let mount = TestMount::new()
        .env("IDENTITY_ENDPOINT", &format!("{}/msi/token", scene.azure.url()))
        .env("IDENTITY_HEADER", HEADER)
        .template("app.conf.tpl", page.between("$ cat templates/app.conf.tpl\n", "$ "))
        .config(&config.replace("\"}", "\", cache: {ttl: 100ms}}"))
        .start();
    let shown = page.between("$ cat mnt/app.conf\n", "$ ");
    assert_eq!(mount.read("app.conf"), shown);
    scene.azure.put("db-password", "n3w");
    eventually("the change", || mount.read("app.conf") == shown.replace("p@ss", "n3w"));
    assert_eq!(others.iter().map(|config| is_judged_good(config, "auth:")).count(), 2);
    let all = page.text();
    assert!(all.contains(TENANT) && all.contains(CLIENT) && !all.contains(SECRET));
}
