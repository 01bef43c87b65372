//! The config's schema: the one that is checked in is the one that the program prints, it says
//! something about every key, and it agrees with the parser, by the judgement of another program.

mod common;

use std::path::Path;
use std::process::Command;

use common::{TestStore, python, stdout_of};
use secretfs::config::Config;
use serde_json::Value;

const CHECKED_IN: &str = "docs/config.schema.json";

/// Whole configs, one below the other, parted by `---`.
const FIT: &str = include_str!("cli_schema/fit.yaml");
/// Wrong, and an editor shows it.
const WRONG: &str = include_str!("cli_schema/wrong.yaml");
/// Wrong by what several keys say together: the parser alone knows.
const WRONG_TOGETHER: &str = include_str!("cli_schema/wrong_together.yaml");

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn schema() -> Value {
    serde_json::from_str(&std::fs::read_to_string(root(CHECKED_IN)).unwrap()).unwrap()
}

#[test]
fn the_one_that_is_checked_in_is_the_one_that_is_printed() {
    let printed = stdout_of(&TestStore::new().run(&["schema"]));
    let kept = std::fs::read_to_string(root(CHECKED_IN)).unwrap();
    assert!(printed == kept, "cargo run -- schema > {CHECKED_IN}");
}

#[test]
fn every_key_is_described() {
    let mut keys = Vec::new();
    collect("", &schema(), &mut keys);
    let bare: Vec<_> = keys.iter().filter(|(_, has_description)| !has_description).collect();
    assert!(bare.is_empty(), "{bare:?}");
    // It can fail: there are keys, in several layers.
    for key in ["store", "mounts", "mode", "env_files", "source"] {
        assert!(keys.iter().any(|(name, _)| name.ends_with(&format!(".{key}"))), "{key} in {keys:?}");
    }
}

fn collect(path: &str, schema: &Value, keys: &mut Vec<(String, bool)>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        keys.push((
            format!("{path}.{name}"),
            property["description"].as_str().is_some_and(|it| it.len() > 8),
        ));
    }
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        collect(name, definition, keys);
    }
}

/// The parser names the keys that it knows; the schema names the same.
#[test]
fn both_know_the_same_keys() {
    let schema = schema();
    for (place, config) in [
        (&schema, "zzzz: 1"),
        (&schema["$defs"]["Mount"], "mounts: [{zzzz: 1}]"),
        (&schema["$defs"]["File"], "mounts: [{at: a, templates: t, files: {f: {zzzz: 1}}}]"),
        (&schema["$defs"]["Profile"], "profiles: {p: {zzzz: 1}}"),
        (&schema["$defs"]["Provider"], "providers: {p: {zzzz: 1}}"),
        (&schema["$defs"]["Cache"], "providers: {p: {cache: {zzzz: 1}}}"),
        (&schema["$defs"]["StoreMap"], "store: {zzzz: 1}"),
        (&schema["$defs"]["Key"], "store: {key: {zzzz: 1}}"),
        (&schema["$defs"]["OnChange"], "mounts: [{at: a, templates: t, files: {f: {on_change: {zzzz: 1}}}}]"),
        (&schema["$defs"]["Control"], "control: {zzzz: 1}"),
        (&schema["$defs"]["PolicyRule"], "policy: [{secrets: a, zzzz: 1}]"),
        (&schema["$defs"]["FileRule"], "mounts: [{at: a, templates: t, access: [{zzzz: 1}]}]"),
        (&schema["$defs"]["MatcherMap"], "roles: {r: {zzzz: 1}}"),
        (&schema["$defs"]["ExeMap"], "roles: {r: {exe: {zzzz: 1}}}"),
        (&schema["$defs"]["Audit"], "audit: {zzzz: 1}"),
        (&schema["$defs"]["RawCredentials"], "credentials: {zzzz: 1}"),
        (&schema["$defs"]["CredentialMap"], "credentials: {names: {a: {zzzz: 1}}}"),
    ] {
        let error = Config::parse(Path::new("c.yaml"), config).unwrap_err();
        let hint = error.hint.expect("the known keys");
        let mut known: Vec<_> = hint.strip_prefix("known here: ").expect("no near one").split(", ").collect();
        known.sort_unstable();
        let mut keys: Vec<_> = place["properties"].as_object().expect("an object").keys().collect();
        keys.sort_unstable();
        assert_eq!(keys, known, "{config}");
    }
}

#[test]
fn names_come_from_the_tables() {
    use secretfs::template::{Dialect, Format, Syntax};
    let schema = schema();
    let options = &schema["$defs"]["File"]["properties"];
    let known =
        |key: &str| options[key]["enum"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned());
    assert!(known("format").eq(Format::names()));
    assert!(known("dialect").eq(Dialect::names()));
    assert!(known("syntax").eq(Syntax::names()));
}

#[test]
fn parser_and_schema_agree() {
    let examples = ["examples", "src/cli/demo"].map(root);
    let mut fit = documents(FIT);
    examples.iter().for_each(|folder| configs_below(folder, &mut fit));
    assert!(fit.len() > 5, "the examples were not found");
    for (configs, by_parser, by_schema) in
        [(fit, true, true), (documents(WRONG), false, false), (documents(WRONG_TOGETHER), false, true)]
    {
        let judged = judge(&configs);
        assert_eq!(judged.len(), configs.len());
        for (config, is_valid) in configs.iter().zip(judged) {
            let parsed = Config::parse(Path::new("secretfs.yaml"), config);
            assert_eq!(
                parsed.is_ok(),
                by_parser,
                "the parser on:\n{config}\n{:?}",
                parsed.err().map(|it| it.to_string())
            );
            assert_eq!(is_valid, by_schema, "the schema on:\n{config}");
        }
    }
}

fn documents(text: &str) -> Vec<String> {
    text.split("\n---\n").map(ToOwned::to_owned).collect()
}

fn configs_below(folder: &Path, found: &mut Vec<String>) {
    for entry in folder.read_dir().unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => configs_below(&path, found),
            path if path.ends_with("secretfs.yaml") => found.push(std::fs::read_to_string(path).unwrap()),
            _ => {}
        }
    }
}

/// What the jsonschema package says of each.
fn judge(configs: &[String]) -> Vec<bool> {
    let values: Vec<Value> = configs.iter().map(|it| serde_yaml::from_str(it).expect("YAML")).collect();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("configs.json");
    std::fs::write(&input, serde_json::to_vec(&values).unwrap()).unwrap();
    let output = Command::new(python())
        .arg(root("tests/cli_schema/judge.py"))
        .arg(root(CHECKED_IN))
        .arg(&input)
        .output();
    serde_json::from_str(&stdout_of(&output.unwrap())).expect("a list of verdicts")
}

/// The line that makes an editor use it, in the configs that people copy.
#[test]
fn the_quickstart_names_the_schema() {
    let path = root("examples/quickstart/secretfs.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    let hint = config.lines().find_map(|line| line.strip_prefix("# yaml-language-server: $schema="));
    let named = path.parent().unwrap().join(hint.expect("the hint"));
    assert_eq!(named.canonicalize().unwrap(), root(CHECKED_IN).canonicalize().unwrap());
}
