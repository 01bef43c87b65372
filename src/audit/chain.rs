//! The seal on each line: it names the one before by its hash, and is authenticated by a key that
//! moves on and is forgotten. Pure: lines and times are arguments. Uses the RustCrypto crates.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::event::Event;
use crate::secret::SecretBytes;

pub(super) type Hash = [u8; 32];

/// A key is in use for this many lines at most, and for this many seconds.
const LINES: u64 = 1_000;
const SECONDS: i64 = 15 * 60;
/// Further than any log goes: who says so has made it up.
pub(super) const LATEST: u64 = 1 << 24;

/// What ends a line: `,"mac":"`, the digits, `"}`.
const MAC: &[u8] = br#","mac":""#;
const AFTER: &[u8] = br#""}"#;
const ENDING: usize = MAC.len() + 64 + AFTER.len();

/// Where the chain stands: what the next line has to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub seq: u64,
    pub hash: [u8; 32],
    pub(super) epoch: u64,
    pub(super) time: Timestamp,
}

/// The key of one epoch. Those before cannot be found from it.
#[derive(Clone)]
pub(super) struct Ratchet {
    pub(super) id: String,
    /// Where it is, so that no copy stays behind when it moves.
    key: Zeroizing<Vec<u8>>,
    pub(super) epoch: u64,
}

/// A line of the log, read back.
#[derive(Clone, Debug, Deserialize)]
pub struct Record {
    pub seq: u64,
    pub time: Timestamp,
    /// Seconds since the machine started.
    pub boot: f64,
    pub epoch: u64,
    /// Names the key.
    pub key: String,
    #[serde(flatten)]
    pub event: Event,
    prev: String,
    mac: String,
}

/// When something is written down.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) time: Timestamp,
    pub(super) boot: f64,
}

impl Head {
    /// The hash, as checkpoints have it.
    pub fn text(&self) -> String {
        hex(&self.hash)
    }

    /// Before the first line.
    pub(super) fn none(time: Timestamp) -> Self {
        Self { seq: 0, hash: [0; 32], epoch: 0, time }
    }

    /// The epoch of the next line.
    pub(super) fn next_epoch(&self, time: Timestamp) -> u64 {
        let quarter = |time: Timestamp| time.as_second().div_euclid(SECONDS);
        let is_full = self.seq > 0 && self.seq.is_multiple_of(LINES);
        self.epoch.saturating_add(u64::from(is_full || quarter(time) != quarter(self.time)))
    }
}

impl Ratchet {
    pub(super) fn new(seed: &SecretBytes) -> Self {
        let of = |purpose: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(seed.expose()).expect("HMAC takes any key");
            mac.update(purpose);
            mac.finalize().into_bytes()
        };
        Self { id: hex(&of(b"id")[..4]), key: Zeroizing::new(of(b"epoch 0").to_vec()), epoch: 0 }
    }

    /// Goes on to an epoch, and forgets those before. False if it is behind, or nowhere.
    pub(super) fn forward(&mut self, epoch: u64) -> bool {
        if epoch < self.epoch || epoch > LATEST {
            return false;
        }
        while self.epoch < epoch {
            let next = Sha256::new().chain_update(b"ratchet").chain_update(self.key.as_slice()).finalize();
            self.key.copy_from_slice(&next);
            self.epoch += 1;
        }
        true
    }

    fn mac(&self, text: &[u8]) -> Hash {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes any key");
        mac.update(text);
        mac.finalize().into_bytes().into()
    }

    /// This key in the epoch of a line, if it has sealed that. What somebody has made up moves
    /// nothing on, and costs no more of these steps than there are.
    pub(super) fn of(&self, line: &[u8], record: &Record, steps: &mut u64) -> Option<Self> {
        let further = record.epoch.checked_sub(self.epoch)?;
        // Each line moves it on by one at most.
        if self.id != record.key || record.epoch > record.seq || further > *steps {
            return None;
        }
        *steps -= further;
        let mut there = self.clone();
        (there.forward(record.epoch) && there.has_sealed(line, record)).then_some(there)
    }

    /// Makes the next line, with the break that ends it. `None`: this key cannot follow that head.
    pub(super) fn seal(&mut self, head: &Head, at: Moment, body: &str) -> Option<(Vec<u8>, Head)> {
        let (seq, epoch) = (head.seq.checked_add(1)?, head.next_epoch(at.time));
        if !self.forward(epoch) {
            return None;
        }
        let Moment { time, boot } = at;
        let (id, prev) = (&self.id, hex(&head.hash));
        let mut line = format!(
            r#"{{"seq":{seq},"time":"{time}","boot":{boot:.6},"epoch":{epoch},"key":"{id}",{body},"prev":"{prev}""#
        )
        .into_bytes();
        let mac = self.mac(&line);
        line.extend_from_slice(MAC);
        line.extend_from_slice(hex(&mac).as_bytes());
        line.extend_from_slice(AFTER);
        let hash = hash(&line);
        line.push(b'\n');
        Some((line, Head { seq, hash, epoch, time }))
    }

    /// Whether this key has sealed the line. It has to be in the line's epoch.
    pub(super) fn has_sealed(&self, line: &[u8], record: &Record) -> bool {
        let Some(cut) = line.len().checked_sub(ENDING) else { return false };
        let (text, ending) = line.split_at(cut);
        let is_whole = ending.starts_with(MAC) && ending.ends_with(AFTER);
        let said = &ending[MAC.len()..MAC.len() + 64];
        let is_last = record.mac.as_bytes() == said;
        is_whole
            && is_last
            && record.epoch == self.epoch
            && said.ct_eq(hex(&self.mac(text)).as_bytes()).into()
    }
}

impl Record {
    /// A whole line, without its break.
    pub fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    pub(super) fn follows(&self, hash: &Hash) -> bool {
        self.prev == hex(hash)
    }

    /// Where the chain stands after this line.
    pub(super) fn head(&self, line: &[u8]) -> Head {
        Head { seq: self.seq, hash: hash(line), epoch: self.epoch, time: self.time }
    }
}

/// Whether that is what crashes leave of lines: their beginnings, and never the end of one.
pub(super) fn is_cut(bytes: &[u8]) -> bool {
    const START: &[u8] = br#"{"seq":"#;
    let is_beginning = |piece: &[u8]| {
        // A power cut may leave zeros where nothing was written.
        let zeros = piece.iter().rev().take_while(|byte| **byte == 0).count();
        let piece = &piece[..piece.len() - zeros];
        let length = piece.len().min(START.len());
        let has_end = piece.ends_with(AFTER) && piece.windows(MAC.len()).any(|window| window == MAC);
        piece[..length] == START[..length] && !has_end
    };
    bytes.split(|byte| *byte == b'\n').all(is_beginning)
}

pub(super) fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
