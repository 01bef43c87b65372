//! What `docs/providers/1password.md` says is so: its first config is served, and the other is judged.

use super::Scene;
use crate::common::onepassword::TOKEN;
use crate::common::{TestMount, is_judged_good};
use crate::scene::Page;

#[test]
fn the_page_says_what_is_so() {
    let page = Page::of("1password.md");
    let (served, others) = page.configs();
    let scene = Scene::new();
    scene.with_login();
    let mount = TestMount::new()
        .env("OP_CONNECT_TOKEN", TOKEN)
        .template("app.conf.tpl", page.between("$ cat templates/app.conf.tpl\n", "$ "))
        .config(&served.replace("http://127.0.0.1:8080", &scene.server.url()))
        .start();
    assert_eq!(mount.read("app.conf"), page.between("$ cat mnt/app.conf\n", "```"));
    assert_eq!(others.iter().map(|config| is_judged_good(config, "vault:")).count(), 1);
}
