//! Which of the keys that may have sealed a log has sealed a line of it. What somebody has made up
//! moves nothing on, and costs no more than a moment. Pure; uses `chain`.

use super::chain::{LATEST, Ratchet, Record};
use crate::secret::SecretBytes;

/// What the keys of a log are made from.
pub struct Seeds {
    pub store: Vec<SecretBytes>,
    /// In a file beside the log: whoever can write there can put one of his own.
    pub beside: Option<SecretBytes>,
}

pub(super) struct Keys {
    known: Vec<Key>,
    /// How far they may still be moved in vain, for lines that somebody has made up or put elsewhere.
    steps: u64,
    /// Whether a line was sealed with a key of the store.
    is_of_store: bool,
    /// How many were with the one beside the log, although there is a store.
    beside: u64,
}

struct Key {
    seed: SecretBytes,
    /// As of the last line that it has sealed.
    ratchet: Ratchet,
    is_beside: bool,
}

/// Who has sealed a line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    Right,
    Wrong,
    /// No key of ours says that it has.
    OfNobody,
    /// It is too far from the lines before to be looked for.
    TooFar,
    /// The key beside the log, after the store's was in use.
    Beside,
}

impl Keys {
    pub(super) fn of(Seeds { store, beside }: Seeds) -> Self {
        let key = |seed: SecretBytes, is_beside| Key { ratchet: Ratchet::new(&seed), seed, is_beside };
        let store = store.into_iter().map(|seed| key(seed, false));
        let known = store.chain(beside.into_iter().map(|seed| key(seed, true))).collect();
        Self { known, steps: LATEST, is_of_store: false, beside: 0 }
    }

    #[cfg(test)]
    pub(super) fn bound(&mut self, steps: u64) {
        self.steps = steps;
    }

    pub(super) fn beside(&self) -> u64 {
        self.beside
    }

    pub(super) fn judge(&mut self, line: &[u8], record: &Record) -> Seal {
        let has_store = self.known.iter().any(|key| !key.is_beside);
        let Some(key) = self.known.iter_mut().find(|key| key.ratchet.id == record.key) else {
            return Seal::OfNobody;
        };
        match key.judge(line, record, &mut self.steps) {
            Seal::Right if !key.is_beside => self.is_of_store = true,
            Seal::Right if self.is_of_store => return Seal::Beside,
            Seal::Right => self.beside += u64::from(has_store),
            other => return other,
        }
        Seal::Right
    }
}

impl Key {
    fn judge(&mut self, line: &[u8], record: &Record, left: &mut u64) -> Seal {
        let of = |ratchet: &Ratchet| match ratchet.has_sealed(line, record) {
            true => Seal::Right,
            false => Seal::Wrong,
        };
        if record.epoch == self.ratchet.epoch {
            return of(&self.ratchet);
        }
        let is_ahead = record.epoch > self.ratchet.epoch;
        let mut there = if is_ahead { self.ratchet.clone() } else { Ratchet::new(&self.seed) };
        let steps = record.epoch - there.epoch;
        // Each line moves it on by one at most.
        if record.epoch > record.seq || steps > *left || !there.forward(record.epoch) {
            return Seal::TooFar;
        }
        let seal = of(&there);
        if seal == Seal::Wrong || !is_ahead {
            *left -= steps;
        }
        if seal == Seal::Right {
            self.ratchet = there;
        }
        seal
    }
}

impl From<Vec<SecretBytes>> for Seeds {
    fn from(store: Vec<SecretBytes>) -> Self {
        Self { store, beside: None }
    }
}
