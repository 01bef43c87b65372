//! What `exec --file` is tested with: a template, and a plain file that it is to cover.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use super::TestStore;

pub const TEMPLATE: &str = "pw=<< secrets.pw >>\n";

/// A store with one secret, a template, and a file that is there already.
pub fn prepared(store: TestStore) -> TestStore {
    store.set("pw", "hunter2");
    write(&store, "t.tpl", TEMPLATE);
    write(&store, "app.conf", "pw=none\n");
    store
}

/// A file beside the store, of the store's owner.
pub fn write(store: &TestStore, name: &str, text: &str) {
    let path = store.folder().join(name);
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
    let owner = store.folder().metadata().expect("it is there").uid();
    chown(&path, Some(owner), Some(owner)).expect("tests with another uid need root");
}
