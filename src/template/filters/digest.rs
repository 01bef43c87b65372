//! `hash` and `bcrypt`. Uses the RustCrypto hashes.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};

use super::{Result, Use, Value};
use crate::nearest::nearest;

const ALGORITHMS: [&str; 3] = ["sha256", "sha512", "md5"];

/// Beyond this bcrypt ignores what comes.
const BCRYPT_LONGEST: usize = 72;
const BCRYPT_COST: usize = 10;
/// A third of a second; more, and a few of them would not fit a reader's deadline.
const BCRYPT_MOST_COST: usize = 12;

impl Use<'_> {
    pub(super) fn hash(&mut self, bytes: &[u8]) -> Result<Value> {
        let algorithm = self.argument_text(0)?;
        match algorithm.as_deref() {
            Some(b"sha256") => Ok(hex(&Sha256::digest(bytes))),
            Some(b"sha512") => Ok(hex(&Sha512::digest(bytes))),
            Some(b"md5") => Ok(hex(&Md5::digest(bytes))),
            other => {
                let near = other.and_then(|name| nearest(&String::from_utf8_lossy(name), ALGORITHMS));
                Err(self.fault("`hash` knows \"sha256\", \"sha512\" and \"md5\"").did_you_mean(near))
            }
        }
    }

    pub(super) fn bcrypt(&mut self, bytes: &[u8]) -> Result<Value> {
        let cost = self.argument_number(0, 4, BCRYPT_MOST_COST, BCRYPT_COST)?;
        if bytes.len() > BCRYPT_LONGEST || bytes.contains(&0) {
            return Err(self.fault("bcrypt reads 72 bytes at most, and none after a NUL"));
        }
        // As long as so many steps of others take.
        self.spend(6 << cost)?;
        let hash = bcrypt::hash_with_salt(bytes, cost as u32, self.salt(bytes));
        let hash = hash.map_err(|_| self.fault("bcrypt cannot work with this value"))?;
        Ok(Value::from(hash.to_string()))
    }

    /// The same for the same value in the same file, so that a rendering can be repeated.
    fn salt(&self, bytes: &[u8]) -> [u8; 16] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.run.salt).expect("HMAC takes keys of every length");
        mac.update(b"bcrypt");
        mac.update(bytes);
        let digest = mac.finalize().into_bytes();
        std::array::from_fn(|place| digest[place])
    }
}

fn hex(digest: &[u8]) -> Value {
    let digit = |digit: u8| char::from(b"0123456789abcdef"[usize::from(digit)]);
    Value::from(digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect::<String>())
}
