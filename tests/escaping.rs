//! The proof of escaping: wild values, rendered into every kind of place and read back by the programs
//! that such files are for. What comes back is the value, and nothing else in the file has changed;
//! or the rendering was refused. A floor on how many get through keeps refusing from being an answer,
//! and plain substitution, which must fail, shows that the test can.

mod common;
mod consumers;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use consumers::{Consumer, NODE_DOTENV, NODE_ENV_FILE, PYTHON_DOTENV, PYTHON_JSON, SYSTEMD, Variables, jq};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use secretfs::template::{Dialect, Format, Kind};

use common::template::{Rendering, render};

/// What has meaning in some format, or is a known stumbling block.
const FRAGMENTS: [&str; 64] = [
    "'",
    "\"",
    "`",
    "\\",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "$",
    "${",
    "}",
    "$X",
    "${X}",
    "${HOME}",
    "$(id)",
    "$(",
    "`id`",
    "#",
    " #",
    "# c",
    ";",
    "; c",
    " ",
    "  ",
    "=",
    "K=v",
    "\nEND=2\n",
    "\nEVIL=1",
    "\n[Service]",
    ":",
    ",",
    "{",
    "[",
    "]",
    "<",
    ">",
    "<< secrets.v >>",
    "{{ v }}",
    "{% if %}",
    "&",
    "|",
    "!",
    "%",
    "%s",
    "\\n",
    "\\\"",
    "\\'",
    "\\u0041",
    "'\\''",
    "\"\"\"",
    "é",
    "ß",
    "日本",
    "😀",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{feff}",
    "\u{fffe}",
    "\u{7f}",
    "\u{1b}[0m",
    "\0",
    "{\"a\": \"b\"}",
    "-----BEGIN KEY-----\nabc+/=\n-----END KEY-----\n",
];

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        5 => prop::sample::select(FRAGMENTS.as_slice()).prop_map(|text| text.as_bytes().to_vec()),
        4 => "[a-zA-Z0-9+/=_.-]{1,12}".prop_map(String::into_bytes),
        1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
    ]
}

fn wild() -> impl Strategy<Value = Vec<u8>> {
    let joined = prop::collection::vec(fragment(), 0..6).prop_map(|parts| parts.concat());
    prop_oneof![
        30 => joined,
        2 => "[ -~]{1,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 1..20),
    ]
}

/// Other values in each run; a failure prints the one that it is about.
fn wild_values() -> Vec<Vec<u8>> {
    let count = if common::long() { 20_000 } else { 800 };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&now.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let fixed = FRAGMENTS.iter().map(|text| text.as_bytes().to_vec());
    let large = vec![b'x'; 1024 * 1024];
    let drawn = (0..count).map(|_| wild().new_tree(&mut runner).unwrap().current());
    fixed.chain([Vec::new(), large]).chain(drawn).collect()
}

/// A kind of place in an env file: the template, and what it makes of the value.
struct Place {
    template: &'static str,
    expected: fn(&[u8]) -> Vec<u8>,
    /// How many of the wild values must get through, in percent.
    floor: usize,
}

fn itself(value: &[u8]) -> Vec<u8> {
    value.to_vec()
}

const fn place(template: &'static str, floor: usize) -> Place {
    Place { template, expected: itself, floor }
}

struct Outcome {
    value: Vec<u8>,
    file: Vec<u8>,
}

/// Renders all values at the place; refusals must have their reason, and must not be too many.
fn accepted(place: &Place, format: Format, values: &[Vec<u8>]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for value in values {
        match render(place.template, format, &[("v", value)]) {
            Rendering::Done(file) => outcomes.push(Outcome { value: value.clone(), file }),
            Rendering::Failed(error) => {
                assert_eq!(error.kind, Kind::Unencodable, "{:?} {value:?}: {error}", place.template);
                assert!(error.hint.is_some(), "{error}");
            }
        }
    }
    let percent = outcomes.len() * 100 / values.len();
    println!("{percent:3} % of {} values accepted at {:?}", values.len(), place.template);
    assert!(percent >= place.floor, "only {percent} % accepted at {:?}", place.template);
    outcomes
}

