//! Wild values, other ones in each run: what has meaning in some format, what is known to make readers
//! stumble, and what runs where a reader lets it.

#![allow(dead_code, unreachable_pub)]

pub mod proof;

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::common;

const FRAGMENTS: [&str; 99] = [
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
    "$(echo >CANARY)",
    "`echo >CANARY`",
    "'$(echo >CANARY)'",
    "\"`echo >CANARY`\"",
    "\n$(echo >CANARY)\n",
    ";echo >CANARY;",
    "|&`",
    "%{x}",
    "#{x}",
    "yes",
    "null",
    "~",
    "1e3",
    "0012",
    "- ",
    "? ",
    ": ",
    "--- ",
    "\n---\n",
    "\n...\n",
    "<<",
    "*a",
    "&a ",
    "!!int ",
    "!!python/object/apply:os.system [\"echo >CANARY\"]",
    "!ruby/object:Object {}",
    "!!javax.script.ScriptEngineManager [x]",
    "@",
    "\u{a0}",
    "\u{2003}",
    "\u{1}",
    "\u{1f}",
    "\\",
    "EVIL: 1",
    "\nEVIL: 1\n",
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

/// As many as the run is long, in portions that a reader takes at once.
pub fn portions() -> impl Iterator<Item = Vec<Vec<u8>>> {
    let (portions, count) = if common::long() { (10, 10_000) } else { (1, 150) };
    (0..portions).map(move |portion| {
        let fixed = if portion == 0 { fixed() } else { Vec::new() };
        fixed.into_iter().chain(draw(wild(), count)).collect()
    })
}

/// Without the large ones, which take parsers written in Python seconds; in a long run with them.
pub fn small_portions() -> impl Iterator<Item = Vec<Vec<u8>>> {
    let is_small = |value: &Vec<u8>| value.len() < 1024 || common::long();
    portions().map(move |values| values.into_iter().filter(is_small).collect())
}

/// Others in each run; a failure prints the one that it is about.
pub fn draw<T: fmt::Debug>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&now.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn fixed() -> Vec<Vec<u8>> {
    let fragments = FRAGMENTS.iter().map(|text| text.as_bytes().to_vec());
    let largest = if common::long() { 1024 * 1024 } else { 70_000 };
    let large = [65_000, 65_536, largest].map(|size| vec![b'x'; size]);
    fragments.chain([Vec::new()]).chain(large).collect()
}
