//! Whatever somebody without a key changes in a log is found; and what is taken off its end, against a
//! checkpoint.

use super::*;

/// A generator that a seed repeats (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((it ^ (it >> 31)) % limit as u64) as usize
    }
}

/// One change that somebody makes to a log: never only its end taken away.
fn tamper(lines: &mut Vec<Vec<u8>>, random: &mut Random) -> &'static str {
    let at = random.below(lines.len());
    match random.below(6) {
        0 => {
            let byte = random.below(lines[at].len());
            lines[at][byte] ^= 1 << random.below(8);
            "a bit"
        }
        1 => {
            let byte = random.below(lines[at].len());
            lines[at].remove(byte);
            "a byte less"
        }
        2 => {
            let (byte, new) = (random.below(lines[at].len()), random.below(256) as u8);
            lines[at].insert(byte, new);
            "a byte more"
        }
        3 => {
            lines.remove(random.below(lines.len() - 1));
            "a line less"
        }
        4 => {
            let line = lines[at].clone();
            lines.insert(random.below(lines.len() + 1), line);
            "a line more"
        }
        _ => {
            let other = (at + 1 + random.below(lines.len() - 1)) % lines.len();
            lines.swap(at, other);
            "two lines in another order"
        }
    }
}

/// Who can compute hashes makes the chain anew, and leaves the seals as they are.
fn rechain(lines: &mut [Vec<u8>]) {
    let mut before = String::from_utf8(vec![b'0'; 64]).unwrap();
    for line in lines {
        let text = String::from_utf8(line.strip_suffix(b"\n").unwrap().to_vec()).unwrap();
        let at = text.find("\"prev\":\"").unwrap() + 8;
        let text = format!("{}{before}{}", &text[..at], &text[at + 64..]);
        before = chain::hex(&chain::hash(text.as_bytes()));
        *line = (text + "\n").into_bytes();
    }
}

#[test]
fn each_of_ten_thousand_changes_is_found() {
    let place = Place::new();
    write(&place.audit(1 << 30), 0..11);
    let whole = place.lines();
    assert!(verify(&whole, true).findings.is_empty() && verify(&whole, false).findings.is_empty());
    for number in 0..10_000 {
        let mut lines = whole.clone();
        let what = tamper(&mut lines, &mut Random(number));
        let joined = lines.concat();
        let lines: Vec<_> = joined.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        assert!(!verify(&lines, true).findings.is_empty(), "seed {number}: {what}");
    }
}

#[test]
fn hashes_alone_are_no_proof() {
    let place = Place::new();
    write(&place.audit(1 << 30), 0..40);
    let mut forged = place.lines();
    let text = String::from_utf8(forged[20].clone()).unwrap().replace("\"uid\":1000", "\"uid\":1001");
    forged[20] = text.into_bytes();
    rechain(&mut forged);
    assert!(verify(&forged, false).findings.is_empty(), "the control: the chain is right");
    let report = verify(&forged, true);
    assert!(
        report.findings.iter().any(|it| matches!(it.trouble, Trouble::Changed { seq: 21 })),
        "{report:?}"
    );
}

#[test]
fn a_missing_end_is_seen_against_a_checkpoint_only() {
    let place = Place::new();
    let audit = place.audit(1 << 30);
    write(&audit, 0..20);
    let head = audit.head().unwrap();
    let lines = place.lines();
    let cut = &lines[..lines.len() - 5];
    assert!(verify(cut, true).findings.is_empty(), "the control");
    let check = |lines: &[Vec<u8>], seq: u64, hash: &str| {
        let mut verifier = Verifier::new(Some(vec![seed()]));
        verifier.witness(seq, hash);
        lines.iter().for_each(|line| verifier.take(line));
        verifier.finish().is_sound()
    };
    assert!(check(&lines, head.seq, &head.text()));
    assert!(!check(cut, head.seq, &head.text()) && !check(&lines, head.seq - 1, &head.text()));
}