fn expected(place: &Place, value: &[u8]) -> Variables {
    let entries = [("FIRST", b"1".to_vec()), ("K", (place.expected)(value)), ("END", b"1".to_vec())];
    Some(BTreeMap::from(entries.map(|(name, value)| (name.to_owned(), value))))
}

/// How many of the outcomes the reader reads otherwise than they are meant, and the first of them.
fn misread<'o>(consumer: &Consumer, place: &Place, outcomes: &'o [Outcome]) -> Vec<&'o Outcome> {
    let files: Vec<_> = outcomes.iter().map(|outcome| outcome.file.clone()).collect();
    let found = consumer.variables(&files);
    let pairs = outcomes.iter().zip(found);
    pairs
        .filter(|(outcome, found)| *found != expected(place, &outcome.value))
        .map(|(outcome, _)| outcome)
        .collect()
}

fn round_trips(dialect: Dialect, consumers: &[Consumer], places: &[Place]) {
    let values = wild_values();
    for place in places {
        let outcomes = accepted(place, Format::Env(dialect), &values);
        for consumer in consumers {
            let wrong = misread(consumer, place, &outcomes);
            if let Some(first) = wrong.first() {
                let (value, file) =
                    (String::from_utf8_lossy(&first.value), String::from_utf8_lossy(&first.file));
                panic!(
                    "{} of {} misread by {}\nvalue {value:?}\nfile  {file:?}",
                    wrong.len(),
                    outcomes.len(),
                    consumer.name
                );
            }
        }
    }
}

const DOTENV: [Consumer; 3] = [PYTHON_DOTENV, NODE_DOTENV, NODE_ENV_FILE];

#[test]
fn dotenv() {
    let around = |value: &[u8]| [b"pre-", value, b"/post"].concat();
    let twice = |value: &[u8]| [b"a ", value, b" ", value].concat();
    round_trips(
        Dialect::Dotenv,
        &DOTENV,
        &[
            place("FIRST=1\nK=<< secrets.v >>\nEND=1\n", 50),
            place("FIRST=1\nK=\"<< secrets.v >>\"\nEND=1\n", 50),
            place("FIRST=1\nK='<< secrets.v >>'\nEND=1\n", 50),
            place("FIRST=1\nexport K=<< secrets.v >>   \nEND=1\n", 50),
            place("FIRST=1\nK=<< secrets.v >> # a comment\nEND=1\n", 50),
            place("FIRST=1\nK='<< secrets.v >>' # a 'comment'\nEND=1", 50),
            place("FIRST=1\r\nK=<< secrets.v >>\r\nEND=1\r\n", 50),
            place("FIRST=1\nK=<< secrets.v | quote >>\nEND=1\n", 50),
            Place { template: "FIRST=1\nK=pre-<< secrets.v >>/post\nEND=1\n", expected: around, floor: 50 },
            Place {
                template: "FIRST=1\nK=\"a << secrets.v >> << secrets.v >>\"\nEND=1\n",
                expected: twice,
                floor: 50,
            },
            Place {
                template: "FIRST=1\n# << secrets.v >>\nK=1 # << secrets.v >>\nEND=1\n",
                expected: |_| b"1".to_vec(),
                floor: 40,
            },
        ],
    );
}

