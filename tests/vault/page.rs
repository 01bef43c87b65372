//! What `docs/providers/vault.md` says is so: its examples are served by a real server, and its other configs are judged.

use std::fs;

use serde_json::json;

use crate::common::programmed::eventually;
use crate::common::{TestMount, is_judged_good};
use crate::written;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers/vault.md");

fn between<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    page.split(begin).nth(1).and_then(|rest| rest.split(end).next()).unwrap_or_else(|| panic!("{begin}"))
}

#[test]
fn the_page_says_what_is_so() {
    let page = fs::read_to_string(PAGE).unwrap();
    let blocks: Vec<_> =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let (served, judged): (Vec<_>, Vec<_>) = blocks.iter().partition(|block| block.contains("mounts:"));
    let [plain, writing] = served[..] else { panic!("{}", served.len()) };
    let bao = written::authority();
    let role = json!({"role_id": "web", "token_policies": ["app", "pki"]});
    bao.put("sys/auth/approle", json!({"type": "approle"}));
    bao.put("auth/approle/role/web", role);
    bao.put("auth/approle/role/web/role-id", json!({"role_id": "web"}));
    let secret_id = bao.put("auth/approle/role/web/secret-id", json!({}))["data"]["secret_id"].clone();
    let start = |config: &str, name: &str, template: &str| {
        let config = config.replace("http://127.0.0.1:8200", &bao.address());
        let mount = TestMount::new().template(name, template).config(&config);
        fs::write(mount.folder().join("secret-id"), secret_id.as_str().unwrap()).unwrap();
        mount.start()
    };
    bao.set("app", json!({"user": "app", "password": "p@ss", "port": "5432"}));
    let mount = start(plain, "app.conf.tpl", between(&page, "$ cat templates/app.conf.tpl\n", "$ "));
    // The server of this test has had a version before.
    let shown = between(&page, "$ cat mnt/app.conf\n", "$ ");
    bao.delete("secret/metadata/app");
    bao.set("app", json!({"user": "app", "password": "p@ss", "port": "5432"}));
    eventually("as it is shown", || fs::read_to_string(mount.path("app.conf")).is_ok_and(|it| it == shown));
    bao.set("app", json!({"user": "app", "password": "n3w", "port": "5432"}));
    eventually("the change", || mount.read("app.conf") == shown.replace("p@ss", "n3w"));
    let references = between(&page, "```\n<< secret(\"vault:pki", "```");
    let mut mount = start(writing, "pair.pem.tpl", &format!("<< secret(\"vault:pki{references}"));
    written::is_a_pair(&mount.read("pair.pem"));
    assert!(mount.stop().success());
    judged.iter().for_each(|config| is_judged_good(config, "method:"));
    assert!(judged.len() >= 2, "there are more");
}
