//! What `docs/providers/gcp-sm.md` says is so: its first config is served, and the others are judged.

use std::fs;

use crate::common::gcp::Gcp;
use crate::common::programmed::eventually;
use crate::common::{TestMount, is_judged_good};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers/gcp-sm.md");

fn between<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    page.split(begin).nth(1).and_then(|rest| rest.split(end).next()).unwrap_or_else(|| panic!("{begin}"))
}

#[test]
fn the_page_says_what_is_so() {
    let page = fs::read_to_string(PAGE).unwrap();
    let blocks: Vec<&str> =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let (served, judged): (Vec<&str>, Vec<&str>) =
        blocks.into_iter().partition(|block| block.contains("mounts:"));
    let [config] = served[..] else { panic!("{}", served.len()) };
    let gcp = Gcp::start();
    gcp.put("db-password", "p@ss");
    gcp.put("db-login", r#"{"user": "app", "port": 5432}"#);
    let place = format!("project: p-1, address: '{}'", gcp.url());
    let config = config.replace("project: shop-prod", &place);
    let key = gcp.key().display().to_string();
    let mount = TestMount::new()
        .env("GOOGLE_APPLICATION_CREDENTIALS", &key)
        .template("app.conf.tpl", between(&page, "$ cat templates/app.conf.tpl\n", "$ "))
        .config(&config.replace("ttl: 1m", "ttl: 100ms"))
        .start();
    let shown = between(&page, "$ cat mnt/app.conf\n", "$ ");
    assert_eq!(mount.read("app.conf"), shown);
    gcp.put("db-password", "n3w");
    eventually("the change", || mount.read("app.conf") == shown.replace("p@ss", "n3w"));
    judged.iter().for_each(|config| is_judged_good(config, "project:"));
    assert!(judged.len() >= 3, "there are more");
}
