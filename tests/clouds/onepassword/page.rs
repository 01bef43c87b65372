//! What `docs/providers/1password.md` says is so: its first config is served, and the other is judged.

use std::fs;

use super::Scene;
use crate::common::onepassword::TOKEN;
use crate::common::{TestMount, is_judged_good};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers/1password.md");

#[test]
fn the_page_says_what_is_so() {
    let page = fs::read_to_string(PAGE).unwrap();
    let between =
        |begin: &str, end: &str| page.split(begin).nth(1).unwrap().split(end).next().unwrap().to_owned();
    let scene = Scene::new();
    scene.with_login();
    let mount = TestMount::new()
        .env("OP_CONNECT_TOKEN", TOKEN)
        .template("app.conf.tpl", between("$ cat templates/app.conf.tpl\n", "$ "))
        .config(&between("```yaml\n", "```").replace("http://127.0.0.1:8080", &scene.server.url()))
        .start();
    assert_eq!(mount.read("app.conf"), between("$ cat mnt/app.conf\n", "```"));
    let others = page.split("```yaml\n").skip(2).filter_map(|rest| rest.split("```").next());
    assert_eq!(others.map(|config| is_judged_good(config, "vault:")).count(), 1);
}
