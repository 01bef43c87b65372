//! The filter against a reference that sees everything at once, cut at every place; what it holds
//! back, and what its work costs.

mod writers;

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
        for form in forms.iter().map(Pattern::bytes).filter(|form| output[at..].starts_with(form)) {
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

/// As `grep --color` writes what it has found, and `tput` what is bold.
#[test]
fn colour_inside_of_a_value_stays_and_the_value_does_not() {
    let grep = "Tr0ub\x1b[01;31m\x1b[K4dor\x1b[m\x1b[K&3/x";
    assert_eq!(shown(&["Tr0ub4dor&3/x"], grep), "***\x1b[01;31m\x1b[K\x1b[m\x1b[K");
    assert_eq!(shown(&["Tr0ub4dor&3/x"], "T\x1b[1mr\x1b(B\x1b[m0ub4dor&3/x."), "***\x1b[1m\x1b(B\x1b[m.");
    assert_eq!(shown(&["hunter2"], "\x1b[1mhunter2\x1b[m hun\x1b[2Jter2"), "\x1b[1m***\x1b[m hun\x1b[2Jter2");
    assert_eq!(shown(&["hunter2"], "aHVu\x1b[1mdGVyMg== 6875\x1b[m6e74657232"), "***\x1b[1m ***\x1b[m");
    // A value that has one itself: nobody can say which is whose.
    assert_eq!(shown(&["hun\x1b[1mter2"], "hun\x1b[1mter\x1b[m2."), "***.");
}

#[test]
fn colour_is_cut_at_every_place_too() {
    let output =
        b"T\x1b[01;31m\x1b[Kr0u\x1b[m\x1b[Kb4dor VHIw\x1b[1mdWI0ZG9y 54 72\n 30 75\x1b[m 62 34 64 6f 72\n";
    let masks = masks(&[b"Tr0ub4dor"]);
    let whole = "***\x1b[01;31m\x1b[K\x1b[m\x1b[K ***\x1b[1m ***\x1b[m\n";
    for cut in 0..=output.len() {
        assert_eq!(text(&filtered(&masks, &[&output[..cut], &output[cut..]])), whole, "{cut}");
    }
}

/// A prompt in colour ends in what may begin a value: nobody waits for it as for half of one.
#[test]
fn what_is_little_is_little_with_colour_too() {
    let masks = masks(&[b"hunter2"]);
    let (mut filter, mut out) = (Filter::new(masks), Vec::new());
    filter.feed(b"user@h\x1b[01;32m", &mut out);
    assert_eq!((text(&out), filter.held()), ("user@".into(), Held::Little));
    filter.release(&mut out);
    assert_eq!(text(&out), "user@h\x1b[01;32m");
    filter.feed(b"unter2.", &mut out);
    assert_eq!(text(&out), "user@h\x1b[01;32m***.");
    filter.feed(b"hunt", &mut out);
    assert_eq!(filter.held(), Held::Much);
}

/// What is no form: a line break in the value itself, words of a machine, the half of a Base64.
#[test]
fn what_the_page_says_is_not_seen() {
    for output in [
        "hunt\ner2-and-more",
        "7568 746e 7265 2d32 6e61 2d64 6f6d 6572",
        "150 165 156 164 145 162 062",
        "aHVudGVyMi1hbm",
        "hunter2-and-mor",
        "hunter2-an \x08d-more",
        "PBUHK3TUMVZDELLBNZSC23LPOJSQ====",
    ] {
        assert_eq!(shown(&["hunter2-and-more"], output), output);
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

/// Each line of a value is one, and so is a password in an address.
#[test]
fn a_whole_value_is_masked_also_where_a_longer_one_is_waited_for() {
    let masks = masks(&[b"postgres://app:hunter2@db", b"hunter2", b"line one\nline two\nline three"]);
    for (half, shown, rest, end) in [
        ("postgres://app:hunter2", "postgres://app:***", "@db.", "."),
        ("postgres://app:hunter2", "postgres://app:***", "@other.", "@other."),
        ("line one\nline two\n", "***\n***\n", "line three.", "."),
        ("line one\nline two\n", "***\n***\n", "and so on", "and so on"),
    ] {
        let (mut filter, mut out) = (Filter::new(masks.clone()), Vec::new());
        filter.feed(half.as_bytes(), &mut out);
        assert_eq!(filter.held(), Held::Much, "the control: a longer one may come");
        filter.release(&mut out);
        assert_eq!((text(&out).as_str(), filter.held()), (shown, Held::Nothing));
        filter.feed(rest.as_bytes(), &mut out);
        filter.end(&mut out);
        let out = text(&out);
        assert!(out.starts_with(shown) && out.ends_with(end), "{out}");
        assert!(
            !["hunter2", "line one", "line two", "line three"].iter().any(|it| out.contains(it)),
            "{out}"
        );
    }
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

/// Of what may lie in a value nobody holds back more and more.
#[test]
fn gaps_without_end_are_none() {
    let masks = masks(&[b"hunter2", b"%%%%%%%"]);
    for (before, gap) in [("hunt", "\x1b[1m"), ("hunt", "\\"), ("%%%%", "25"), ("aHVu", "\n"), ("6875", " ")]
    {
        let (mut filter, mut out) = (Filter::new(masks.clone()), before.as_bytes().to_vec());
        filter.feed(before.as_bytes(), &mut out);
        for _ in 0..100 {
            filter.feed(gap.repeat(100).as_bytes(), &mut out);
            assert!(filter.text.len() < 1000, "{before} {gap:?} {}", filter.text.len());
        }
    }
}

const PEM: &str = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQDBHXwr\nAb/+9==\n-----END KEY-----\n";

#[test]
fn several_lines_are_masked_together_and_alone() {
    assert_eq!(shown(&[PEM], PEM), "***\n");
    assert_eq!(shown(&[PEM], &PEM.replace('\n', "\r\n")), "***\r\n");
    assert_eq!(shown(&[&PEM.replace('\n', "\r\n")], PEM), "***\n");
    let indented = PEM.replace('\n', "\n    ");
    let alone = "-----BEGIN KEY-----\n    ***\n    -----END KEY-----\n    ";
    assert_eq!(shown(&[PEM], &indented), alone);
    let quoted = PEM.replace('\n', "\n> ");
    let alone = "-----BEGIN KEY-----\n> ***\n> ***\n> Ab/+9==\n> -----END KEY-----\n> ";
    assert_eq!(shown(&[PEM], &quoted), alone, "a short line is no secret by itself");
    assert_eq!(shown(&[PEM], "log: BKcwggSjAgEAAoIBAQDBHXwr\n"), "log: ***\n");
}

/// What a filter compares for each byte of an output.
fn compared(value: &[u8], output: &[u8]) -> usize {
    let masks = masks(&[value]);
    masks.patterns();
    runs::COMPARED.set(0);
    filtered(&masks, &[output]);
    runs::COMPARED.get() / output.len()
}

/// A text that repeats what a value begins with begins it at every place.
#[test]
fn a_byte_costs_no_more_for_a_longer_value() {
    let units: [&[u8]; 4] = [b"a", b"ab", b"aaaaaaaaX", b"0123456789abcdef"];
    for unit in units {
        for (end, length) in [(&b""[..], 4000), (b"end", 4000), (b"end", 20_000)] {
            let value = [&unit.repeat(length / unit.len()), end].concat();
            for output in [unit.repeat(12_000 / unit.len()), b"a".repeat(12_000), value.clone()] {
                let cost = compared(&value, &output);
                assert!(cost < 200, "{} {length} {}: {cost}", text(unit), text(&output[..20]));
            }
        }
    }
}

/// The control: where nothing is known of what was met before.
#[test]
fn to_begin_anew_at_each_place_costs_the_length_of_the_value() {
    let value = b"a".repeat(4000);
    let patterns = masks(&[&value]).patterns();
    let output = b"a".repeat(20_000);
    runs::COMPARED.set(0);
    for at in 0..1000 {
        let _ = patterns.at(&output, at, &mut runs::Met::default());
    }
    assert!(runs::COMPARED.get() / 1000 > 4000);
}
