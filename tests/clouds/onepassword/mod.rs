//! 1Password through the real mount, by a Connect server of our own making: references in each of their forms, what is
//! there twice, files, codes, and how little is asked. What clients of others make of the same server is in `judge`.

mod judge;
mod page;

use std::fs;
use std::thread::sleep;

use serde_json::json;
use tempfile::TempDir;

use crate::common::onepassword::{OnePassword, TOKEN, field};
use crate::common::programmed::{attribute, eventually};
use crate::common::{Mounted, TestStore};
use crate::scene::{ANEW, ASKED, configured, fails};

/// A server with a vault, and a folder with our token for it.
struct Scene {
    server: OnePassword,
    vault: String,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let (server, folder) = (OnePassword::start(), TempDir::with_prefix("secretfs-1password-").unwrap());
        fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
        let vault = server.add_vault("Prod");
        Self { server, vault, folder }
    }

    /// A login with two sections that have a token each, a code and a file; its id.
    fn with_login(&self) -> String {
        let mut own = field("Token", "CONCEALED", "t1");
        let mut other = field("token", "CONCEALED", "t2");
        let mut code = field("code", "OTP", "otpauth://totp/x?secret=hunter2");
        (own["id"], own["section"]) = (json!("f1"), json!({"id": "s1"}));
        (other["id"], other["section"]) = (json!("f2"), json!({"id": "s2"}));
        code["totp"] = json!("123456");
        let mut password = field("password", "CONCEALED", "p@ss");
        (password["id"], password["purpose"]) = (json!("password"), json!("PASSWORD"));
        let fields = json!([
            field("user name", "STRING", "u"),
            field("port", "STRING", "5432"),
            password,
            own,
            other,
            code
        ]);
        let sections = json!([{"id": "s1", "label": "Admin"}, {"id": "s2", "label": "App"}]);
        let id = self.server.add(&self.vault, "db", fields, sections);
        self.server.attach(&self.vault, &id, "key.pem", b"-----BEGIN\0\xff");
        id
    }

    fn provider(&self, name: &str, settings: &str) -> String {
        let token = self.folder.path().join("token");
        let auth = format!("auth: {{token: 'file:{}'}}", token.display());
        format!(
            "providers: {{{name}: {{type: 1password, address: '{}', {auth}{settings}}}}}\n",
            self.server.url()
        )
    }

    fn mount(&self, name: &str, settings: &str, files: &[(&str, &str)]) -> Mounted {
        configured(&self.provider(name, &format!(", {ASKED}{settings}")), files).start()
    }
}

