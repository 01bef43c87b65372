//! A key vault of Azure through the real mount: names, versions and their times, whom a token is for, and how often one
//! is had. Who we are is in `identities`, and what a client of others makes of the same vault in `judge`.

mod identities;
mod judge;
mod page;

use std::fs;
use std::thread::sleep;

use serde_json::json;
use tempfile::TempDir;

use crate::common::azure::{Azure, SECRET, by_secret};
use crate::common::programmed::{attribute, eventually};
use crate::common::{Mounted, TestStore};
use crate::scene::{ANEW, ASKED, configured, fails, tells_nothing};

const FILE: [(&str, &str); 1] = [("f", "<< secret('p:a') | default('d') >>")];

/// A vault, and a folder with the secret of the application that asks it.
struct Scene {
    azure: Azure,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { azure: Azure::start(), folder: TempDir::with_prefix("secretfs-azure-").unwrap() };
        fs::write(scene.folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
        scene
    }

    fn by_secret(&self) -> String {
        by_secret(&self.azure.url(), &self.folder.path().join("secret"))
    }

    /// The same, with whom a token is for.
    fn for_resource(&self, resource: &str) -> String {
        self.by_secret().replacen("auth: {", &format!("auth: {{resource: '{resource}', "), 1)
    }

    fn provider(&self, settings: &str) -> String {
        format!("providers: {{p: {{type: azure-kv, address: '{}', {settings}}}}}\n", self.azure.url())
    }

    fn mount(&self, settings: &str, files: &[(&str, &str)]) -> Mounted {
        configured(&self.provider(&format!("{settings}, {ASKED}")), files).start()
    }
}

