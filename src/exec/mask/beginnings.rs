//! With which bytes patterns begin, as they are and with a gap after the first bytes: a table of
//! bits for all that begins none, and the bytes themselves for what the bits are too few for. Pure.

use std::ops::Range;

use zeroize::Zeroizing;

use super::LEAST;
use super::gaps::ESCAPE;
use super::patterns::{Kind, Pattern};

#[derive(Default)]
pub(super) struct Beginnings {
    bits: Vec<u64>,
    shift: u32,
    /// Sorted, each once, with the kinds that begin so.
    exact: Zeroizing<Vec<(u32, u8)>>,
}

/// Bits per beginning: about one of so many other texts is taken for one.
const SPARSENESS: usize = 64;
const BITS: Range<usize> = 1 << 13..1 << 23;

impl Beginnings {
    pub(super) fn of(patterns: &[Pattern]) -> Self {
        let mut exact = Zeroizing::new(Vec::with_capacity(patterns.len() * 4));
        patterns.iter().for_each(|pattern| {
            each(pattern, |bytes| exact.push((u32::from_le_bytes(bytes), 1 << pattern.kind as u8)));
        });
        exact.sort_unstable();
        exact.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            kept.1 |= if is_same { next.1 } else { 0 };
            is_same
        });
        let count = (exact.len() * SPARSENESS).next_power_of_two().clamp(BITS.start, BITS.end);
        let mut table =
            Self { bits: vec![0; count / 64], shift: 32 - count.ilog2(), exact: Zeroizing::default() };
        for &(bytes, _) in exact.iter() {
            let (word, bit) = table.place(bytes);
            table.bits[word] |= bit;
        }
        Self { exact, ..table }
    }

    /// The first place where one stands.
    pub(super) fn first_in(&self, text: &[u8]) -> Option<usize> {
        text.windows(LEAST).position(|window| {
            let bytes = number(window);
            let (word, bit) = self.place(bytes);
            self.bits[word] & bit != 0 && self.kinds(bytes) != 0
        })
    }

    /// Whether something of this kind may begin the text: with colour in its first bytes, or so few
    /// of them, anything.
    pub(super) fn may_begin(&self, text: &[u8], kind: Kind) -> bool {
        text.len() < LEAST
            || text[..LEAST].contains(&ESCAPE)
            || self.kinds(number(text)) & 1 << kind as u8 != 0
    }

    fn kinds(&self, bytes: u32) -> u8 {
        self.exact.binary_search_by_key(&bytes, |it| it.0).map_or(0, |place| self.exact[place].1)
    }

    /// By Fibonacci hashing: the upper bits of the product depend on all of the bytes.
    fn place(&self, bytes: u32) -> (usize, u64) {
        let place = bytes.wrapping_mul(0x9E37_79B1) >> self.shift;
        (place as usize / 64, 1 << (place % 64))
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..LEAST].try_into().expect("as long as that"))
}

/// What may stand after the first byte of digits.
const AFTER_BYTE: [&[u8]; 10] = [b" ", b":", b"  ", b", ", b",\n", b"\n ", b"\n0", b":\n", b"\\x", b"\r\n"];

/// What has a backslash before it somewhere: words of a shell, double quotes of one, strings.
const QUOTED: [fn(u8) -> bool; 4] = [
    |byte| byte.is_ascii_punctuation() && !b"_-./:=@%+".contains(&byte) || byte == b' ',
    |byte| b"\"$`\\".contains(&byte),
    |byte| b"'\\".contains(&byte),
    |byte| b"\"\\".contains(&byte),
];
const MOST_SLASHES: usize = 3;

fn each(pattern: &Pattern, mut tell: impl FnMut([u8; LEAST])) {
    let first = &pattern.bytes()[..LEAST];
    tell(first.try_into().expect("as long as that"));
    match pattern.kind {
        Kind::Base => {}
        Kind::Hex => AFTER_BYTE.iter().for_each(|gap| {
            tell(filled(first[..2].iter().chain(*gap).chain(&first[2..]).copied()));
        }),
        Kind::Text if first.iter().all(u8::is_ascii_alphanumeric) => {}
        Kind::Text => {
            for is_quoted in QUOTED {
                for slashes in 1..=MOST_SLASHES {
                    let slashes = |byte| if is_quoted(byte) { slashes } else { 0 };
                    // The first byte is where it begins, whatever stands before it.
                    let more = first[1..]
                        .iter()
                        .flat_map(|&byte| std::iter::repeat_n(b'\\', slashes(byte)).chain([byte]));
                    tell(filled([first[0]].into_iter().chain(more)));
                }
            }
            if first.contains(&b'%') {
                let again =
                    |&byte: &u8| [byte, b'2', b'5'].into_iter().take(if byte == b'%' { 3 } else { 1 });
                tell(filled(first.iter().flat_map(again)));
            }
        }
    }
}

/// The first of these bytes.
fn filled(bytes: impl Iterator<Item = u8>) -> [u8; LEAST] {
    let mut out = [0; LEAST];
    out.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    out
}
