//! The forms of a value against the programs that write them. Needs what tests/run installs.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{PEM, shown, text};

/// What these say of the value in their argument.
const WRITERS: &[(&str, &str)] = &[
    ("base64", "printf %s \"$V\" | base64"),
    ("base64 of a line", "echo \"$V\" | base64"),
    ("base64 without lines", "printf %s \"$V\" | base64 -w0"),
    ("openssl base64", "printf %s \"$V\" | openssl base64"),
    ("base64 behind something", "for p in a bb ccc dddd; do printf %s%s $p \"$V\" | base64 -w0; echo; done"),
    (
        "base64 between something",
        "for p in a bb ccc; do printf '%s:%s:%s' $p \"$V\" end | base64 -w0; echo; done",
    ),
    (
        "base64url",
        "python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.environb[b\"V\"]).decode())'",
    ),
    ("hex", "printf %s \"$V\" | od -An -v -tx1 | tr -d ' \\n'"),
    ("HEX", "printf %s \"$V\" | od -An -v -tx1 | tr -d ' \\n' | tr a-f A-F"),
    ("base64 -w 20", "printf %s \"$V\" | base64 -w 20"),
    ("base64 between, in lines", "printf 'user:%s:x' \"$V\" | base64 -w 20"),
    ("base32", "printf %s \"$V\" | base32"),
    ("base32 of a line", "echo \"$V\" | base32 -w 0"),
    ("base32 without =", "printf %s \"$V\" | base32 -w 0 | tr -d ="),
    ("xxd -p", "printf %s \"$V\" | xxd -p"),
    ("xxd -p -u of a line", "echo \"$V\" | xxd -p -u"),
    ("xxd", "printf %s \"$V\" | xxd"),
    ("xxd of a line", "echo \"$V\" | xxd"),
    ("xxd behind something", "printf 'user:%s' \"$V\" | xxd"),
    ("xxd -i", "printf %s \"$V\" | xxd -i"),
    ("hexdump -C", "printf %s \"$V\" | hexdump -v -C"),
    ("hexdump -C of a line", "echo \"$V\" | hexdump -v -C"),
    ("od -tx1", "printf %s \"$V\" | od -v -tx1"),
    ("od -An -tx1", "printf %s \"$V\" | od -An -v -tx1"),
    ("hex with colons", "python3 -c 'import os; print(os.environb[b\"V\"].hex(\":\"))'"),
    (
        "hex in lines with colons",
        "python3 -c 'import os, textwrap; print(\"\\n\".join(textwrap.wrap(os.environb[b\"V\"].hex(\":\"), 45)))'",
    ),
    ("bash %q", "LC_ALL=C.UTF-8 bash -c 'printf %q \"$V\"'"),
    ("bash %q without a locale", "LC_ALL=C bash -c 'printf %q \"$V\"'"),
    ("bash declare", "LC_ALL=C.UTF-8 bash -c 'declare -p V'"),
    ("bash @Q", "LC_ALL=C.UTF-8 bash -c 'echo \"${V@Q}\"'"),
    ("bash -x", "LC_ALL=C.UTF-8 bash -xc ': \"$V\"' 2>&1"),
    ("zsh (q)", "LC_ALL=C.UTF-8 zsh -c 'echo -E ${(q)V}'"),
    ("zsh (qqq)", "LC_ALL=C.UTF-8 zsh -c 'echo -E ${(qqq)V}'"),
    ("zsh (qqqq)", "LC_ALL=C.UTF-8 zsh -c 'echo -E ${(qqqq)V}'"),
    ("zsh -x", "LC_ALL=C.UTF-8 zsh -xc ': \"$V\"' 2>&1"),
    ("python repr", "python3 -c 'import os; print({\"p\": os.environ[\"V\"]})'"),
    (
        "python repr with both quotes",
        "python3 -c 'import os; print(repr(os.environ[\"V\"] + chr(39) + chr(34)))'",
    ),
    ("python ascii", "python3 -c 'import os; print(repr(os.environb[b\"V\"]))'"),
    ("node console.log", "node -e 'console.log({p: process.env.V})' | sed \"s/[' +]*$//; s/^ *'//\""),
    ("json in json", "jq -cn '{a: ({p: env.V} | tojson)}'"),
    (
        "json in json in json",
        "python3 -c 'import json, os; d = json.dumps; print(d(d(d(os.environ[\"V\"]))))'",
    ),
    ("php json", "php -r 'echo json_encode(getenv(\"V\"));'"),
    ("ruby inspect", "ruby -e 'Encoding.default_external = \"UTF-8\"; p ENV[\"V\"]'"),
    ("url twice", "jq -rn 'env.V | @uri | @uri'"),
    ("url three times", "jq -rn 'env.V | @uri | @uri | @uri'"),
    ("python json", "python3 -c 'import json, os; print(json.dumps({\"a\": os.environ[\"V\"]}))'"),
    (
        "python json, wide",
        "python3 -c 'import json, os; print(json.dumps(os.environ[\"V\"], ensure_ascii=False))'",
    ),
    ("jq", "jq -n 'env.V'"),
    ("jq @uri", "jq -rn 'env.V | @uri'"),
    ("jq @html", "jq -rn 'env.V | @html'"),
    ("jq @sh", "jq -rn 'env.V | @sh'"),
    ("quote", "python3 -c 'import urllib.parse as u, os; print(u.quote(os.environ[\"V\"]))'"),
    (
        "quote, small",
        "python3 -c 'import urllib.parse as u, os; print(u.quote(os.environ[\"V\"], \"\").lower())' | sed s/@@/@@/",
    ),
    ("quote_plus", "python3 -c 'import urllib.parse as u, os; print(u.quote_plus(os.environ[\"V\"]))'"),
    ("node json", "node -p 'JSON.stringify([process.env.V])'"),
    ("encodeURIComponent", "node -p 'encodeURIComponent(process.env.V)'"),
    ("encodeURI", "node -p 'encodeURI(process.env.V)'"),
    ("URLSearchParams", "node -p 'new URLSearchParams({v: process.env.V}).toString()'"),
    ("a terminal", "printf %s \"$V\" | sed 's/$/\\r/'"),
];