/// `op://…` as it is copied from there, where the provider is called `op`.
#[test]
fn a_reference_is_taken_as_people_write_it() {
    let scene = Scene::new();
    let item = scene.with_login();
    let by_id = format!("<< secret('op://{}/{item}/password') >>", scene.vault);
    let files = [
        ("field", "<< secret('op://Prod/db/user name') >>"),
        ("section", "<< secret('op://Prod/db/Admin/token') >>|<< secret('op://Prod/db/s2/TOKEN') >>"),
        ("id", &*by_id),
        ("otp", "<< secret('op://Prod/db/code?attribute=otp') >>"),
        ("type", "<< secret('op://Prod/db/code?attribute=type') >>"),
        (
            "whole",
            "<< secret('op:Prod/db') >>|<< secret('op:Prod/db#port') >>|<< secret('op:Prod/db').version >>",
        ),
        ("file", "<< secret('op://Prod/db/key.pem') | b64encode >>"),
        ("both", "<< secret('op://Prod/db/token') >>"),
        (
            "none",
            "<< secret('op://Prod/db/none') | default('none') >>|<< secret('op://Prod/none/x') | default('none') >>",
        ),
        ("vault", "<< secret('op://None/db/password') | default('d') >>"),
        ("what", "<< secret('op://Prod/db/code?attribute=purpose') >>"),
        (
            "pinned",
            "<< secret('op:Prod/db/password@2') >>|<< secret('op:Prod/db/password@1') | default('none') >>",
        ),
        ("when", "<< secret('op:Prod/db').updated_at >>"),
    ];
    let mount = scene.mount("op", "", &files);
    assert_eq!((mount.read("field"), mount.read("id")), ("u".into(), "p@ss".into()));
    assert_eq!(mount.read("section"), "t1|t2");
    assert_eq!((mount.read("otp"), mount.read("type")), ("123456".into(), "OTP".into()));
    assert_eq!(mount.read("whole"), "p@ss|5432|2");
    assert_eq!(mount.read("none"), "none|none");
    assert_eq!(mount.read("pinned"), "p@ss|none");
    assert!(mount.read("when").starts_with("2026-01-02T03:04:05"));
    fails(&mount, "both", libc::EIO, "`f1` and `f2`");
    // One that is not seen may be there: a default does not cover that.
    fails(&mount, "vault", libc::EIO, "knows no vault `None`, or our token has no right to it");
    fails(&mount, "what", libc::EIO, "`?attribute=purpose` is not known here");
    assert!(!mount.stderr().contains("hunter2"));
    let short = scene.mount(
        "p",
        ", vault: Prod",
        &[
            ("f", "<< secret('p:db/password') >>|<< secret('p:db').port >>"),
            ("op", "<< secret('p:op://Prod/db/password') >>"),
        ],
    );
    assert_eq!((short.read("f"), short.read("op")), ("p@ss|5432".into(), "p@ss".into()));
}

#[test]
fn a_file_is_given_byte_for_byte() {
    let scene = Scene::new();
    let item = scene.with_login();
    let content: Vec<u8> = (1..=255).rev().collect();
    scene.server.attach(&scene.vault, &item, "bytes", &content);
    let mount = scene.mount("op", "", &[("f", "<< secret('op://Prod/db/bytes') >>")]);
    assert_eq!(fs::read(mount.path("f")).unwrap(), content);
}

#[test]
fn what_is_there_twice_is_an_error_with_both_ids() {
    let scene = Scene::new();
    let first = scene.with_login();
    let mount = scene.mount("op", "", &[("f", "<< secret('op://Prod/db/password') | default('d') >>")]);
    assert_eq!(mount.read("f"), "p@ss", "the control");
    let second = scene.with_login();
    sleep(ANEW);
    fails(&mount, "f", libc::EIO, &format!("`{first}` and `{second}`"));
    let other = scene.server.add_vault("Prod");
    let mount = scene.mount("op", "", &[("f", "<< secret('op://Prod/db/password') | default('d') >>")]);
    fails(&mount, "f", libc::EIO, &format!("`{}` and `{other}`", scene.vault));
}

/// A vault is listed once however many of its items are read, and only those that have changed are asked for.
#[test]
fn a_poll_is_one_list_of_a_vault_and_what_has_changed() {
    const ITEMS: usize = 10;
    let scene = Scene::new();
    for number in 0..ITEMS {
        scene.server.put(&scene.vault, &format!("i{number}"), &format!("v{number}"));
    }
    let text: String =
        (0..ITEMS).map(|number| format!("<< secret('op://Prod/i{number}/password') >> ")).collect();
    let mount = scene.mount("op", "", &[("all", &text)]);
    let all = mount.read("all");
    assert_eq!(all, (0..ITEMS).map(|number| format!("v{number} ")).collect::<String>());
    assert_eq!(scene.server.lists_and_items(), (1, ITEMS));
    sleep(ANEW);
    assert_eq!(mount.read("all"), all);
    let (lists, items) = scene.server.lists_and_items();
    assert_eq!(items, ITEMS, "nothing has changed");
    assert!((2..=3).contains(&lists), "a slow look may be two: {lists}");
    scene.server.put(&scene.vault, "i3", "another");
    sleep(ANEW);
    assert!(mount.read("all").contains("another"));
    let (more, items) = scene.server.lists_and_items();
    assert_eq!(items, ITEMS + 1, "one has changed");
    assert!((1..=2).contains(&(more - lists)), "{more}");
    // Vaults are asked for by their names once.
    let names = scene.server.asked().iter().filter(|asked| asked.starts_with("/v1/vaults?")).count();
    assert_eq!(names, 1);
}

