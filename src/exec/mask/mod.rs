//! What must not be seen in a command's output: the values that it was given, in every form that
//! is known of them, and the filter that puts `***` in their place. Pure.

mod beginnings;
mod encodings;
mod filter;
mod forms;
mod gaps;
mod patterns;
mod runs;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use sha2::{Digest, Sha256};

use crate::poison::EvenPoisoned;
use crate::secret::SecretBytes;
use forms::Forms;
use patterns::{Pattern, Patterns};

pub use filter::{Filter, Held};

/// What stands in the output for a value.
pub const MASK: &[u8] = b"***";

/// A value that is shorter is left alone: text would be full of it by chance.
pub const LEAST: usize = 4;

/// The values that are masked. More may be added while output is filtered.
#[derive(Default)]
pub struct Masks(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Digests of the values, so that one which is given again and again costs its forms once.
    values: BTreeSet<[u8; 32]>,
    patterns: Arc<Patterns>,
    /// Since those were made.
    added: Vec<Pattern>,
    too_short: BTreeSet<String>,
}

impl Masks {
    /// From now on this is not seen. The name is for who asks which values were too short for it.
    pub fn add(&self, name: &str, value: &SecretBytes) {
        let value = value.expose().trim_ascii();
        let mut known = self.known();
        if value.len() < LEAST {
            if !value.is_empty() {
                known.too_short.insert(name.to_owned());
            }
        } else if known.values.insert(Sha256::digest(value).into()) {
            known.added.extend(Forms::of(value));
        }
    }

    /// The names of values that cannot be masked; each is told once.
    pub fn take_too_short(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.known().too_short)
    }

    fn patterns(&self) -> Arc<Patterns> {
        let mut known = self.known();
        if !known.added.is_empty() {
            let added = std::mem::take(&mut known.added);
            known.patterns = Arc::new(known.patterns.with(added));
        }
        known.patterns.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().even_poisoned()
    }
}

#[cfg(test)]
mod tests;
