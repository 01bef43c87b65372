//! The other half of the proof: wild templates. A harmless word in a value's place shows what readers make of
//! the template; with another value they must find the same, but for that value, or it was refused.

mod common;
mod consumers;
mod wild;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::template::{Rendering, render};
use consumers::{
    BASH, COMPOSE, Consumer, DASH, DOCKER, DOTENVY, GO_YAML, GODOTENV, JS_YAML, LIBYAML, NODE_DOTENV,
    PYTHON_DOTENV, PYYAML, SERDE_YAML, SYSTEMD, ZSH,
};
use proptest::prelude::*;
use secretfs::template::{Dialect, Format};
use serde_json::Value;

/// Nothing to any reader.
const WORD: &str = "Qzq7";
const PLACE: &str = "<< secrets.v >>";

const VALUES: [&str; 6] =
    ["a\"b'c: d #e", "- x, ]}$X`\\n", "yes", "0012", "two\nlines", "# $(echo >CANARY)\nEND=2"];

struct Case {
    template: String,
    value: &'static str,
    file: Vec<u8>,
}

fn templates(pieces: Vec<&'static str>) -> impl Strategy<Value = String> {
    let piece = prop_oneof![6 => prop::sample::select(pieces), 1 => Just(PLACE)];
    (prop::collection::vec(piece.clone(), 1..7), prop::collection::vec(piece, 0..7))
        .prop_map(|(before, after)| [before.concat(), PLACE.to_owned(), after.concat()].concat())
}

/// The readings of the values, next to those of the word. `told` makes texts of what readers tell.
fn prove(format: Format, consumers: &[Consumer], pieces: &[&'static str], told: fn(Value) -> Value) {
    for _ in 0..if common::long() { 20 } else { 1 } {
        let templates = wild::draw(templates(pieces.to_vec()), if common::long() { 5000 } else { 400 });
        let cases: Vec<_> = templates.iter().flat_map(|template| rendered(template, format)).collect();
        let files: Vec<_> = cases.iter().map(|case| case.file.clone()).collect();
        let plain: Vec<_> =
            cases.iter().map(|case| case.template.replace(PLACE, WORD).into_bytes()).collect();
        let meant: Vec<_> = consumers.iter().map(|consumer| consumer.answers(&plain)).collect();
        for (reader, consumer) in consumers.iter().enumerate() {
            let found = consumer.answers(&files);
            assert!(!found.has_run || meant[reader].has_run, "a value has run in {}", consumer.name);
            let mut compared = 0;
            for (place, (case, found)) in cases.iter().zip(found.answers).enumerate() {
                // What a template means is for its readers to agree about; those that reject it aside.
                let mut understood =
                    meant.iter().map(|meant| &meant.answers[place]).filter(|it| !it.is_null());
                let word = &meant[reader].answers[place];
                if word.is_null() || understood.any(|other| other != word) {
                    continue;
                }
                compared += 1;
                assert_eq!(
                    told(found),
                    replaced(&told(word.clone()), WORD, case.value),
                    "{} reads otherwise\ntemplate {:?}\nvalue    {:?}\nfile     {:?}",
                    consumer.name,
                    case.template,
                    case.value,
                    String::from_utf8_lossy(&case.file)
                );
            }
            println!("{compared} of {} rendered are right for {}", cases.len(), consumer.name);
            assert!(compared > 20, "{}: next to nothing was compared", consumer.name);
        }
    }
}

fn rendered(template: &str, format: Format) -> Vec<Case> {
    let cases =
        VALUES.iter().filter_map(|value| match render(template, format, &[("v", value.as_bytes())]) {
            Rendering::Done(file) => Some(Case { template: template.to_owned(), value, file }),
            Rendering::Failed(_) => None,
        });
    cases.collect()
}

fn replaced(found: &Value, word: &str, value: &str) -> Value {
    match found {
        Value::String(text) => text.replace(word, value).into(),
        Value::Array(items) => items.iter().map(|item| replaced(item, word, value)).collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, item)| (key.replace(word, value), replaced(item, word, value)))
            .collect(),
        other => other.clone(),
    }
}

/// Readers of env files tell values in Base64.
fn decoded(found: Value) -> Value {
    let text = |item: &Value| String::from_utf8(STANDARD.decode(item.as_str().unwrap()).unwrap()).unwrap();
    match found {
        Value::Object(entries) => {
            entries.iter().map(|(key, item)| (key.clone(), Value::from(text(item)))).collect()
        }
        other => other,
    }
}

const SHARED: [&str; 38] = [
    "\nFIRST=",
    "\nK=",
    "\nK=",
    "\nEND=",
    "\nexport K=",
    "\nK =",
    "\n",
    "\n",
    "\r\n",
    " ",
    "  ",
    "x",
    "x y",
    "=",
    "it's",
    "\"",
    "\"",
    "'",
    "'",
    "`",
    "\\",
    "\\\"",
    "\\'",
    "\\\n",
    "$X",
    "${X}",
    "$",
    "#",
    " # c",
    "\n# ",
    "\n;",
    ";",
    ":",
    "export ",
    "a_",
    "1",
    "\t",
    "é",
];

#[test]
fn dotenv() {
    const READERS: [Consumer; 4] = [PYTHON_DOTENV, NODE_DOTENV, GODOTENV, DOTENVY];
    prove(Format::Env(Dialect::Dotenv), &READERS, &SHARED, decoded);
}

#[test]
fn compose() {
    prove(Format::Env(Dialect::Compose), &[COMPOSE], &SHARED, decoded);
}

#[test]
fn docker() {
    prove(Format::Env(Dialect::Docker), &[DOCKER], &SHARED, decoded);
}

#[test]
fn systemd() {
    prove(Format::Env(Dialect::Systemd), &[SYSTEMD], &SHARED, decoded);
}

#[test]
fn shell() {
    let own = [
        "; ",
        "eval ",
        "echo ",
        "<",
        ">x",
        "|",
        "& ",
        "&&",
        "$(",
        ")",
        "(",
        "${X:-",
        "}",
        "{ ",
        "* ",
        "~",
        "if true; then\n",
        "\nfi\n",
        "readonly ",
        "<<E\n",
        "\nE\n",
        "!",
        "[",
        "]",
        "$'",
        "$\"",
        "-n ",
        "K+=",
    ];
    let pieces = &[&SHARED[..], &own].concat();
    prove(Format::Env(Dialect::Shell), &[BASH, DASH, ZSH], pieces, decoded);
}

#[test]
fn yaml() {
    let pieces = &[
        "a: ", "b: ", "\"c\": ", "'d' : ", "- ", "? ", ": ", "\n", "\n", "\n  ", "\n  ", "\n    ", "\n- ",
        "\n  - ", "\na: ", "\nb: ", "\n  c: ", "x", "x y", "it's", "\"", "'", "''", "\\\"", "[", "]", "{",
        "}", ",", ", ", " #", "# c", "|", "|-\n  ", "|+\n   ", ">\n  ", ">-", "|2\n  ", "!!str ", "&n ",
        "---\n", "--- ", "...\n", " ", "\\", ":", "-", "\t", "\n\n",
    ];
    prove(Format::Yaml, &[PYYAML, LIBYAML, GO_YAML, JS_YAML, SERDE_YAML], pieces, |found| found);
}
