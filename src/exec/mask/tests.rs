//! The filter against a reference that sees everything at once, cut at every place; and the forms
//! against the programs that write them.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

fn masks(values: &[&[u8]]) -> Arc<Masks> {
    let masks = Masks::default();
    values.iter().for_each(|value| masks.add("a", &SecretBytes::copy_of(value)));
    Arc::new(masks)
}

fn filtered(masks: &Arc<Masks>, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut filter, mut out) = (Filter::new(masks.clone()), Vec::new());
    pieces.iter().for_each(|piece| filter.feed(piece, &mut out));
    filter.end(&mut out);
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn shown(values: &[&str], output: &str) -> String {
    let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
    text(&filtered(&masks(&values), &[output.as_bytes()]))
}

/// All occurrences of all forms, and what of them touches, by trying every place.
fn reference(values: &[Vec<u8>], output: &[u8]) -> Vec<u8> {
    let values = values.iter().map(|value| value.trim_ascii()).filter(|value| value.len() >= LEAST);
    let forms: Vec<_> = values.flat_map(Forms::of).collect();
    let mut is_masked = vec![false; output.len()];
    for at in 0..output.len() {
        for form in forms.iter().filter(|form| output[at..].starts_with(form.expose())) {
            is_masked[at..at + form.len()].fill(true);
        }
    }
    let mut out = Vec::new();
    for (at, byte) in output.iter().enumerate() {
        match is_masked[at] {
            false => out.push(*byte),
            true if at > 0 && is_masked[at - 1] => {}
            true => out.extend_from_slice(MASK),
        }
    }
    out
}

#[test]
fn what_overlaps_or_touches_is_one_mask() {
    assert_eq!(shown(&["hunter2", "hunter2000"], "a hunter2000 b hunter2"), "a *** b ***");
    assert_eq!(shown(&["abcdef", "defghi"], "xabcdefghiy"), "x***y", "not a half of the second");
    assert_eq!(shown(&["hunter2"], "hunter2hunter2 hunter2"), "*** ***");
    assert_eq!(shown(&["abab"], "abababa"), "***a");
}

#[test]
fn a_cut_at_every_place_changes_nothing() {
    let output = b"a hunter2 b hunter2000 c aHVudGVyMg== d 68756e74657232, hunter h hunter";
    let masks = masks(&[b"hunter2", b"hunter2000", b"hunt"]);
    let whole = filtered(&masks, &[output]);
    assert_eq!(text(&whole), "a *** b *** c *** d ***, ***er h ***er");
    let mut leaks = 0;
    for first in 0..=output.len() {
        for second in first..=output.len() {
            let pieces = [&output[..first], &output[first..second], &output[second..]];
            assert_eq!(filtered(&masks, &pieces), whole, "{first} {second}");
            // The control: each piece by itself.
            let alone: Vec<u8> = pieces.iter().flat_map(|piece| filtered(&masks, &[piece])).collect();
            leaks += usize::from(alone != whole);
        }
    }
    assert!(leaks > 1000, "a filter that holds nothing back passes only {leaks} cuts less");
}

