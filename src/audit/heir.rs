//! Where the chain stands, for the process that comes after this one: in the ledgers of the mounts,
//! which outlive a worker that is killed. Uses `ledger` and `chain`.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;

use super::chain::Head;
use super::log::End;
use crate::ledger::{Kept, Kind, Ledger, Record};
use crate::poison::EvenPoisoned;

/// Said in so many words, twice; the first word says which of the two holds. So whoever is killed
/// between two words leaves the one before.
const WORDS: usize = 10;

/// What one log says to its successor. Shared by all that write to it in this process.
#[derive(Default)]
pub(super) struct Heirs(Mutex<State>);

#[derive(Default)]
struct State {
    ledgers: Vec<(Ledger, Option<Place>)>,
    /// What was said last, by this process or the one before.
    said: Vec<Said>,
}

struct Said {
    /// Of which log.
    name: Vec<u8>,
    head: Head,
    end: End,
    /// Stays until we have said more.
    _record: Option<Record>,
}

/// The record of one ledger, for the log of this name.
struct Place {
    name: Vec<u8>,
    record: Record,
    which: u64,
}

impl Heirs {
    /// From now on that ledger is told. What the process before has left there is ours now.
    pub(super) fn add(&self, ledger: &Ledger) {
        let left = ledger.take(Kind::Chain);
        let mut state = self.state();
        state.said.extend(left.into_iter().filter_map(Said::read));
        if ledger.keeps() {
            state.ledgers.push((ledger.clone(), None));
        }
    }

    /// Those of mounts that are gone. To be called now and then.
    pub(super) fn forget_gone(&self) {
        let is_held =
            |ledger: &Ledger, place: &Option<Place>| ledger.holders() > 1 + usize::from(place.is_some());
        self.state().ledgers.retain(|(ledger, place)| is_held(ledger, place));
    }

    /// Where this process or the one before has seen the chain of this log, the latest of all.
    pub(super) fn last(&self, path: &Path, key: &str) -> Option<(Head, End)> {
        let (name, state) = (name(path, key), self.state());
        let said = state.said.iter().filter(|it| it.name == name).max_by_key(|it| it.head.seq)?;
        Some((said.head.clone(), said.end))
    }

    /// Before anything is given away for it.
    pub(super) fn tell(&self, path: &Path, key: &str, head: &Head, end: End) {
        let mut state = self.state();
        if state.ledgers.is_empty() {
            return;
        }
        let (name, words) = (name(path, key), words_of(head, end));
        for (ledger, place) in &mut state.ledgers {
            match place {
                Some(place) if place.name == name => place.set(words),
                _ => *place = Place::new(ledger, &name, words),
            }
        }
        state.said = vec![Said { name, head: head.clone(), end, _record: None }];
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().even_poisoned()
    }
}

impl Place {
    fn new(ledger: &Ledger, name: &[u8], words: [u64; WORDS]) -> Option<Self> {
        let mut both = vec![0];
        both.extend(words);
        both.extend(words);
        let record = ledger.keep(Kind::Chain, ledger.number(), &both, name)?;
        Some(Self { name: name.to_owned(), record, which: 0 })
    }

    fn set(&mut self, words: [u64; WORDS]) {
        self.which = 1 - self.which;
        let first = 1 + self.which as usize * WORDS;
        words.into_iter().enumerate().for_each(|(at, word)| self.record.set(first + at, word));
        self.record.set(0, self.which);
    }
}

/// The same path with another key is another log.
fn name(path: &Path, key: &str) -> Vec<u8> {
    [path.as_os_str().as_encoded_bytes(), b"\0", key.as_bytes()].concat()
}

fn words_of(head: &Head, end: End) -> [u64; WORDS] {
    let [a, b, c, d] = std::array::from_fn(|at| u64::from_le_bytes(head.hash.as_chunks().0[at]));
    let End { of: (device, inode), at } = end;
    [head.seq, a, b, c, d, head.epoch, head.time.as_second().cast_unsigned(), device, inode, at]
}

impl Said {
    fn read(kept: Kept) -> Option<Self> {
        let (which, both) = kept.words.split_first()?;
        let first = usize::try_from(*which).ok()?.checked_mul(WORDS)?;
        let words = both.get(first..first.checked_add(WORDS)?)?;
        let [seq, a, b, c, d, epoch, seconds, device, inode, at] = *words else { return None };
        let mut hash = [0; 32];
        let parts = hash.as_chunks_mut().0.iter_mut().zip([a, b, c, d]);
        parts.for_each(|(part, word)| *part = word.to_le_bytes());
        let time = Timestamp::from_second(seconds.cast_signed()).ok()?;
        let (head, end) = (Head { seq, hash, epoch, time }, End { of: (device, inode), at });
        Some(Self { name: kept.bytes.to_vec(), head, end, _record: Some(kept.record) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_was_said_is_there_for_the_same_log_only() {
        let end = |at| End { of: (7, 8), at };
        let head = |seq| Head { seq, hash: [seq as u8; 32], epoch: 3, time: Timestamp::UNIX_EPOCH };
        let (ledger, path) = (Ledger::create().unwrap(), Path::new("/audit.log"));
        let heirs = Heirs::default();
        heirs.add(&ledger);
        let mut all = Vec::new();
        for seq in 1..6 {
            heirs.tell(path, "key", &head(seq), end(seq * 100));
            // Killed at any time.
            let memory = ledger.descriptor().unwrap().try_clone_to_owned().unwrap();
            let next = Heirs::default();
            next.add(&Ledger::adopt(memory).unwrap());
            assert_eq!(next.last(path, "key"), Some((head(seq), end(seq * 100))));
            assert!(next.last(path, "other").is_none());
            // It would wipe what it has found.
            all.push(next);
        }
    }
}