#[test]
fn a_secret_has_a_name_versions_and_fields() {
    let scene = Scene::new();
    let old = scene.azure.put("db", "one");
    scene.azure.put("db", r#"{"user": "u", "port": 5432}"#);
    let of = |version: &str| format!("<< secret('p:db/{version}') | default('none') >>");
    let (pinned, unknown, short) = (of(&old), of(&"0".repeat(32)), of("1"));
    let files = [
        ("now", "<< secret('p:db') >>|<< secret('p:db#user') >>:<< secret('p:db').port >>"),
        ("pinned", &*pinned),
        ("unknown", &*unknown),
        ("short", &*short),
        ("versions", "<< secret('p:db').version >>"),
        ("when", "<< secret('p:db').created_at >>"),
        ("large", "<< secret('p:DB') | default('none') >>"),
        ("number", "<< secret('p:db@1') | default('none') >>"),
    ];
    let mount = scene.mount(&scene.by_secret(), &files);
    assert_eq!(mount.read("now"), "{\"user\": \"u\", \"port\": 5432}|u:5432");
    assert_eq!(mount.read("pinned"), "one");
    assert_eq!((mount.read("unknown"), mount.read("short")), ("none".into(), "none".into()));
    assert!(mount.read("when").starts_with("2023-11-14T22:13:20"), "{}", mount.read("when"));
    // A name has one form, so that a rule on it holds; a number is no version there.
    fails(&mount, "large", libc::EIO, "write `db` for `DB`");
    fails(&mount, "number", libc::EIO, "write `db/VERSION`");
    let before = mount.read("versions");
    scene.azure.put("db", "three");
    eventually("another version", || mount.read("versions") != before);
    tells_nothing(&mount.stderr());
}

#[test]
fn what_is_disabled_or_out_of_its_time_is_not_given() {
    let scene = Scene::new();
    let now = jiff::Timestamp::now().as_second();
    scene.azure.put_with("off", "v", json!({"enabled": false}));
    scene.azure.put_with("over", "v", json!({"exp": now - 60}));
    scene.azure.put_with("early", "v", json!({"nbf": now + 3600}));
    scene.azure.put_with("soon", "v", json!({"exp": now + 3600, "nbf": now - 3600}));
    let files = ["off", "over", "early", "soon"]
        .map(|name| (name, format!("<< secret('p:{name}') | default('d') >>")));
    let files = files.each_ref().map(|(name, text)| (*name, &**text));
    let mount = scene.mount(&scene.by_secret(), &files);
    assert_eq!(mount.read("soon"), "v", "the control");
    fails(&mount, "off", libc::EKEYREVOKED, "disabled");
    fails(&mount, "over", libc::EKEYEXPIRED, "expired");
    fails(&mount, "early", libc::EIO, "is not to be used before");
}

/// A host that is none of Azure's could collect tokens for others.
#[test]
fn a_token_is_for_what_the_host_belongs_to_or_there_is_none() {
    let scene = Scene::new();
    scene.azure.put("a", "v");
    scene.azure.set_resource("https://vault.azure.net");
    let mount = scene.mount(&scene.by_secret(), &FILE);
    fails(&mount, "f", libc::EIO, "to which it does not belong: it gets none");
    fails(&mount, "f", libc::EIO, "say `auth: {resource: https://vault.azure.net}`");
    assert!(scene.azure.scopes().is_empty(), "nor is one asked for");
}

/// Emulators and clouds of one's own have hosts that belong to nothing; what is said of one of them is for nobody else.
#[test]
fn a_token_is_for_what_the_config_says_and_for_nothing_else() {
    for (own, greedy) in [
        ("https://vault.azure.net", "https://management.azure.com"),
        ("https://vault.example.com/8b1ab8c5", "https://vault.example.com"),
        // The host of before would do for that.
        ("https://localhost:8443", "https://127.0.0.1"),
    ] {
        let scene = Scene::new();
        scene.azure.put("a", "v");
        scene.azure.set_resource(own);
        let mount = scene.mount(&scene.for_resource(own), &FILE);
        assert_eq!(mount.read("f"), "v", "{own}");
        let scope = [format!("{own}/.default")];
        assert_eq!(scene.azure.scopes(), scope);
        scene.azure.set_resource(greedy);
        scene.azure.forget_tokens();
        sleep(ANEW);
        let says = format!("wants a token for `{greedy}`, and `auth` says `resource: {own}`: it gets none");
        fails(&mount, "f", libc::EIO, &says);
        assert_eq!(scene.azure.scopes(), scope, "no other one is asked for");
        scene.azure.set_resource(own);
        eventually("it heals", || fs::read(mount.path("f")).is_ok_and(|it| it == b"v"));
    }
}

#[test]
fn one_token_serves_all_and_is_had_anew_when_it_has_to_be() {
    let scene = Scene::new();
    scene.azure.put("a", "v");
    let mount = scene.mount(&scene.by_secret(), &FILE);
    for _ in 0..20 {
        assert_eq!(mount.read("f"), "v");
        sleep(ANEW / 4);
    }
    assert_eq!(scene.azure.tokens_given(), 1);
    assert!(scene.azure.values_asked() > 3, "the control");
    // The vault takes it no more: had anew once, at the next read.
    scene.azure.forget_tokens();
    sleep(ANEW);
    assert_eq!((mount.read("f"), scene.azure.tokens_given()), ("v".into(), 2));
    let is_read = || fs::read(mount.path("f")).is_ok_and(|it| it == b"v");
    // A second one that is void so soon is left in peace for a moment. It ends soon, by its own word: had anew before that, and the vault refuses none.
    scene.azure.set_life(2);
    scene.azure.forget_tokens();
    sleep(ANEW);
    eventually("one that ends soon", || is_read() && scene.azure.tokens_given() > 2);
    let (given, refused) = (scene.azure.tokens_given(), refused(&scene.azure));
    eventually("a newer one", || mount.read("f") == "v" && scene.azure.tokens_given() > given);
    assert_eq!(self::refused(&scene.azure), refused);
    tells_nothing(&mount.stderr());
}

/// Questions for values without a token that is good.
fn refused(azure: &Azure) -> usize {
    azure.asked().iter().filter(|asked| asked.starts_with("/secrets/")).count()
}

#[test]
fn a_refusal_is_told_by_its_code() {
    let scene = Scene::new();
    scene.azure.put("a", "v");
    let mount = scene.mount(&scene.by_secret(), &FILE);
    assert_eq!(mount.read("f"), "v", "the control");
    let inner = |code: &str| json!({"error": {"code": "Forbidden", "message": "hunter2", "innererror": {"code": code}}});
    for (status, body, says) in [
        (403, inner("ForbiddenByRbac"), "gives us no right to this"),
        (403, inner("ForbiddenByFirewall"), "firewall or network rules"),
        (403, json!({"page": "hunter2"}), "something before it says 403"),
        (404, json!({"error": {"code": "VaultNotFound", "message": "hunter2"}}), "check `address`"),
        (400, json!({"error": {"code": "BadParameter", "message": "hunter2"}}), "400, BadParameter"),
        (429, json!({"error": {"code": "Throttled", "message": "hunter2"}}), "asked too often"),
    ] {
        scene.azure.refuse_all(Some((status, body)));
        eventually(says, || {
            fs::read(mount.path("f")).is_err_and(|error| error.raw_os_error() == Some(libc::EIO))
                && attribute(&mount, "f", "error").is_some_and(|reason| reason.contains(says))
        });
        tells_nothing(&attribute(&mount, "f", "error").unwrap());
        scene.azure.refuse_all(None);
        eventually("it heals", || fs::read(mount.path("f")).is_ok_and(|it| it == b"v"));
    }
    tells_nothing(&mount.stderr());
}

#[test]
fn a_list_is_followed_to_its_end_and_nowhere_else() {
    let scene = Scene::new();
    for number in 0..60 {
        scene.azure.put(&format!("Name-{number}"), "v");
    }
    let store = TestStore::new();
    fs::write(store.folder().join("secretfs.yaml"), scene.provider(&scene.by_secret())).unwrap();
    let told = |args: &[&str]| {
        let output = store.run(args);
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap()
    };
    let text = told(&["provider", "test", "p"]);
    assert!(text.contains("60 secrets") && text.contains("an application, by its secret"), "{text}");
    let pages = scene
        .azure
        .asked()
        .iter()
        .filter(|it| it.starts_with("+/secrets?") && it.contains("maxresults=25"))
        .count();
    assert_eq!(pages, 3);
    tells_nothing(&text);
    let stranger = Azure::start();
    scene.azure.set_elsewhere(Some(&format!("{}/secrets", stranger.url())));
    let text = told(&["provider", "test", "p"]);
    assert!(text.contains("sends us elsewhere for the rest of its list"), "{text}");
    assert!(stranger.asked().is_empty(), "nobody goes there with a token");
}

#[test]
fn a_rule_on_a_name_holds_for_the_secret() {
    let scene = Scene::new();
    let version = scene.azure.put("a", "v");
    let rules = "policy: [{secrets: ['p:b'], deny: anyone}]\n";
    let settings = format!("{}, {ASKED}", scene.by_secret());
    let config = format!("{}{rules}", scene.provider(&settings));
    let pinned = format!("<< secret('p:a/{version}') | default('d') >>");
    let mount = configured(&config, &[("plain", "<< secret('p:a') >>"), ("pinned", &pinned)]).start();
    assert_eq!(mount.read("plain"), "v");
    fails(&mount, "pinned", libc::EIO, "would not hold for");
}
