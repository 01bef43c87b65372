//! The shape of `src/`, held to what `src/lib.rs` says: imports only look down, no cycles, `unsafe`
//! and some crates only at home, every file introduced and of a readable length.
//! Reads tokens (proc-macro2), so comments, strings and layout are no matter.

mod shape;

use shape::{Source, check, load};

/// The rule on the real tree.
#[test]
fn the_tree_keeps_its_layers() {
    let report = check(&load(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    assert!(report.errors.is_empty(), "\n{}", report.errors.join("\n"));
}

const TABLE: &str = "\
//! A crate.
//!
//! | layer | modules | what it does |
//! |---|---|---|
//! | assembly | `cli` | all |
//! | edges | `fs`, `exec` | never each other |
//! | services | `net`, `provider`, `store` | I/O; `sys` alone has `unsafe` |
//! | rules | `policy` | pure: no I/O |
//! | words | `secret`, `clock` | words |
";

/// What `check` says about one file beside the table.
fn errors(path: &str, body: &str) -> Vec<String> {
    errors_of(&[(path, &format!("//! A module.\n{body}"))])
}

fn errors_of(files: &[(&str, &str)]) -> Vec<String> {
    let lib = ("lib.rs", TABLE);
    let sources: Vec<Source> = [lib].iter().chain(files).map(|(p, t)| Source::new(p, t)).collect();
    check(&sources).errors
}

fn assert_refused(path: &str, body: &str, words: &str) {
    let errors = errors(path, body);
    assert_eq!(errors.len(), 1, "{body}: {errors:?}");
    assert!(errors[0].contains(words), "{body}: {errors:?}");
}

fn assert_fine(path: &str, body: &str) {
    assert_eq!(errors(path, body), Vec::<String>::new(), "{body}");
}

#[test]
fn a_look_down_is_fine() {
    assert_fine("cli/get.rs", "use crate::{fs::Tree, store::{self, Store}};");
    assert_fine("provider/local.rs", "use crate::store::Store;");
    assert_fine("store/mod.rs", "use super::secret::Name; use self::cipher::Key; mod cipher {}");
}

#[test]
fn a_look_up_is_refused_however_it_is_written() {
    for body in [
        "use crate::cli::report;",
        "use crate::{secret::Name, cli::{self, report}};",
        "use super::super::cli::report;",
        "fn f() { crate::cli::run() }",
        "fn f() { println!(\"{}\", crate::cli::run()) }",
        "mod inner { use super::super::super::cli; }",
    ] {
        assert_refused("store/cipher.rs", body, "looks up");
    }
    assert_refused("store/mod.rs", "use super::cli;", "looks up");
    assert_refused("secret/mod.rs", "use crate::store::Store;", "looks up");
}

#[test]
fn an_error_has_its_place() {
    let errors = errors("store/cipher.rs", "\nuse crate::{\n    cli,\n};");
    assert!(errors[0].starts_with("src/store/cipher.rs:4: "), "{errors:?}");
}

#[test]
fn edges_do_not_know_each_other() {
    assert_refused("fs/mod.rs", "use crate::exec::spawn;", "never each other");
}

#[test]
fn a_cycle_is_refused() {
    let errors = errors_of(&[
        ("store/mod.rs", "//! S.\nuse crate::provider::Provider;"),
        ("provider/mod.rs", "//! P.\nuse crate::store::Store;"),
    ]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("provider -> store -> provider"), "{errors:?}");
}

#[test]
fn text_and_tests_are_not_imports() {
    assert_fine("store/mod.rs", "// use crate::cli;\nconst T: &str = \"use crate::cli;\";");
    assert_fine("store/mod.rs", "#[cfg(test)] mod tests { use crate::cli; }");
    assert_fine("store/mod.rs", "#[cfg(test)] use crate::cli;");
    assert_fine("store/tests.rs", "use crate::cli;");
    assert_refused("store/mod.rs", "#[cfg(test)] use a::b; use crate::cli;", "looks up");
}

#[test]
fn a_module_must_be_in_the_table() {
    assert_refused("magic.rs", "", "not in the table");
}

#[test]
fn unsafe_lives_in_sys() {
    assert_refused("store/mod.rs", "fn f() { unsafe { g() } }", "unsafe");
    assert_refused("store/mod.rs", "#[cfg(test)] mod t { unsafe fn f() {} }", "unsafe");
    assert_fine("store/mod.rs", "// unsafe\nconst T: &str = \"unsafe\";");
}

#[test]
fn some_crates_have_one_home() {
    assert_refused("fs/nodes.rs", "use fuser::Errno;", "fuser");
    assert_refused("store/mod.rs", "fn f(e: minijinja::Error) {}", "minijinja");
    assert_refused("provider/mod.rs", "use ::rusqlite as db;", "rusqlite");
    assert_refused("provider/vault.rs", "use rustls::ClientConfig;", "rustls");
    assert_fine("fs/fuse.rs", "use fuser::Errno;");
    assert_fine("net/tls.rs", "use rustls::ClientConfig;");
}

#[test]
fn rules_and_words_are_pure() {
    assert_refused("policy/mod.rs", "use std::{collections::BTreeMap, fs::File};", "std::fs");
    assert_refused("secret/mod.rs", "fn f() { std::env::var(\"X\"); }", "std::env");
    assert_refused("policy/mod.rs", "use tokio::sync::Mutex;", "tokio");
    assert_fine("store/mod.rs", "use std::fs::File;");
}

#[test]
fn a_file_is_introduced_and_short() {
    let long = |lines: usize| format!("//! A module.\n{}", "// x\n".repeat(lines - 1));
    assert!(errors_of(&[("store/a.rs", "use std::fmt;")])[0].contains("//!"));
    assert!(errors_of(&[("store/a.rs", &long(601))])[0].contains("601 lines"));
    assert!(errors_of(&[("store/a.rs", &long(600))]).is_empty());
    let sources = [Source::new("lib.rs", TABLE), Source::new("store/a.rs", &long(401))];
    assert_eq!(check(&sources).warnings.len(), 1);
}
