//! Records as chains of blocks: written first, then published by one store in the first block;
//! unpublished by one store, then wiped. A process may die between any two. Uses `sys::region`.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use zeroize::Zeroizing;

use super::Kind;
use crate::poison::EvenPoisoned;
use crate::sys::region::{PIECE, PIECE_WORDS, Region};

const BLOCK: usize = 32;
const BLOCKS: usize = PIECE_WORDS / BLOCK;
/// The words of a block: zero or a record's shape, the record's id, the next block of it, content.
const SHAPE: usize = 0;
const ID: usize = 1;
const NEXT: usize = 2;
const CONTENT: usize = 3;
const CAPACITY: usize = BLOCK - CONTENT;

pub(super) struct Blocks {
    region: Region,
    /// Guards which blocks are free; not what is in them.
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    pieces: Vec<Piece>,
    /// Those that have a free block and memory behind it.
    open: BTreeSet<usize>,
}

struct Piece {
    free: Vec<u32>,
    has_memory: bool,
}

/// A record that was found whole.
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) id: u64,
    pub(super) words: Vec<u64>,
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) blocks: Box<[u32]>,
}

/// What the first word says: a kind, how many words, how many bytes.
#[derive(Clone, Copy)]
struct Shape {
    kind: Kind,
    words: usize,
    bytes: usize,
}

impl Blocks {
    /// Finds the whole records, and wipes everything else.
    pub(super) fn over(region: Region) -> (Self, Vec<Found>) {
        let all = region.words().len() / BLOCK;
        let mut taken: HashSet<u32> = HashSet::new();
        let mut found = Vec::new();
        for first in 1..all as u32 {
            if let Some(record) = read(&region, first, &taken) {
                taken.extend(&record.blocks);
                found.push(record);
            }
        }
        let mut free = Free::default();
        (0..all / BLOCKS).for_each(|_| free.add(|block| block != 0 && !taken.contains(&block)));
        free.pieces.iter().flat_map(|piece| &piece.free).for_each(|&block| wipe(&region, block));
        (Self { region, free: Mutex::new(free) }, found)
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    pub(super) fn bytes(&self) -> usize {
        self.free().pieces.iter().filter(|piece| piece.has_memory).count() * PIECE
    }

    pub(super) fn write(&self, kind: Kind, id: u64, words: &[u64], bytes: &[u8]) -> Option<Box<[u32]>> {
        let shape = Shape { kind, words: words.len(), bytes: bytes.len() };
        let blocks = self.take(shape.blocks())?;
        let mut content = words.iter().copied().chain(as_words(bytes));
        for (at, &block) in blocks.iter().enumerate() {
            let place = place(&self.region, block)?;
            store(&place[NEXT], blocks.get(at + 1).copied().unwrap_or(0).into());
            for (word, value) in place[CONTENT..].iter().zip(content.by_ref()) {
                store(word, value);
            }
        }
        let first = place(&self.region, blocks[0])?;
        store(&first[ID], id);
        store(&first[SHAPE], shape.encode());
        Some(blocks)
    }

    pub(super) fn set(&self, blocks: &[u32], word: usize, value: u64) {
        if let Some(place) = place(&self.region, blocks[0])
            && word < CAPACITY
        {
            store(&place[CONTENT + word], value);
        }
    }

    /// The first block is wiped first: without its shape there is no record.
    pub(super) fn wipe(&self, blocks: &[u32]) {
        blocks.iter().for_each(|&block| wipe(&self.region, block));
        self.free().give(blocks);
    }

    fn take(&self, count: usize) -> Option<Box<[u32]>> {
        let mut free = self.free();
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            match free.pop() {
                Some(block) => taken.push(block),
                None if self.grow(&mut free) => {}
                None => {
                    free.give(&taken);
                    return None;
                }
            }
        }
        Some(taken.into())
    }

    /// By a piece whose memory was given back, or a new one.
    fn grow(&self, free: &mut Free) -> bool {
        if let Some(piece) = free.pieces.iter().position(|piece| !piece.has_memory) {
            let held = self.region.hold(piece).is_ok();
            free.pieces[piece].has_memory = held;
            return held && free.open.insert(piece);
        }
        let grown = self.region.grow().is_ok();
        if grown {
            free.add(|_| true);
        }
        grown
    }

    /// Of the pieces without a record one stays, for who comes next.
    pub(super) fn trim(&self) {
        let mut free = self.free();
        let is_unused = |piece: &Piece| piece.has_memory && piece.free.len() == BLOCKS;
        let unused: Vec<usize> = (0..free.pieces.len()).filter(|&at| is_unused(&free.pieces[at])).collect();
        for &piece in unused.iter().skip(1) {
            if self.region.release(piece) {
                free.pieces[piece].has_memory = false;
                free.open.remove(&piece);
            }
        }
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().even_poisoned()
    }
}

