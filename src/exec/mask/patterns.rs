//! Many texts, sought in one pass: sorted, so that they are walked like a tree, behind a table of
//! bits that passes over nearly everything that begins none of them. Pure.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::LEAST;
use crate::secret::SecretBytes;

/// A text that is sought. Ordered by its bytes.
#[derive(Clone)]
pub(super) struct Pattern(Arc<SecretBytes>);

impl Pattern {
    pub(super) fn new(bytes: SecretBytes) -> Self {
        debug_assert!(bytes.len() >= LEAST);
        Self(Arc::new(bytes))
    }

    fn bytes(&self) -> &[u8] {
        self.0.expose()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes().cmp(other.bytes())
    }
}

pub(super) struct Patterns {
    sorted: Vec<Pattern>,
    beginnings: Beginnings,
}

/// What begins at a place of a text.
pub(super) struct Found {
    /// The length of the longest pattern that stands there; 0 for none.
    pub(super) longest: usize,
    /// The text ends before it is known whether a longer one stands there.
    pub(super) is_undecided: bool,
}

impl Patterns {
    pub(super) fn new(sorted: &BTreeSet<Pattern>) -> Self {
        let sorted: Vec<Pattern> = sorted.iter().cloned().collect();
        Self { beginnings: Beginnings::of(&sorted), sorted }
    }

    /// The first place from here on where a pattern may begin.
    pub(super) fn next(&self, text: &[u8], from: usize) -> usize {
        if self.sorted.is_empty() {
            return text.len();
        }
        let rest = &text[from..];
        match rest.windows(LEAST).position(|window| self.beginnings.has(window)) {
            Some(place) => from + place,
            // In the last bytes one may begin whose next bytes are not there yet.
            None => text.len() - rest.len().min(LEAST - 1),
        }
    }

    /// Which patterns the text begins with.
    pub(super) fn at(&self, text: &[u8]) -> Found {
        let mut found = Found { longest: 0, is_undecided: false };
        let (mut those, mut depth) = (0..self.sorted.len(), 0);
        while !those.is_empty() {
            // Of those that agree with the text so far, the shortest is the first.
            let (first, last) = (self.sorted[those.start].bytes(), self.sorted[those.end - 1].bytes());
            if first.len() == depth {
                found.longest = depth;
                those.start += 1;
                continue;
            }
            // As far as the first and the last agree, all do.
            let common = agreement(&first[depth..], &last[depth..]);
            let agreed = agreement(&text[depth..], &first[depth..depth + common]);
            depth += agreed;
            if depth == text.len() {
                found.is_undecided = first.len() > depth || those.len() > 1;
                found.longest = if first.len() == depth { depth } else { found.longest };
                break;
            }
            if agreed < common {
                break;
            }
            if first.len() > depth {
                those = self.with(those, depth, text[depth]);
                depth += usize::from(!those.is_empty());
            }
        }
        found
    }

    /// Those that go on with this byte. All of them are longer than `depth`.
    fn with(&self, those: Range<usize>, depth: usize, byte: u8) -> Range<usize> {
        let at = |it: &Pattern| it.bytes()[depth];
        let sorted = &self.sorted[those.clone()];
        let start = sorted.partition_point(|it| at(it) < byte);
        let count = sorted[start..].partition_point(|it| at(it) == byte);
        those.start + start..those.start + start + count
    }
}

/// How many bytes both begin with.
fn agreement(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// With which bytes a pattern begins: surely not, or perhaps.
struct Beginnings {
    bits: Vec<u64>,
    shift: u32,
}

/// Bits per pattern: about one of so many other texts is taken for a beginning.
const SPARSENESS: usize = 64;
const BITS: Range<usize> = 1 << 13..1 << 23;

impl Beginnings {
    fn of(patterns: &[Pattern]) -> Self {
        let count = (patterns.len() * SPARSENESS).next_power_of_two().clamp(BITS.start, BITS.end);
        let mut table = Self { bits: vec![0; count / 64], shift: 32 - count.ilog2() };
        for pattern in patterns {
            let (word, bit) = table.place(pattern.bytes());
            table.bits[word] |= bit;
        }
        table
    }

    fn has(&self, window: &[u8]) -> bool {
        let (word, bit) = self.place(window);
        self.bits[word] & bit != 0
    }

    /// By Fibonacci hashing: the upper bits of the product depend on all of the bytes.
    fn place(&self, bytes: &[u8]) -> (usize, u64) {
        let bytes: [u8; LEAST] = bytes[..LEAST].try_into().expect("as long as that");
        let place = u32::from_le_bytes(bytes).wrapping_mul(0x9E37_79B1) >> self.shift;
        (place as usize / 64, 1 << (place % 64))
    }
}