proptest! {
    /// Of few letters, so that values meet, overlap and nest.
    #[test]
    fn it_does_what_the_reference_does(
        values in proptest::collection::vec(proptest::collection::vec(b'a'..=b'c', 0..9), 0..5),
        output in proptest::collection::vec(b'a'..=b'd', 0..120),
        cuts in proptest::collection::vec(0usize..120, 0..6),
    ) {
        let masks = masks(&values.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(output.len())).collect();
        cuts.extend([0, output.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &output[cut[0]..cut[1]]).collect();
        prop_assert_eq!(text(&filtered(&masks, &pieces)), text(&reference(&values, &output)));
    }

    #[test]
    fn wild_values_are_masked_in_wild_output(
        value in proptest::collection::vec(any::<u8>(), 4..40),
        before in proptest::collection::vec(any::<u8>(), 0..20),
        cut in 0usize..60,
    ) {
        let output = [&before[..], &value, b"\n"].concat();
        let cut = cut.min(output.len());
        let masked = filtered(&masks(&[&value]), &[&output[..cut], &output[cut..]]);
        prop_assert_eq!(text(&masked), text(&reference(&[value], &output)));
    }
}

#[test]
fn what_was_released_is_not_forgotten() {
    let masks = masks(&[b"hunter2"]);
    let (mut filter, mut out) = (Filter::new(masks), Vec::new());
    filter.feed(b"is it hu", &mut out);
    assert_eq!((text(&out), filter.held()), ("is it ".into(), Held::Little));
    filter.release(&mut out);
    assert_eq!((text(&out), filter.held()), ("is it hu".into(), Held::Nothing));
    filter.feed(b"nter", &mut out);
    assert_eq!((text(&out), filter.held()), ("is it hu".into(), Held::Much));
    filter.feed(b"2?", &mut out);
    assert_eq!(text(&out), "is it hu***?");
    filter.feed(b" or hunt", &mut out);
    filter.release(&mut out);
    filter.feed(b"s", &mut out);
    assert_eq!(text(&out), "is it hu***? or hunts");
}

#[test]
fn a_value_that_comes_later_is_masked_from_then_on() {
    let masks = masks(&[b"first-value"]);
    let (mut filter, mut out) = (Filter::new(masks.clone()), Vec::new());
    filter.feed(b"second-value ", &mut out);
    masks.add("b", &SecretBytes::copy_of(b"second-value"));
    filter.feed(b"second-value first-value", &mut out);
    filter.end(&mut out);
    assert_eq!(text(&out), "second-value *** ***");
}

#[test]
fn too_short_a_value_is_told_once() {
    let masks = masks(&[b"", b"abc\n", b"  \n"]);
    assert_eq!(masks.take_too_short().into_iter().collect::<Vec<_>>(), ["a"]);
    assert!(masks.take_too_short().is_empty());
    assert_eq!(text(&filtered(&masks, &[b"abc"])), "abc");
}

#[test]
fn a_long_value_is_held_back_in_pieces() {
    let value: Vec<u8> = (0..10_001u32).flat_map(|n| format!("{n:x},").into_bytes()).collect();
    let masks = masks(&[&value]);
    let (mut filter, mut out) = (Filter::new(masks.clone()), Vec::new());
    for piece in value.chunks(1000) {
        filter.feed(piece, &mut out);
        assert!(filter.text.len() < 5096, "{}", filter.text.len());
    }
    filter.end(&mut out);
    assert_eq!(text(&out), "***");
}

const PEM: &str = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQDBHXwr\nAb/+9==\n-----END KEY-----\n";

#[test]
fn several_lines_are_masked_together_and_alone() {
    assert_eq!(shown(&[PEM], PEM), "***\n");
    assert_eq!(shown(&[PEM], &PEM.replace('\n', "\r\n")), "***\r\n");
    assert_eq!(shown(&[&PEM.replace('\n', "\r\n")], PEM), "***\n");
    let indented = PEM.replace('\n', "\n    ");
    let alone = "-----BEGIN KEY-----\n    ***\n    ***\n    Ab/+9==\n    -----END KEY-----\n    ";
    assert_eq!(shown(&[PEM], &indented), alone, "a short line is no secret by itself");
    assert_eq!(shown(&[PEM], "log: BKcwggSjAgEAAoIBAQDBHXwr\n"), "log: ***\n");
}

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

/// Nothing of eight bytes of the value's own characters is left.
#[test]
fn the_forms_are_those_that_programs_write() {
    let values = [
        "hunter2-and-more".to_owned(),
        "p@ss w0rd/with+all? of:it&<b>'q'\"\\ ~*!()".to_owned(),
        "grüße-€-😀-schlüssel".to_owned(),
        "x".to_owned() + &"0123456789abcdefghijklmnopqrstuvwxyz".repeat(6),
        PEM.trim().to_owned(),
    ];
    for value in &values {
        let masks = masks(&[value.as_bytes()]);
        for (name, script) in WRITERS {
            // Lower case of letters of the value itself is no form of it.
            if name.ends_with("small") && value.to_lowercase() != *value {
                continue;
            }
            let output = said(script, value);
            let seen = text(&filtered(&masks, &[&output]));
            assert!(seen.contains("***"), "{name}: {seen} of {}", text(&output));
            let rest = seen.replace("***", "");
            assert!(rest.len() < 90 && !leaks(&output, &rest), "{name}: {seen} of {}", text(&output));
        }
    }
}

/// More of the output is left than what stands around the value.
fn leaks(output: &[u8], rest: &str) -> bool {
    let around = 10 * (1 + text(output).trim().lines().count());
    rest.len() > around.max(24)
}

fn said(script: &str, value: &str) -> Vec<u8> {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("V", value).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().expect("sh");
    let missing = "it needs jq, openssl, python3 and node: apt-get install jq openssl python3 nodejs";
    assert!(output.status.success() && !output.stdout.is_empty(), "{script}: {missing}");
    let mut told = output.stdout;
    told.write_all(b"\n").expect("memory");
    told
}
