//! What a template names by its number is not pruned.

mod common;

use std::fs;

use common::{TestStore, stdout_of};

fn five_versions() -> TestStore {
    let store = TestStore::new();
    for version in 1..=5 {
        store.set("db", format!("v{version}"));
    }
    fs::create_dir(store.folder().join("templates")).unwrap();
    store
}

fn config(store: &TestStore, text: &str) {
    fs::write(store.folder().join("secretfs.yaml"), text).unwrap();
}

fn template(store: &TestStore, text: &str) {
    fs::write(store.folder().join("templates/app.conf.tpl"), text).unwrap();
}

#[test]
fn a_version_that_is_named_somewhere_stays() {
    let store = five_versions();
    let mount = "mounts: [{at: mnt, templates: templates}]\n";
    config(&store, &(mount.to_owned() + "profiles: {web: {env: {OLD: 'db@3'}}}\n"));
    template(&store, "<< secret('db', version=1) >> << secrets.db >> << secret('vault:db', version=4) >>\n");
    let told = stdout_of(&store.run(&["prune", "--keep", "1", "--dry-run"]));
    let here = store.folder().display();
    let expected = [
        "db: versions 2, 4 would be destroyed".to_owned(),
        format!("db: version 1 stays: {here}/templates/app.conf.tpl:1:4 names it"),
        format!("db: version 3 stays: {here}/secretfs.yaml:2:29 names it"),
        "db: version 5 stays: it is the active one".to_owned(),
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    assert_eq!(stdout_of(&store.run(&["prune", "--keep", "1", "--yes"])), "db: versions 2, 4 destroyed\n");
    for (version, is_there) in [(1, true), (2, false), (3, true), (4, false), (5, true)] {
        assert_eq!(store.run(&["get", &format!("db@{version}")]).status.success(), is_there, "{version}");
    }
    // Named no more, they go.
    template(&store, "<< secrets.db >>\n");
    config(&store, mount);
    assert_eq!(stdout_of(&store.run(&["prune", "--keep", "1", "--yes"])), "db: versions 1, 3 destroyed\n");
}

/// An import that overwrites destroys no more than `prune` does.
#[test]
fn an_import_leaves_what_is_named() {
    let store = five_versions();
    config(&store, "mounts: [{at: mnt, templates: templates}]\n");
    template(&store, "<< secret('db', version=2) >>\n");
    let import = |args: &[&str]| {
        let args = [&["import", "-", "--format", "json", "--overwrite"], args].concat();
        store.run_with(&args, r#"{"db": "v6", "new": "v1"}"#)
    };
    let planned = stdout_of(&import(&["--dry-run"]));
    assert!(planned.contains("overwritten by version 6; templates name 2, which stays"), "{planned}");
    let here = store.folder().display();
    let done = stdout_of(&import(&[]));
    let stays = format!("db: version 6\ndb: version 2 stays: {here}/templates/app.conf.tpl:1:4 names it\n");
    assert!(done.starts_with(&stays), "{done}");
    for (version, is_there) in [(1, false), (2, true), (5, false), (6, true)] {
        assert_eq!(store.run(&["get", &format!("db@{version}")]).status.success(), is_there, "{version}");
    }
    // Where it cannot be told, nothing is overwritten; what destroys nothing does not ask.
    template(&store, "<< secret('db', version=2) \n");
    assert_eq!(import(&[]).status.code(), Some(65));
    stdout_of(&store.run_with(&["import", "-", "--format", "json", "--new-version"], r#"{"db": "v7"}"#));
}

#[test]
fn where_it_cannot_be_told_what_is_named_nothing_goes() {
    let store = five_versions();
    config(&store, "mounts: [{at: mnt, templates: templates}]\n");
    template(&store, "<< secret('db', version=1) \n");
    for args in [&["prune", "--keep", "1", "--yes"][..], &["prune", "--keep", "1", "--dry-run"]] {
        let output = store.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(65), "{stderr}");
        assert!(
            stderr.contains("which versions the templates") && stderr.contains("secretfs check"),
            "{stderr}"
        );
    }
    assert_eq!(stdout_of(&store.run(&["get", "db@1"])), "v1");
}
