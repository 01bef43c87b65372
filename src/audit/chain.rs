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
const LATEST: u64 = 1 << 24;

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
pub(super) struct Ratchet {
    pub(super) id: String,
    key: Zeroizing<Hash>,
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
        self.epoch + u64::from(is_full || quarter(time) != quarter(self.time))
    }
}

impl Ratchet {
    pub(super) fn new(seed: &SecretBytes) -> Self {
        let of = |purpose: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(seed.expose()).expect("HMAC takes any key");
            mac.update(purpose);
            mac.finalize().into_bytes()
        };
        Self { id: hex(&of(b"id")[..4]), key: Zeroizing::new(of(b"epoch 0").into()), epoch: 0 }
    }

    /// Goes on to an epoch, and forgets those before. False if it is behind, or nowhere.
    pub(super) fn forward(&mut self, epoch: u64) -> bool {
        if epoch < self.epoch || epoch > LATEST {
            return false;
        }
        while self.epoch < epoch {
            let next = Sha256::new().chain_update(b"ratchet").chain_update(self.key.as_slice()).finalize();
            *self.key = next.into();
            self.epoch += 1;
        }
        true
    }

    fn mac(&self, text: &[u8]) -> Hash {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.key).expect("HMAC takes any key");
        mac.update(text);
        mac.finalize().into_bytes().into()
    }

    /// Makes the next line, with the break that ends it. `None`: this key cannot follow that head.
    pub(super) fn seal(&mut self, head: &Head, at: Moment, body: &str) -> Option<(Vec<u8>, Head)> {
        let (seq, epoch) = (head.seq + 1, head.next_epoch(at.time));
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

pub(super) fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
