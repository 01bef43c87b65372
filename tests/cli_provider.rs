//! `secretfs provider` through the real binary: what is set, what works, and where it ends.

mod common;

use std::process::Output;

use common::TestStore;
use serde_json::Value;

const CONFIG: &str = "providers:
  files: {type: file, path: files}
  gone: {type: file, path: gone}
  vault: {type: vault, address: 'http://127.0.0.1:9', auth: {method: approle, role_id: r, secret_id: '${SECRET_ID}'}}
  both: {type: multi, of: [files, gone]}
secrets: {from: files, other: vault:kv/a#b}
";

fn store() -> TestStore {
    let store = TestStore::new();
    std::fs::write(store.folder().join("secretfs.yaml"), CONFIG).unwrap();
    std::fs::create_dir(store.folder().join("files")).unwrap();
    std::fs::write(store.folder().join("files/a"), "31337").unwrap();
    store
}

fn told(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
fn all_are_listed_and_none_is_asked() {
    let listed = told(&store().run(&["provider", "list", "--json"]));
    let row = |name: &str| listed.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone();
    assert_eq!(listed.as_array().unwrap().len(), 5, "the store is one, too: {listed}");
    assert_eq!((&row("files")["is_default"], &row("vault")["is_default"]), (&true.into(), &false.into()));
    assert_eq!(row("vault")["mapped"][0], "other");
    assert_eq!(row("both")["place"], "files, gone");
}

#[test]
fn a_secret_of_its_own_is_shown_by_its_place() {
    let store = store();
    let output = store.command(&["provider", "show", "vault"]).env("SECRET_ID", "31337").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("secret id from ${SECRET_ID}") && text.contains("auth/approle"), "{text}");
    assert!(!text.contains("31337"), "{text}");
    let unknown = store.run(&["provider", "show", "valt"]);
    let stderr = String::from_utf8_lossy(&unknown.stderr);
    assert!(!unknown.status.success() && stderr.contains("did you mean `vault`?"), "{stderr}");
}

#[test]
fn each_is_tried_as_far_as_it_works() {
    let store = store();
    let fine = store.run(&["provider", "test", "files", "--read", "a"]);
    let text = String::from_utf8_lossy(&fine.stdout);
    assert!(fine.status.success() && text.contains("files: works") && text.contains("1 secret"), "{text}");
    assert!(!text.contains("31337"), "{text}");
    let output = store.command(&["provider", "test", "--json"]).env("SECRET_ID", "31337").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let tried = told(&output);
    let works = |name: &str| {
        let it = tried.as_array().unwrap().iter().find(|it| it["provider"] == name);
        it.unwrap_or_else(|| panic!("{name} in {tried}"))["works"].as_bool().unwrap()
    };
    assert!(works("files") && works("store") && !works("gone") && !works("vault"), "{tried}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("31337"));
    let missing = store.run(&["provider", "test", "files", "--read", "none"]);
    assert!(String::from_utf8_lossy(&missing.stdout).contains("there is no such secret  <- here"));
}