/// Of each nothing is left but what the program writes around a value.
#[test]
fn the_forms_are_those_that_programs_write() {
    let values = [
        "hunter2-and-more".to_owned(),
        "p@ss w0rd/with+all? of:it&<b>'q'\"\\ ~*!()-grüße-€-😀".to_owned(),
        "x".to_owned() + &"0123456789abcdefghijklmnopqrstuvwxyz".repeat(6),
        PEM.trim().to_owned(),
    ];
    let written = std::thread::scope(|scope| {
        let of = |value| scope.spawn(move || WRITERS.iter().map(|it| said(it.1, value)).collect::<Vec<_>>());
        let all = ["", &values[0], &values[1], &values[2], &values[3]].map(of);
        all.map(|it| it.join().expect("all of them"))
    });
    for (number, (name, _)) in WRITERS.iter().enumerate() {
        let around = letters(&text(&written[0][number])) + MORE;
        let mut is_form = false;
        for (value, written) in values.iter().zip(&written[1..]) {
            // Lower case of letters of the value itself is no form of it.
            if name.ends_with("small") && value.to_lowercase() != *value {
                continue;
            }
            let output = text(&written[number]);
            let seen = shown(&[value], &output);
            let rest =
                seen.replace("***", "").replace("-----BEGIN KEY-----", "").replace("-----END KEY-----", "");
            assert!(seen.contains("***") && letters(&rest) <= around, "{name}: {seen} of {output}");
            // The control: one who knows the value as it is alone.
            is_form |= letters(&output.replace(value, "")) > around;
        }
        assert!(is_form, "{name} writes no form");
    }
}

/// Where a dump begins and ends, and digits that a value shares with what stands beside it.
const MORE: usize = 18;

fn letters(text: &str) -> usize {
    text.chars().filter(|char| !char.is_whitespace()).count()
}

fn said(script: &str, value: &str) -> Vec<u8> {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("V", value).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().expect("sh");
    let missing =
        "it needs what tests/run installs: xxd, hexdump, zsh, jq, openssl, python3, node, php, ruby";
    assert!(output.status.success(), "{script}: {missing}");
    let mut told = output.stdout;
    told.write_all(b"\n").expect("memory");
    told
}
