//! What a successor needs of a process that may die at any moment: records in shared memory, each
//! there whole or not at all. Nothing here makes a system call but to grow. Uses `sys` and `metrics`.

mod blocks;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nix::sys::uio::pread;
use zeroize::Zeroizing;

use crate::metrics;
use crate::poison::EvenPoisoned;
use crate::sys::region::Region;
use blocks::{Blocks, Found};

/// What a record is about. The numbers are those of the shared memory: none is ever used anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// What kernel and filesystem have agreed on.
    Session = 1,
    /// A node that the kernel may hold.
    Node = 2,
    /// The bytes that open handles read.
    Snapshot = 3,
    Handle = 4,
    /// Who got what.
    Reader = 5,
    /// How often a request has come back.
    Returned = 6,
    /// Where the chain of the audit stands.
    Chain = 7,
}

/// The records of one mount. A clone is another way to the same ones.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    /// Without it nothing is kept.
    blocks: Option<Blocks>,
    /// Makes fingerprints that last as long as the records.
    key: Zeroizing<[u8; 32]>,
    numbers: Numbers,
    /// Guards what the process before has left, until somebody takes it.
    left: Mutex<BTreeMap<Kind, Vec<Kept>>>,
}

/// Hands out numbers that no process before has handed out. They are claimed many at a time.
#[derive(Default)]
struct Numbers {
    next: AtomicU64,
    claimed: AtomicU64,
}

/// A record of a process that has ended.
pub struct Kept {
    pub id: u64,
    pub words: Vec<u64>,
    pub bytes: Zeroizing<Vec<u8>>,
    /// To be held as long as the record shall stay.
    pub record: Record,
}

/// A record lasts as long as this, or this process. Then it is wiped.
pub struct Record {
    of: Arc<Inner>,
    blocks: Box<[u32]>,
}

/// The first block says what this memory is.
mod head {
    pub(super) const MAGIC: usize = 0;
    pub(super) const CLAIMED: usize = 1;
    pub(super) const KEY: usize = 2;
    /// Four words further.
    pub(super) const TICKS: usize = 6;
}
/// "secretfs" and the version of the layout, that of the records of `fs` included.
const MAGIC: u64 = 0x7365_6372_6574_0001;
/// Numbers claimed at once.
const CLAIM: u64 = 1 << 12;

impl Ledger {
    /// For a mount that ends with its process: nothing is written anywhere.
    pub fn none() -> Self {
        Self(Arc::new(Inner {
            blocks: None,
            key: new_key(),
            numbers: Numbers::default(),
            left: Mutex::default(),
        }))
    }

    pub fn create() -> io::Result<Self> {
        let region = Region::create()?;
        let key = new_key();
        for (at, part) in key.as_chunks::<8>().0.iter().enumerate() {
            region.words()[head::KEY + at].store(u64::from_ne_bytes(*part), Ordering::Relaxed);
        }
        region.words()[head::MAGIC].store(MAGIC, Ordering::Release);
        Ok(Self::over(region, key, 0))
    }

    /// Takes over what another process has kept, which has ended: there must be one writer only.
    /// What is not whole is not there.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Self> {
        let region = Region::adopt(descriptor)?;
        let word = |at: usize| region.words()[at].load(Ordering::Acquire);
        if word(head::MAGIC) != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the records are of another version"));
        }
        let mut key = Zeroizing::new([0; 32]);
        for (at, part) in key.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *part = word(head::KEY + at).to_ne_bytes();
        }
        let claimed = word(head::CLAIMED);
        Ok(Self::over(region, key, claimed))
    }

    fn over(region: Region, key: Zeroizing<[u8; 32]>, claimed: u64) -> Self {
        let (blocks, found) = Blocks::over(region);
        let numbers = Numbers { next: AtomicU64::new(claimed), claimed: AtomicU64::new(claimed) };
        let ledger = Self(Arc::new(Inner { blocks: Some(blocks), key, numbers, left: Mutex::default() }));
        ledger.leave(found);
        ledger
    }

    fn leave(&self, found: Vec<Found>) {
        let mut left = self.0.left.lock().even_poisoned();
        for Found { kind, id, words, bytes, blocks } in found {
            let record = Record { of: self.0.clone(), blocks };
            left.entry(kind).or_default().push(Kept { id, words, bytes, record });
        }
    }

    /// What names the records to the next process.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.blocks.as_ref().map(|blocks| blocks.region().as_fd())
    }

    /// How many hold it, its records included.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Whether anything is kept at all.
    pub fn keeps(&self) -> bool {
        self.0.blocks.is_some()
    }

    /// Keeps words, the first few of which can be changed later, and bytes. `None`: it cannot be
    /// kept, and ends with this process.
    pub fn keep(&self, kind: Kind, id: u64, words: &[u64], bytes: &[u8]) -> Option<Record> {
        let written = self.0.blocks.as_ref()?.write(kind, id, words, bytes);
        if written.is_none() {
            metrics::get().ledger_full.inc();
        }
        Some(Record { of: self.0.clone(), blocks: written? })
    }

    /// Looks at what the process before has left of this kind.
    pub fn left<T>(&self, kind: Kind, look: impl FnOnce(&[Kept]) -> T) -> T {
        let left = self.0.left.lock().even_poisoned();
        look(left.get(&kind).map_or(&[], Vec::as_slice))
    }

    /// What the process before has left of this kind, once.
    pub fn take(&self, kind: Kind) -> Vec<Kept> {
        let mut left = self.0.left.lock().even_poisoned();
        left.remove(&kind).unwrap_or_default()
    }

    /// A number that was never handed out before, by no process. Starts at 1.
    pub fn number(&self) -> u64 {
        let number = self.0.numbers.next.fetch_add(1, Ordering::Relaxed) + 1;
        if number > self.0.numbers.claimed.load(Ordering::Acquire) {
            self.claim(number + CLAIM);
        }
        number
    }

    fn claim(&self, most: u64) {
        if let Some(blocks) = &self.0.blocks {
            blocks.region().words()[head::CLAIMED].fetch_max(most, Ordering::AcqRel);
        }
        self.0.numbers.claimed.fetch_max(most, Ordering::AcqRel);
    }

    /// A request was taken up: whoever has the descriptor can see that somebody works.
    pub fn tick(&self) {
        if let Some(blocks) = &self.0.blocks {
            blocks.region().words()[head::TICKS].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often that was, by the descriptor of somebody else's ledger.
    pub fn ticks(descriptor: BorrowedFd<'_>) -> io::Result<u64> {
        let mut word = [0; 8];
        match pread(descriptor, &mut word, (head::TICKS * size_of::<u64>()) as libc::off_t)? {
            8 => Ok(u64::from_ne_bytes(word)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// For fingerprints that every process makes alike.
    pub fn key(&self) -> &[u8; 32] {
        &self.0.key
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        self.0.blocks.as_ref().map_or(0, Blocks::bytes)
    }

    /// Gives memory back that no record needs. To be called each second or so.
    pub fn trim(&self) {
        if let Some(blocks) = &self.0.blocks {
            blocks.trim();
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::none()
    }
}

impl Record {
    /// Changes one of the first words, at once.
    pub fn set(&self, word: usize, value: u64) {
        if let Some(blocks) = &self.of.blocks {
            blocks.set(&self.blocks, word, value);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(blocks) = &self.of.blocks {
            blocks.wipe(&self.blocks);
        }
    }
}

fn new_key() -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key).expect("the kernel has random bytes");
    key
}
