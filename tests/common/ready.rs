//! A mount of the ready templates of `templates/`, with the secrets that they ask for.

use std::fs;

use serde_json::Value;

use super::{Mounted, TestMount, TestStore, stdout_of};

/// The text of a ready template (`PROGRAM/FILE`).
#[track_caller]
pub fn ready_template(name: &str) -> String {
    let path = format!("{}/templates/{name}.tpl", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A mount with one ready template, under its own file name.
#[track_caller]
pub fn mount_ready(name: &str, secrets: &Value) -> Mounted {
    mount_text(name, &ready_template(name), secrets)
}

/// The same with a text made from the ready template: its host is a test's own server.
#[track_caller]
pub fn mount_text(name: &str, text: &str, secrets: &Value) -> Mounted {
    let store = TestStore::new();
    set_secrets(&store, secrets);
    let file = name.rsplit('/').next().expect("a file");
    TestMount::on(store).template(&format!("{file}.tpl"), text).start()
}

/// Sets all of them in one transaction; on what is there it is a rotation.
#[track_caller]
pub fn set_secrets(store: &TestStore, secrets: &Value) {
    stdout_of(&store.run_with(&["set", "--from-json"], secrets.to_string()));
}

/// A mount with one ready template whose readers have this dialect.
#[track_caller]
pub fn mount_dialect(name: &str, dialect: &str, secrets: &Value) -> Mounted {
    let store = TestStore::new();
    set_secrets(&store, secrets);
    let file = name.rsplit('/').next().expect("a file");
    let config = format!("mounts:\n- {{at: mnt, templates: templates, dialect: {dialect}}}\n");
    TestMount::on(store).template(&format!("{file}.tpl"), ready_template(name)).config(&config).start()
}
