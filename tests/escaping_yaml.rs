//! The proof of YAML, as in `escaping.rs`: wild values at every kind of place, read back by everybody's
//! parsers, which build any object if the file says so.

mod common;
mod consumers;
mod wild;

use consumers::{
    Consumer, GO_YAML, JS_YAML, KUBERNETES, LIBYAML, NPM_YAML, PSYCH, PYYAML, RUAMEL, SERDE_YAML, SNAKE_YAML,
};
use secretfs::template::Format;
use serde_json::{Value, json};
use wild::proof::{Place, mislead, prove_with};
use wild::small_portions;

const READERS: [Consumer; 10] =
    [PYYAML, LIBYAML, RUAMEL, JS_YAML, NPM_YAML, SNAKE_YAML, PSYCH, GO_YAML, KUBERNETES, SERDE_YAML];

fn place(template: &'static str, floor: usize, expected: fn(&str) -> Value) -> Place {
    Place::new(template, floor, move |value| {
        expected(std::str::from_utf8(value).expect("YAML refuses what is not UTF-8"))
    })
}

fn prove(readers: &[Consumer], places: &[Place]) {
    prove_with(Format::Yaml, readers, places, small_portions());
}

/// A document with `k` at the place.
fn of_k(template: &'static str, floor: usize, k: fn(&str) -> String) -> Place {
    Place::new(template, floor, move |value| {
        let value = std::str::from_utf8(value).expect("YAML refuses what is not UTF-8");
        json!({"k": k(value), "end": "it's"})
    })
}

#[test]
fn whole_scalars() {
    let places = [
        of_k("k: << secrets.v >>\nend: it's\n", 85, str::to_owned),
        of_k("k: \"<< secrets.v >>\"\nend: it's\n", 85, str::to_owned),
        of_k("k: '<< secrets.v >>' # it's\nend: it's\n", 85, str::to_owned),
        of_k("'k' : << secrets.v >>   # \"it's\nend: it's\n", 85, str::to_owned),
        of_k("\"k\":\r\n  << secrets.v | quote >>\r\n\r\nend: it's\r\n", 85, str::to_owned),
        of_k("k: << secrets.v | tojson >>\nend: it's", 85, str::to_owned),
        of_k("--- # it's\n!!map\nk: !!str << secrets.v >>\nend: it's\n...\n", 85, str::to_owned),
        place("- << secrets.v >>\n- - a << secrets.v >> b\n  - [<< secrets.v >> , it's]\n", 85, |v| {
            json!([v, [format!("a {v} b"), [v, "it's"]]])
        }),
        place(
            "- a:\n    b: it's\n    c: << secrets.v >>\n  d: e\n",
            85,
            |v| json!([{"a": {"b": "it's", "c": v}, "d": "e"}]),
        ),
        place("# << secrets.v >>\nk: it's # << secrets.v >>\n", 35, |_| json!({"k": "it's"})),
    ];
    prove(&READERS, &places);
}

#[test]
fn in_flow_and_among_text() {
    let places = [
        of_k("{k: << secrets.v >>, end: it's}", 85, str::to_owned),
        of_k("{\"k\":<< secrets.v >>,'end':\"it's\"}", 85, str::to_owned),
        of_k("k: postgres://u:<< secrets.v >>@host/db?x=#y # c\nend: it's\n", 85, |v| {
            format!("postgres://u:{v}@host/db?x=#y")
        }),
        of_k("k: \"a\\n\\\"<< secrets.v >>\\u0041\"\nend: it's\n", 85, |v| format!("a\n\"{v}A")),
        of_k("k: 'it''s \\ << secrets.v >> '\nend: it's\n", 85, |v| format!("it's \\ {v} ")),
        of_k("k: -<< secrets.v >>: x\nend: it's\n", 0, |v| format!("-{v}: x")),
    ];
    prove(&READERS, &places);
}

/// A reader may know fewer keys than texts: js-yaml has no `__proto__`, and some fold `1` and `"1"`.
#[test]
fn keys() {
    let places = [
        place("<< secrets.v >>: it's\n", 85, |v| json!({v: "it's"})),
        place("? a << secrets.v >>\n: it's\n", 85, |v| json!({format!("a {v}"): "it's"})),
        place("{'<< secrets.v >>': it's}\n", 85, |v| json!({v: "it's"})),
    ];
    prove(&READERS, &places);
}

#[test]
fn merged() {
    let place = place(
        "base: &base {a: it's}\nk:\n  <<: *base\n  b: << secrets.v >>\n",
        85,
        |v| json!({"base": {"a": "it's"}, "k": {"a": "it's", "b": v}}),
    );
    prove(&[PYYAML, LIBYAML, RUAMEL, SNAKE_YAML, PSYCH, GO_YAML, KUBERNETES], &[place]);
}

#[test]
fn blocks() {
    let last = |v: &str| format!("{}\n", v.strip_suffix('\n').unwrap_or(v));
    let places = [
        of_k("k: |\n  << secrets.v >>\nend: it's\n", 40, last),
        of_k("k: | # it's\n\n   a\n   << secrets.v >>\n   b\n\nend: it's\n", 40, |v| {
            format!("\na\n{v}\nb\n")
        }),
        of_k("k: |-\n  a \"<< secrets.v >>\nend: it's\n", 40, |v| format!("a \"{v}")),
        of_k("k: |+\n  << secrets.v >>\nend: it's\n", 40, |v| format!("{v}\n")),
        of_k("k: |1\n  a << secrets.v >> b\nend: it's\n", 40, |v| format!(" a {v} b\n")),
        of_k("k: >-\n  a\n  << secrets.v >>\n  b\nend: it's\n", 35, |v| format!("a {v} b")),
        of_k("k: >\n  a: << secrets.v >> #\nend: it's\n", 35, |v| format!("a: {v} #\n")),
        place("- |\n << secrets.v >>\n- - >-\n    '<< secrets.v >>'\n", 35, |v| {
            json!([format!("{}\n", v.strip_suffix('\n').unwrap_or(v)), [format!("'{v}'")]])
        }),
    ];
    prove(&READERS, &places);
}

#[test]
fn without_escaping_every_reader_is_misled() {
    let raw = of_k("k: << secrets.v | raw >>\nend: it's\n", 4, str::to_owned);
    let without_verify = [PYYAML, LIBYAML, RUAMEL, JS_YAML, NPM_YAML, SNAKE_YAML, PSYCH, GO_YAML, SERDE_YAML];
    mislead(Format::Yaml, &without_verify, &raw, false);
    mislead(Format::Yaml, &[PYYAML, LIBYAML], &raw, true);
}
