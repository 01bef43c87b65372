//! Many texts, sought in one pass: sorted, so that they are walked like a tree, behind a table of
//! bits that passes over nearly everything that begins none of them. Pure.

use std::ops::Range;
use std::sync::Arc;

use super::LEAST;
use super::beginnings::Beginnings;
use super::gaps::{ESCAPE, Gap, Manner, next_colour};
use super::runs::{self, Met, Run};
use crate::secret::SecretBytes;

/// What a text that is sought consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Text,
    /// Digits of Base64 or Base32.
    Base,
    Hex,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Text, Self::Base, Self::Hex];

    fn manners(self) -> &'static [Manner] {
        match self {
            Self::Text => &[Manner::Text],
            Self::Base => &[Manner::Base],
            Self::Hex => &[Manner::Hex, Manner::Dump],
        }
    }
}

/// A text that is sought. Ordered by its kind and its bytes.
#[derive(Clone)]
pub(super) struct Pattern {
    pub(super) kind: Kind,
    bytes: Arc<SecretBytes>,
    runs: Arc<[Run]>,
}

impl Pattern {
    pub(super) fn new(kind: Kind, bytes: &[u8]) -> Self {
        debug_assert!(bytes.len() >= LEAST);
        Self { kind, bytes: Arc::new(SecretBytes::copy_of(bytes)), runs: runs::of(bytes).into() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.expose()
    }

    pub(super) fn order(&self) -> (Kind, &[u8]) {
        (self.kind, self.bytes())
    }
}

#[derive(Default)]
pub(super) struct Patterns {
    sorted: Vec<Pattern>,
    /// Where those of each kind are.
    kinds: [Range<usize>; 3],
    beginnings: Beginnings,
    /// None has one in it, so that each that is met is no part of a value.
    pub(super) keep_colours: bool,
}

/// Patterns that agree with a text so far.
#[derive(Clone, Default)]
struct Branch {
    those: Range<usize>,
    /// So many of their bytes,
    depth: usize,
    /// in so many of its own.
    place: usize,
    /// After the last of them.
    since: usize,
    has_gap: bool,
}

/// So much may lie between two bytes, one gap after the other: it bounds what is held back.
const MOST_GAPS: usize = 256;

/// How far patterns agree with a text.
enum End {
    /// None is left that would be longer.
    Over,
    OutOfText,
    /// The next byte is not that of all.
    Apart,
}

/// What begins at a place of a text.
#[derive(Clone, Copy, Default)]
pub(super) struct Found {
    /// The length of the longest that stands there; 0 for nothing.
    pub(super) longest: usize,
    /// The text ends before it is known whether a longer one stands there.
    pub(super) is_undecided: bool,
    /// How much of a pattern that would be by now.
    pub(super) depth: usize,
}

impl Found {
    /// One that stands there whole.
    fn add(&mut self, text: &[u8], branch: &Branch, manner: Manner) {
        let tail = if branch.has_gap { manner.tail(&text[branch.place..]) } else { Gap::None };
        let more = if let Gap::Of(length) = tail { length } else { 0 };
        self.longest = self.longest.max(branch.place + more);
        if tail == Gap::Undecided {
            self.is_undecided = true;
            self.depth = self.depth.max(branch.depth);
        }
    }
}

impl Patterns {
    /// These, and those that were there before.
    pub(super) fn with(&self, added: Vec<Pattern>) -> Self {
        let mut sorted = [&self.sorted[..], &added].concat();
        sorted.sort_by(|one, other| one.order().cmp(&other.order()));
        sorted.dedup_by(|one, other| one.order() == other.order());
        let end = |kind| sorted.partition_point(|it| it.kind <= kind);
        let [texts, bases, all] = Kind::ALL.map(end);
        Self {
            kinds: [0..texts, texts..bases, bases..all],
            beginnings: Beginnings::of(&sorted),
            keep_colours: !sorted.iter().any(|it| it.bytes().contains(&ESCAPE)),
            sorted,
        }
    }

    /// The first place from here on where a pattern may begin: before a colour, which may lie in its
    /// first bytes, each may. `colour` is where the next one is, as far as that is known.
    pub(super) fn next(&self, text: &[u8], from: usize, colour: &mut usize) -> usize {
        if self.sorted.is_empty() {
            return text.len();
        }
        if *colour <= from {
            *colour = next_colour(text, from + 1);
        }
        let rest = &text[from..*colour];
        // In the last bytes one may begin whose next bytes are not there yet.
        from + self.beginnings.first_in(rest).unwrap_or(rest.len() - rest.len().min(LEAST - 1))
    }

