//! Versions as providers tell them; and for those that tell none: equal values have equal versions, in every process
//! that has the same key. Uses the words of `secret`.

use std::collections::HashMap;
use std::sync::Mutex;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use super::fields::Fields;
use crate::poison::EvenPoisoned;
use crate::secret::{SecretBytes, SecretType, SecretVersion};

pub(super) struct Versions {
    key: SecretBytes,
    met: Met,
}

/// The version of each secret that was met last, and when it was met first: for providers that tell no times.
#[derive(Default)]
pub(super) struct Met(Mutex<HashMap<String, (u64, Timestamp)>>);

/// Secrets, beyond which all are forgotten: then they were met just now.
const MOST: usize = 100_000;

/// What a provider tells of a version, at the least.
pub(super) fn told((kind, fields): (SecretType, Fields), version: u64, since: Timestamp) -> SecretVersion {
    SecretVersion {
        turned_out: None,
        kind,
        fields,
        version,
        created_at: since,
        updated_at: since,
        expires_at: None,
        uses: None,
    }
}

/// For what has a digest and no number.
pub(super) fn number_of(digest: &[u8]) -> u64 {
    1 + digest[..6].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Versions {
    pub(super) fn new(key: SecretBytes) -> Self {
        Self { key, met: Met::default() }
    }

    /// The version that has these fields. It is of the time when it was met first.
    pub(super) fn of(&self, path: &str, kind: SecretType, fields: Fields) -> SecretVersion {
        let version = self.version_of(&fields);
        told((kind, fields), version, self.met.meet(path, version))
    }

    fn version_of(&self, fields: &Fields) -> u64 {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(self.key.expose()).expect("any length is a key");
        for (name, value) in fields {
            mac.update(&(name.as_str().len() as u64).to_le_bytes());
            mac.update(name.as_str().as_bytes());
            mac.update(&(value.len() as u64).to_le_bytes());
            mac.update(value.expose());
        }
        number_of(&mac.finalize().into_bytes())
    }
}

impl Met {
    pub(super) fn meet(&self, path: &str, version: u64) -> Timestamp {
        let mut met = self.0.lock().even_poisoned();
        match met.get(path) {
            Some((known, since)) if *known == version => *since,
            _ => {
                let now = Timestamp::now();
                if met.len() >= MOST {
                    met.clear();
                }
                met.insert(path.to_owned(), (version, now));
                now
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_is_bounded() {
        let met = Met::default();
        let first = met.meet("0", 1);
        for number in 1..MOST {
            met.meet(&number.to_string(), 1);
        }
        assert_eq!(met.meet("0", 1), first, "the control: it is known still");
        met.meet("one more", 1);
        assert_eq!(met.0.lock().unwrap().len(), 1);
    }
}
