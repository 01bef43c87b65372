//! A master key that is made of a passphrase: Argon2id, with what it costs and its salt in a file
//! of the store. What that file asks for is bounded before a byte is reserved. Uses argon2.

use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::Path;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::cipher::{Key, random};
use super::key_file::MasterKey;
use super::{KeyError, StoreError};
use crate::secret::SecretBytes;

/// Its name in the folder of the store.
pub(super) const FILE: &str = "passphrase";

/// Whoever can write to the store shall not be able to make its owner's machine run out of memory.
const MEMORY_KIB: RangeInclusive<u32> = 8 << 10..=1 << 20;
const PASSES: RangeInclusive<u32> = 1..=32;
const LANES: RangeInclusive<u32> = 1..=16;

/// How a passphrase becomes a key.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    kdf: Kdf,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    /// 16 bytes in base64.
    salt: String,
}

#[derive(Clone, Copy, Serialize, Deserialize, PartialEq, Eq, Debug)]
enum Kdf {
    #[serde(rename = "argon2id")]
    Argon2id,
}

impl Stretch {
    /// The second choice of RFC 9106, for machines that have other things in their memory.
    pub fn generate() -> Result<Self, StoreError> {
        let salt = BASE64_STANDARD.encode(random::<16>()?);
        Ok(Self { kdf: Kdf::Argon2id, memory_kib: 64 << 10, passes: 3, lanes: 4, salt })
    }

    /// What it costs, to be told.
    pub fn cost(&self) -> String {
        format!("Argon2id, {} MiB, {} passes", self.memory_kib >> 10, self.passes)
    }

    /// The key of this passphrase. Takes a part of a second and `memory_kib` of memory.
    pub fn key(&self, passphrase: &SecretBytes) -> Result<MasterKey, KeyError> {
        let salt = BASE64_STANDARD.decode(&self.salt).ok().filter(|salt| salt.len() == 16);
        let is_bounded = MEMORY_KIB.contains(&self.memory_kib)
            && PASSES.contains(&self.passes)
            && LANES.contains(&self.lanes);
        let salt = salt.filter(|_| is_bounded).ok_or(KeyError::Stretch)?;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32));
        let params = params.map_err(|_| KeyError::Stretch)?;
        let mut memory = Zeroizing::new(Vec::new());
        memory
            .try_reserve_exact(params.block_count())
            .map_err(|_| KeyError::NoMemory(self.memory_kib >> 10))?;
        memory.resize(params.block_count(), Block::default());
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase.expose(), &salt, &mut *key, memory.as_mut_slice())
            .map_err(|_| KeyError::Stretch)?;
        Key::from_bytes(&*key).map(MasterKey).ok_or(KeyError::Stretch)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("numbers and text");
        text.push(b'\n');
        text
    }

    /// What the store in this folder asks for; `None` if it has another key.
    pub(super) fn of_store(dir: &Path) -> Result<Option<Self>, KeyError> {
        match std::fs::read(dir.join(FILE)) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|_| KeyError::Stretch),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(_) => Err(KeyError::Stretch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(stretch: &Stretch, passphrase: &[u8]) -> Result<[u8; 32], KeyError> {
        stretch.key(&SecretBytes::copy_of(passphrase)).map(|key| *key.0.expose())
    }

    fn cheap() -> Stretch {
        Stretch { memory_kib: 8 << 10, passes: 1, lanes: 1, ..Stretch::generate().unwrap() }
    }

    /// The program `argon2` of the reference implementation says the same:
    /// `printf password | argon2 somesaltsomesalt -id -m 13 -t 2 -p 4 -l 32`.
    #[test]
    fn the_key_is_that_of_argon2id() {
        let salt = BASE64_STANDARD.encode(b"somesaltsomesalt");
        let stretch = Stretch { kdf: Kdf::Argon2id, memory_kib: 8192, passes: 2, lanes: 4, salt };
        let hex: String =
            key(&stretch, b"password").unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "89df82b26283f35c8b07e651fd5e12e15c3d7774106edb7e7e0f9e3bc6bf411c");
    }

    #[test]
    fn a_key_belongs_to_its_passphrase_and_salt() {
        let stretch = cheap();
        let one = key(&stretch, b"one").unwrap();
        assert!(one == key(&stretch, b"one").unwrap());
        assert!(one != key(&stretch, b"two").unwrap() && one != key(&cheap(), b"one").unwrap());
    }

    /// Refused at once: nothing of this size is ever reserved.
    #[test]
    fn costs_out_of_bounds_are_refused() {
        for stretch in [
            Stretch { memory_kib: u32::MAX, ..cheap() },
            Stretch { memory_kib: (1 << 20) + 1, ..cheap() },
            Stretch { memory_kib: 0, ..cheap() },
            Stretch { passes: 0, ..cheap() },
            Stretch { passes: u32::MAX, ..cheap() },
            Stretch { lanes: 0, ..cheap() },
            Stretch { lanes: u32::MAX, ..cheap() },
            Stretch { salt: String::new(), ..cheap() },
            Stretch { salt: "not base64".into(), ..cheap() },
            Stretch { salt: BASE64_STANDARD.encode([0; 15]), ..cheap() },
        ] {
            assert!(matches!(key(&stretch, b"one"), Err(KeyError::Stretch)), "{stretch:?}");
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Stretch::of_store(folder.path()).unwrap(), None);
        let stretch = Stretch::generate().unwrap();
        let write = |text: &[u8]| std::fs::write(folder.path().join(FILE), text).unwrap();
        write(&stretch.encode());
        assert_eq!(Stretch::of_store(folder.path()).unwrap(), Some(stretch));
        for text in ["", "{}", r#"{"kdf":"scrypt","memory_kib":1,"passes":1,"lanes":1,"salt":""}"#] {
            write(text.as_bytes());
            assert!(matches!(Stretch::of_store(folder.path()), Err(KeyError::Stretch)), "{text}");
        }
    }
}
