//! What `docs/providers/gcp-sm.md` says is so: its first config is served, and the others are judged.

use crate::common::gcp::Gcp;
use crate::common::programmed::eventually;
use crate::common::{TestMount, is_judged_good};
use crate::scene::Page;

#[test]
fn the_page_says_what_is_so() {
    let page = Page::of("gcp-sm.md");
    let (served, others) = page.configs();
    let gcp = Gcp::start();
    gcp.put("db-password", "p@ss");
    gcp.put("db-login", r#"{"user": "app", "port": 5432}"#);
    let place = format!("project: p-1, address: '{}'", gcp.url());
    let config = served.replace("project: shop-prod", &place).replace("ttl: 1m", "ttl: 100ms");
    let template = page.between("$ cat templates/app.conf.tpl\n", "$ ");
    let mount = TestMount::new().template("app.conf.tpl", template).config(&config);
    let mount = mount.env("GOOGLE_APPLICATION_CREDENTIALS", &gcp.key().display().to_string()).start();
    let shown = page.between("$ cat mnt/app.conf\n", "$ ");
    assert_eq!(mount.read("app.conf"), shown);
    gcp.put("db-password", "n3w");
    eventually("the change", || mount.read("app.conf") == shown.replace("p@ss", "n3w"));
    assert_eq!(others.iter().map(|config| is_judged_good(config, "project:")).count(), 3);
}
