//! A master key that is made of a passphrase: Argon2id, with what it costs and its salt in a file
//! of the store. What that file asks for is bounded before a byte is reserved. Uses argon2.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::change::hex;
use super::cipher::{Id, Key, random};
use super::key_file::MasterKey;
use super::layout::Layout;
use super::{KeyError, StoreError};
use crate::secret::SecretBytes;

/// Its name in the folder of the store.
pub(super) const FILE: &str = "passphrase";

/// Whoever can write to the store shall not be able to make its owner's machine run out of memory.
const MEMORY_KIB: RangeInclusive<u32> = 8 << 10..=1 << 20;
const PASSES: RangeInclusive<u32> = 1..=16;
const LANES: RangeInclusive<u32> = 1..=16;
/// The most bytes of the file.
const LIMIT: u64 = 64 << 10;

/// How often a passphrase is asked for at once.
const TRIES: u32 = 3;
/// The longest wait after wrong ones.
const LONGEST: Duration = Duration::from_secs(30);

/// Asks whoever sits at the terminal.
#[derive(Clone, Debug)]
pub struct Ask {
    line: fn(&str) -> io::Result<SecretBytes>,
    /// How many wrong answers this process was given. Copies share it.
    wrong: Arc<AtomicU32>,
}

impl Ask {
    /// `line` shows a text, and reads a line that nobody sees.
    pub fn new(line: fn(&str) -> io::Result<SecretBytes>) -> Self {
        Self { line, wrong: Arc::default() }
    }

    /// The key of the passphrase that is typed. Who guesses here waits longer each time; who has a
    /// copy of the store guesses without us, and nothing but what each try costs holds them back.
    pub(super) fn for_key(&self, stretch: &Stretch) -> Result<MasterKey, KeyError> {
        for tries in 0..TRIES {
            let prompt = if tries == 0 { "Passphrase of the store: " } else { "That is not it. Again: " };
            let typed = (self.line)(prompt).map_err(KeyError::NotTyped)?;
            // Not before it is asked for: what is typed meanwhile would be seen.
            std::thread::sleep(wait_after(self.wrong.load(Ordering::Relaxed)));
            let key = stretch.derive(&typed)?;
            if key.id() == stretch.key {
                return Ok(key);
            }
            self.wrong.fetch_add(1, Ordering::Relaxed);
        }
        Err(KeyError::WrongPassphrase)
    }
}

/// Doubled with each wrong answer.
fn wait_after(wrong: u32) -> Duration {
    match wrong {
        0 => Duration::ZERO,
        _ => Duration::from_secs(1 << (wrong - 1).min(5)).min(LONGEST),
    }
}

/// How a passphrase becomes a key.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// The id of the key that it makes.
    key: String,
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
    /// A new key of this passphrase, and how it was made. The costs are the second choice of RFC
    /// 9106, for machines that have other things in their memory.
    pub fn of(passphrase: &SecretBytes) -> Result<(Self, MasterKey), StoreError> {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 4, ..Self::unused()? }.made(passphrase)
    }

    /// With a new salt, and of no key yet.
    fn unused() -> Result<Self, StoreError> {
        let (key, salt) = (String::new(), BASE64_STANDARD.encode(random::<16>()?));
        Ok(Self { key, kdf: Kdf::Argon2id, memory_kib: 0, passes: 0, lanes: 0, salt })
    }

    fn made(self, passphrase: &SecretBytes) -> Result<(Self, MasterKey), StoreError> {
        let key = self.derive(passphrase)?;
        Ok((Self { key: key.id(), ..self }, key))
    }

    /// What it costs, to be told.
    pub fn cost(&self) -> String {
        format!("Argon2id, {} MiB, {} passes", self.memory_kib >> 10, self.passes)
    }

    /// The key of this passphrase. Takes a part of a second and `memory_kib` of memory.
    fn derive(&self, passphrase: &SecretBytes) -> Result<MasterKey, KeyError> {
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

    /// How the key with this id is made; `None` if it is not of a passphrase.
    pub(super) fn of_store(dir: &Path, wanted: &Id) -> Result<Option<Self>, KeyError> {
        let wanted = hex(wanted);
        Ok(read(dir)?.into_iter().find(|stretch| stretch.key == wanted))
    }

    /// How each key of a passphrase is made that the store in this folder has, or had.
    pub(super) fn all(dir: &Path) -> Result<Vec<Self>, KeyError> {
        read(dir)
    }

    /// Keeps it in the store, beside what is there: until all of the store has the new key, the old
    /// one has to open it.
    pub(super) fn keep(&self, layout: &Layout) -> Result<(), StoreError> {
        let all = read(layout.dir())?.into_iter().chain([self.clone()]);
        layout.replace(FILE, &encode(all))
    }
}

/// Drops what makes another key than this.
pub(super) fn keep_only(key: &Id, layout: &Layout) -> Result<(), StoreError> {
    let all = read(layout.dir())?;
    let key = hex(key);
    let kept: Vec<_> = all.iter().filter(|stretch| stretch.key == key).cloned().collect();
    match (kept.len() == all.len(), kept.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => layout.remove(FILE),
        (false, false) => layout.replace(FILE, &encode(kept)),
    }
}

fn encode(all: impl IntoIterator<Item = Stretch>) -> Vec<u8> {
    let line = |stretch| serde_json::to_string(&stretch).expect("numbers and text") + "\n";
    all.into_iter().map(line).collect::<String>().into_bytes()
}

/// A line for each key; the file is not there if the store has none of a passphrase.
fn read(dir: &Path) -> Result<Vec<Stretch>, KeyError> {
    let mut text = Vec::new();
    match File::open(dir.join(FILE)).and_then(|file| file.take(LIMIT).read_to_end(&mut text)) {
        Ok(0) => Err(KeyError::Stretch),
        Ok(_) => {
            let lines = serde_json::Deserializer::from_slice(&text).into_iter();
            lines.collect::<Result<_, _>>().map_err(|_| KeyError::Stretch)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(_) => Err(KeyError::Stretch),
    }
}

#[cfg(test)]
mod tests;