#[test]
fn systemd() {
    round_trips(
        Dialect::Systemd,
        &[SYSTEMD],
        &[
            place("FIRST=1\nK=<< secrets.v >>\nEND=1\n", 80),
            place("FIRST=1\nK=\"<< secrets.v >>\"\nEND=1\n", 80),
            place("FIRST=1\nK='<< secrets.v >>'\nEND=1\n", 80),
            place("FIRST=1\nK=<< secrets.v >>   \nEND=1", 80),
            Place {
                template: "FIRST=1\nK=\"a \\\"q\\\" << secrets.v >>\\\\\"\nEND=1\n",
                expected: |value| [b"a \"q\" ", value, b"\\"].concat(),
                floor: 80,
            },
            Place {
                template: "FIRST=1\nK=\"a\"b<< secrets.v >>\nEND=1\n",
                expected: |value| [b"ab", value].concat(),
                floor: 80,
            },
            Place {
                template: "FIRST=1\nK=\"a\" 'b\nL=<< secrets.v >>'\nEND=1\n",
                expected: |value| [b"ab\nL=", value].concat(),
                floor: 80,
            },
            Place {
                template: "FIRST=1\nK='\"$X\\ << secrets.v >>'\nEND=1\n",
                expected: |value| [b"\"$X\\ ", value].concat(),
                floor: 80,
            },
            Place {
                template: "FIRST=1\n# << secrets.v >>\n; << secrets.v >>\nK=1\nEND=1\n",
                expected: |_| b"1".to_vec(),
                floor: 40,
            },
        ],
    );
}

/// Plain substitution, which `| raw` is, breaks these files; if not, the test above sees nothing.
#[test]
fn without_escaping_every_reader_is_misled() {
    let values = wild_values();
    let raw = place("FIRST=1\nK=<< secrets.v | raw >>\nEND=1\n", 90);
    for (dialect, consumers) in [(Dialect::Dotenv, &DOTENV[..]), (Dialect::Systemd, &[SYSTEMD])] {
        let outcomes = accepted(&raw, Format::Env(dialect), &values);
        for consumer in consumers {
            let wrong = misread(consumer, &raw, &outcomes).len();
            println!("{wrong} of {} misread by {}", outcomes.len(), consumer.name);
            assert!(wrong * 7 > outcomes.len(), "{}: only {wrong} of {}", consumer.name, outcomes.len());
        }
    }
}

#[test]
fn json() {
    type Expected = fn(&str) -> serde_json::Value;
    let places: [(&'static str, Expected); 6] = [
        ("{\"k\": << secrets.v >>, \"end\": 1}", |v| serde_json::json!({"k": v, "end": 1})),
        ("{\"k\": \"<< secrets.v >>\", \"end\": 1}", |v| serde_json::json!({"k": v, "end": 1})),
        ("{\"k\": \"a\\n<< secrets.v >>\\\"\"}", |v| serde_json::json!({"k": format!("a\n{v}\"")})),
        ("{<< secrets.v >>: [<< secrets.v | quote >>]}", |v| serde_json::json!({v: [v]})),
        ("{\"k\": << secrets.v | tojson >>}", |v| serde_json::json!({"k": v})),
        (
            "{\"k\": \"<< secrets.v | tojson >>\"}",
            |v| serde_json::json!({"k": serde_json::to_string(v).unwrap()}),
        ),
    ];
    let values = wild_values();
    for (template, expected) in places {
        let outcomes = accepted(&place(template, 85), Format::Json, &values);
        let files: Vec<_> = outcomes.iter().map(|outcome| outcome.file.clone()).collect();
        for (reader, found) in [("python", PYTHON_JSON.answers(&files)), ("jq", jq(&files))] {
            for (outcome, found) in outcomes.iter().zip(found) {
                let value = std::str::from_utf8(&outcome.value).expect("JSON refuses what is not UTF-8");
                let is_tojson_text = template.contains("\"<< secrets.v | tojson");
                let found = if is_tojson_text { reparsed(found) } else { found };
                let expected = if is_tojson_text { serde_json::json!({"k": value}) } else { expected(value) };
                assert_eq!(found, expected, "{reader}: {value:?} at {template}");
            }
        }
    }
}

/// JSON in a JSON string may be written in several ways; what counts is what it says.
fn reparsed(mut found: serde_json::Value) -> serde_json::Value {
    let inner = found["k"].as_str().expect("a string").to_owned();
    found["k"] = serde_json::from_str(&inner).expect("JSON in the string");
    found
}
