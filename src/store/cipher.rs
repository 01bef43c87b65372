//! The cryptographic primitives as the store uses them: XAES-256-GCM to seal, HMAC-SHA256 to
//! name and authenticate, HKDF-SHA256 to derive. Knows nothing of rows. Uses the RustCrypto crates.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use xaes_256_gcm::Xaes256Gcm;
use xaes_256_gcm::aead::AeadInOut;
use zeroize::Zeroizing;

use super::StoreError;
use crate::sys::vault::{Held, KEY};

/// A random identity: of a store, a namespace, a key.
pub(super) type Id = [u8; 16];
/// An HMAC-SHA256.
pub(super) type Mac = [u8; 32];

/// The one format of what is stored: `FORMAT | kid | nonce | ciphertext | tag`.
const FORMAT: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;
const BEFORE: usize = 1 + size_of::<Id>() + NONCE;

pub(super) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(StoreError::Random)?;
    Ok(bytes)
}

/// 32 bytes of key, in memory of their own, wiped on drop.
pub(super) struct Key(Held);

impl Key {
    pub(super) fn random() -> Result<Self, StoreError> {
        let mut key = Held::new();
        getrandom::fill(key.fill()).map_err(StoreError::Random)?;
        Ok(Self(key))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; KEY] = bytes.try_into().ok()?;
        let mut key = Held::new();
        *key.fill() = *bytes;
        Some(Self(key))
    }

    pub(super) fn expose(&self) -> &[u8; KEY] {
        self.0.expose()
    }

    /// The key for one purpose.
    pub(super) fn derive(&self, purpose: &str) -> Self {
        let mut key = Held::new();
        Hkdf::<Sha256>::new(None, self.expose())
            .expand(purpose.as_bytes(), key.fill())
            .expect("32 bytes are within what HKDF gives");
        Self(key)
    }

    /// Authenticates the parts, each with its length, so that no two lists look the same.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> Mac {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.expose()).expect("HMAC takes any key");
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Begins a MAC over what comes one after the other.
    pub(super) fn summing(&self) -> Summing {
        Summing(Hmac::<Sha256>::new_from_slice(self.expose()).expect("HMAC takes any key"))
    }
}

/// A MAC over all that is added.
#[derive(Clone)]
pub(super) struct Summing(Hmac<Sha256>);

impl Summing {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> Mac {
        self.0.finalize().into_bytes().into()
    }
}

pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// The canonical associated data: a tag for what is sealed, then its parts, each with its length.
pub(super) fn associated(tag: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut data = Vec::with_capacity(128);
    for part in [tag.as_bytes()].iter().chain(parts) {
        data.extend_from_slice(&(part.len() as u64).to_le_bytes());
        data.extend_from_slice(part);
    }
    data
}

/// A key that seals, under the id that its blobs name.
pub(super) struct SealingKey {
    pub(super) kid: Id,
    cipher: Xaes256Gcm,
}

impl SealingKey {
    pub(super) fn new(kid: Id, key: &Key) -> Self {
        Self { kid, cipher: Xaes256Gcm::new(key.expose().into()) }
    }

    pub(super) fn seal(&self, associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(self.seal_with(random()?, associated, plain))
    }

    fn seal_with(&self, nonce: [u8; NONCE], associated: &[u8], plain: &[u8]) -> Vec<u8> {
        // The whole room at once: growing would leave a copy of the plaintext behind.
        let mut blob = Vec::with_capacity(BEFORE + plain.len() + TAG);
        blob.push(FORMAT);
        blob.extend_from_slice(&self.kid);
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(plain);
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce.into(), associated, (&mut blob[BEFORE..]).into())
            .expect("a record is shorter than what one key may seal");
        blob.extend_from_slice(&tag);
        blob
    }

    pub(super) fn open(&self, associated: &[u8], blob: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        if key_id(blob)? != self.kid {
            return Err(StoreError::corrupt("a record names another key than the one that sealed it"));
        }
        let nonce: [u8; NONCE] = blob[BEFORE - NONCE..BEFORE].try_into().expect("checked by key_id");
        let (sealed, tag) = blob[BEFORE..].split_at(blob.len() - BEFORE - TAG);
        let tag: [u8; TAG] = tag.try_into().expect("split there");
        let mut plain = Zeroizing::new(sealed.to_vec());
        self.cipher
            .decrypt_inout_detached(&nonce.into(), associated, plain.as_mut_slice().into(), &tag.into())
            .map_err(|_| StoreError::corrupt("a record does not authenticate"))?;
        Ok(plain)
    }
}

/// The id of the key that sealed this blob. Not authenticated: it only says which key to try.
pub(super) fn key_id(blob: &[u8]) -> Result<Id, StoreError> {
    match blob.first() {
        None => Err(StoreError::corrupt("a record is empty")),
        Some(&format) if format != FORMAT => {
            Err(StoreError::corrupt(format!("a record has the unknown format {format}")))
        }
        Some(_) if blob.len() < BEFORE + TAG => Err(StoreError::corrupt("a record is cut short")),
        Some(_) => Ok(blob[1..=size_of::<Id>()].try_into().expect("long enough")),
    }
}

/// What stands for a blob in a seal over many: its authentication tag.
pub(super) fn tag_of(blob: &[u8]) -> &[u8] {
    &blob[blob.len().saturating_sub(TAG)..]
}

#[cfg(test)]
mod tests;