impl Free {
    fn add(&mut self, is_free: impl Fn(u32) -> bool) {
        let first = (self.pieces.len() * BLOCKS) as u32;
        let free: Vec<u32> = (first..first + BLOCKS as u32).rev().filter(|&block| is_free(block)).collect();
        if !free.is_empty() {
            self.open.insert(self.pieces.len());
        }
        self.pieces.push(Piece { free, has_memory: true });
    }

    /// From the front, so that what is at the end falls free as a whole.
    fn pop(&mut self) -> Option<u32> {
        let piece = *self.open.first()?;
        let free = &mut self.pieces[piece].free;
        let block = free.pop();
        if free.is_empty() {
            self.open.remove(&piece);
        }
        block
    }

    fn give(&mut self, blocks: &[u32]) {
        for &block in blocks {
            let piece = block as usize / BLOCKS;
            if self.pieces[piece].free.is_empty() {
                self.open.insert(piece);
            }
            self.pieces[piece].free.push(block);
        }
    }
}

impl Shape {
    const MARK: u64 = 0x5ef5;

    fn encode(self) -> u64 {
        Self::MARK << 48 | (self.kind as u64) << 40 | (self.words as u64) << 32 | self.bytes as u64
    }

    fn decode(word: u64) -> Option<Self> {
        let kinds = [
            Kind::Session,
            Kind::Node,
            Kind::Snapshot,
            Kind::Handle,
            Kind::Reader,
            Kind::Returned,
            Kind::Chain,
        ];
        let kind = kinds.into_iter().find(|kind| *kind as u64 == word >> 40 & 0xff)?;
        let (words, bytes) = ((word >> 32 & 0xff) as usize, (word & 0xffff_ffff) as usize);
        (word >> 48 == Self::MARK).then_some(Self { kind, words, bytes })
    }

    fn blocks(self) -> usize {
        (self.words + self.bytes.div_ceil(size_of::<u64>())).div_ceil(CAPACITY).max(1)
    }
}

/// The record that begins in this block, if there is one and all of it is there: what another
/// process has written is believed only as far as it can be checked.
fn read(region: &Region, first: u32, taken: &HashSet<u32>) -> Option<Found> {
    let head = place(region, first)?;
    let shape = Shape::decode(head[SHAPE].load(Ordering::Acquire))?;
    let blocks = chain(region, first, shape.blocks(), taken)?;
    let content = blocks.iter().filter_map(|&block| place(region, block)).flat_map(|place| &place[CONTENT..]);
    let mut content = content.map(|word| word.load(Ordering::Relaxed));
    let words = content.by_ref().take(shape.words).collect();
    let mut bytes = Zeroizing::new(Vec::with_capacity(shape.bytes.next_multiple_of(size_of::<u64>())));
    content
        .take(shape.bytes.div_ceil(size_of::<u64>()))
        .for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
    bytes.truncate(shape.bytes);
    Some(Found { kind: shape.kind, id: head[ID].load(Ordering::Relaxed), words, bytes, blocks })
}

/// So many blocks, each once and in no other record, of which only the first begins one.
fn chain(region: &Region, first: u32, count: usize, taken: &HashSet<u32>) -> Option<Box<[u32]>> {
    if count > region.words().len() / BLOCK {
        return None;
    }
    let mut own = HashSet::with_capacity(count);
    let mut blocks = Vec::with_capacity(count);
    let mut next = u64::from(first);
    while next != 0 {
        let block = u32::try_from(next).ok()?;
        let words = place(region, block)?;
        let begins = words[SHAPE].load(Ordering::Relaxed) != 0;
        if taken.contains(&block)
            || !own.insert(block)
            || begins != blocks.is_empty()
            || blocks.len() == count
        {
            return None;
        }
        blocks.push(block);
        next = words[NEXT].load(Ordering::Relaxed);
    }
    (blocks.len() == count).then(|| blocks.into())
}

/// The words of a block, if there is such a block.
fn place(region: &Region, block: u32) -> Option<&[AtomicU64]> {
    let start = block as usize * BLOCK;
    region.words().get(start..start + BLOCK)
}

fn wipe(region: &Region, block: u32) {
    place(region, block).into_iter().flatten().for_each(|word| store(word, 0));
}

/// In this order, and through here alone: what a process does before it dies is then the first so
/// many of these.
fn store(word: &AtomicU64, value: u64) {
    #[cfg(test)]
    if super::tests::is_dead() {
        return;
    }
    word.store(value, Ordering::Release);
}

fn as_words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (whole, rest) = bytes.as_chunks::<8>();
    let last = (!rest.is_empty()).then(|| {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        u64::from_ne_bytes(word)
    });
    whole.iter().map(|word| u64::from_ne_bytes(*word)).chain(last)
}