/// A code ends while its item stays as it is.
#[test]
fn a_code_is_asked_for_each_time() {
    let scene = Scene::new();
    let item = scene.with_login();
    let mount = scene.mount("op", "", &[("f", "<< secret('op://Prod/db/code?attribute=otp') >>")]);
    assert_eq!(mount.read("f"), "123456");
    scene.server.edit(&scene.vault, &item, |item| {
        item["version"] = json!(item["version"].as_u64().unwrap() - 1);
        let fields = item["fields"].as_array_mut().unwrap();
        fields.iter_mut().find(|field| field["label"] == "code").unwrap()["totp"] = json!("654321");
    });
    eventually("the next one", || mount.read("f") == "654321");
}

#[test]
fn a_refusal_is_told() {
    let scene = Scene::new();
    scene.with_login();
    let mount = scene.mount("op", "", &[("f", "<< secret('op://Prod/db/password') | default('d') >>")]);
    assert_eq!(mount.read("f"), "p@ss", "the control");
    scene.server.take_from_scope(&scene.vault);
    sleep(ANEW);
    fails(&mount, "f", libc::EIO, "or our token has no right to it");
    scene.server.revoke_token(TOKEN);
    eventually("the token is void", || {
        let _ = fs::read(mount.path("f"));
        attribute(&mount, "f", "error").is_some_and(|reason| reason.contains("refuses our token"))
    });
    assert!(!mount.stderr().contains("hunter2"), "{}", mount.stderr());
}

#[test]
fn it_is_tried_and_shown() {
    let scene = Scene::new();
    scene.with_login();
    let store = TestStore::new();
    fs::write(store.folder().join("secretfs.yaml"), scene.provider("op", "")).unwrap();
    let told = |args: &[&str]| {
        let output = store.run(args);
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let text = told(&["provider", "test", "op", "--read", "Prod/db#port"]);
    assert!(text.contains("op: works") && text.contains("1 secret"), "{text}");
    let text = told(&["provider", "show", "op"]);
    assert!(text.contains("1password") && text.contains("file:"), "{text}");
    assert!(!text.contains("hunter2"));
}

#[test]
fn a_rule_on_a_name_holds_for_the_value() {
    let scene = Scene::new();
    let item = scene.with_login();
    let rules = "policy: [{secrets: ['op://Prod/other/*'], deny: anyone}]\n";
    let provider = scene.provider("op", &format!(", {ASKED}"));
    let by_id = format!("//Prod/{item}/password");
    let names = ["//Prod/db/password", "//Prod/db/Admin/Token", "//Prod/db/code?attribute=otp"];
    let others = [
        "Prod/db/password",
        "op://Prod/db/password",
        "Prod/db",
        "//Prod/db/Password",
        "//Prod/db/f1",
        "//Prod/db/s1/Token",
        "//Prod/db/password?attribute=value",
        "//Prod/db/code?attr=otp",
        &by_id,
    ];
    let all = names.iter().chain(&others).enumerate();
    let files: Vec<_> = all
        .map(|(at, name)| (format!("f{at}"), format!("<< secret('op:{name}') | default('d') >>")))
        .collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
    let mount = configured(&(provider + rules), &files).start();
    for (at, value) in ["p@ss", "t1", "123456"].into_iter().enumerate() {
        assert_eq!(mount.read(&format!("f{at}")), value, "{}", names[at]);
    }
    for at in names.len()..files.len() {
        fails(&mount, &format!("f{at}"), libc::EIO, "is not the one name that counts");
    }
}