    /// Which patterns stand at this place of a text, of which these runs were met.
    pub(super) fn at(&self, text: &[u8], at: usize, met: &mut Met) -> Found {
        let mut found = Found::default();
        for kind in Kind::ALL.into_iter().filter(|&kind| self.beginnings.may_begin(&text[at..], kind)) {
            for &manner in kind.manners() {
                self.walk(Place { text, at, met }, kind, manner, &mut found);
            }
        }
        found
    }

    fn walk(&self, mut from: Place<'_>, kind: Kind, manner: Manner, found: &mut Found) {
        let text = &from.text[from.at..];
        let all = Branch { those: self.kinds[kind as usize].clone(), ..Branch::default() };
        let mut next = Some(all);
        // Where some patterns have a byte that may be a gap in others, both ways are gone.
        let mut others = Vec::new();
        while let Some(mut branch) = next.or_else(|| others.pop()) {
            next = None;
            match self.agree(&mut from, &mut branch, manner, found) {
                End::Over => continue,
                End::OutOfText => {
                    found.is_undecided = true;
                    found.depth = found.depth.max(branch.depth);
                    continue;
                }
                End::Apart => {}
            }
            let here = self.with_byte(branch.those.clone(), branch.depth, text[branch.place]);
            match manner.gap(&text[..branch.place], &text[branch.place..], branch.depth) {
                Gap::Of(length) if branch.depth > 0 && branch.place + length - branch.since <= MOST_GAPS => {
                    others.push(Branch { place: branch.place + length, has_gap: true, ..branch.clone() });
                }
                Gap::Undecided if branch.depth > 0 => {
                    found.is_undecided = true;
                    found.depth = found.depth.max(branch.depth);
                }
                _ => {}
            }
            if !here.is_empty() {
                next =
                    Some(Branch { those: here, depth: branch.depth + 1, place: branch.place + 1, ..branch });
            }
        }
    }

    /// As far as all of them agree with the text.
    fn agree(&self, from: &mut Place<'_>, branch: &mut Branch, manner: Manner, found: &mut Found) -> End {
        let text = &from.text[from.at..];
        while !branch.those.is_empty() {
            // Of those that agree with the text so far, the shortest is the first.
            let those = &self.sorted[branch.those.clone()];
            let (first, last) = (&those[0], &those[those.len() - 1]);
            if first.bytes().len() == branch.depth {
                found.add(text, branch, manner);
                branch.those.start += 1;
                continue;
            }
            let agreed = from.agreement(branch, first, last);
            branch.depth += agreed;
            branch.place += agreed;
            branch.since = if agreed > 0 { branch.place } else { branch.since };
            if first.bytes().len() == branch.depth {
                continue;
            }
            return if branch.place == text.len() { End::OutOfText } else { End::Apart };
        }
        End::Over
    }

    /// Those that go on with this byte. All of them are longer than `depth`.
    fn with_byte(&self, those: Range<usize>, depth: usize, byte: u8) -> Range<usize> {
        let at = |it: &Pattern| it.bytes()[depth];
        let sorted = &self.sorted[those.clone()];
        let start = sorted.partition_point(|it| at(it) < byte);
        let count = sorted[start..].partition_point(|it| at(it) == byte);
        those.start + start..those.start + start + count
    }
}

/// Where patterns are sought.
struct Place<'a> {
    text: &'a [u8],
    at: usize,
    met: &'a mut Met,
}

/// So much is compared at once at first, and then more and more: what does not agree costs no more
/// than what does.
const AT_ONCE: usize = 64;

impl Place<'_> {
    /// As far as the first and the last agree with the text, all do that are between them.
    fn agreement(&mut self, branch: &Branch, first: &Pattern, last: &Pattern) -> usize {
        let (mut agreed, mut most) = (0, AT_ONCE);
        loop {
            let mut with = |pattern: &Pattern, most| {
                let (place, depth) = (self.at + branch.place + agreed, branch.depth + agreed);
                self.met.agreement((self.text, place), (pattern.bytes(), depth), &pattern.runs, most)
            };
            let here = with(first, most);
            let here = if std::ptr::eq(first, last) { here } else { with(last, here) };
            agreed += here;
            if here < most {
                return agreed;
            }
            most *= 4;
        }
    }
}
