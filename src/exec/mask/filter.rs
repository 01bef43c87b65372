//! A stream of output with `***` in place of values, however it was cut into pieces. What may be
//! the beginning of a value is held back until it is decided. Pure: who waits is told how much.

use std::ops::Range;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::gaps::colours;
use super::patterns::Patterns;
use super::runs::Met;
use super::{LEAST, MASK, Masks};

pub struct Filter {
    masks: Arc<Masks>,
    /// The end of the stream so far, from where it is not decided what it is.
    pub(super) text: Zeroizing<Vec<u8>>,
    /// How much of that was passed on all the same, or is masked.
    done: usize,
    /// The last that was passed on is a mask: what touches it goes into it.
    is_masking: bool,
    /// How much of a value the end of it would be.
    depth: usize,
}

/// What is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Nothing,
    /// So little that it is the beginning of something only by chance.
    Little,
    Much,
}

impl Filter {
    pub fn new(masks: Arc<Masks>) -> Self {
        Self { masks, text: Zeroizing::default(), done: 0, is_masking: false, depth: 0 }
    }

    /// The next piece of the stream; what is decided goes on to `out`.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.text.extend_from_slice(piece);
        let patterns = self.masks.patterns();
        let undecided = self.decide(&patterns, false, out);
        self.text.drain(..undecided);
        self.done -= undecided;
    }

    /// Passes on what is held back, as somebody may wait for it: as if nothing came after it, so a
    /// value that is whole is masked, also inside of a longer one that may come. It is not forgotten:
    /// if a value comes of it, the rest of that is masked.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        let patterns = self.masks.patterns();
        self.decide(&patterns, true, out);
    }

    /// The stream has ended.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        let patterns = self.masks.patterns();
        self.decide(&patterns, true, out);
        self.text.clear();
        self.done = 0;
    }

    pub fn held(&self) -> Held {
        match self.depth {
            _ if self.text.len() <= self.done => Held::Nothing,
            depth if depth < LEAST => Held::Little,
            _ => Held::Much,
        }
    }

    /// Answers from where on the text is not decided.
    fn decide(&mut self, patterns: &Patterns, is_end: bool, out: &mut Vec<u8>) -> usize {
        let (mut at, mut colour, mut met) = (0, 0, Met::default());
        loop {
            at = patterns.next(&self.text, at, &mut colour);
            self.pass(at, out);
            if at == self.text.len() {
                return at;
            }
            let found = patterns.at(&self.text, at, &mut met);
            self.mask(at..at + found.longest, patterns.keep_colours, out);
            if found.is_undecided && !is_end {
                self.depth = found.depth;
                return at;
            }
            at += 1;
        }
    }

    fn pass(&mut self, to: usize, out: &mut Vec<u8>) {
        if to > self.done {
            out.extend_from_slice(&self.text[self.done..to]);
            self.done = to;
            self.is_masking = false;
        }
    }

    /// All before it is passed on. The colours in it stay, so that what follows has its own.
    fn mask(&mut self, place: Range<usize>, keeps_colours: bool, out: &mut Vec<u8>) {
        if place.end <= self.done {
            return;
        }
        if !self.is_masking {
            out.extend_from_slice(MASK);
        }
        for colour in colours(&self.text[place.clone()]).take_while(|_| keeps_colours) {
            let (start, end) = (place.start + colour.start, place.start + colour.end);
            out.extend_from_slice(&self.text[start.max(self.done).min(end)..end]);
        }
        self.done = place.end;
        self.is_masking = true;
    }
}
