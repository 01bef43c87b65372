//! Items as they were last, so that one which has not changed is not asked for again. Encrypted with a key of this process
//! alone: a value is in memory only while somebody is answered. Bounded. Uses aes-gcm.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};

use crate::poison::EvenPoisoned;
use crate::secret::SecretBytes;
use crate::sys::uptime::Uptime;

pub(super) struct Kept {
    /// `None`: no key could be had, and nothing is kept.
    cipher: Option<Aes256Gcm>,
    items: Mutex<HashMap<String, Item>>,
}

struct Item {
    version: u64,
    used: Uptime,
    nonce: [u8; NONCE],
    sealed: Vec<u8>,
}

const NONCE: usize = 12;
/// The bytes of all items.
const MOST: usize = 16 << 20;
/// What nobody has asked for in so long is not kept.
const LONGEST: Duration = Duration::from_secs(10 * 60);

impl Kept {
    pub(super) fn new() -> Self {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        let has_key = getrandom::fill(&mut *key).is_ok();
        let cipher = has_key.then(|| Aes256Gcm::new_from_slice(&*key).expect("as long as it is"));
        Self { cipher, items: Mutex::default() }
    }

    /// The item of this id, if it is of this version.
    pub(super) fn get(&self, id: &str, version: u64) -> Option<SecretBytes> {
        let mut items = self.items.lock().even_poisoned();
        let item = items.get_mut(id).filter(|item| item.version == version)?;
        item.used = Uptime::now();
        let plain = self.cipher.as_ref()?.decrypt(&Nonce::from(item.nonce), &*item.sealed).ok()?;
        Some(SecretBytes::new(plain))
    }

    pub(super) fn put(&self, id: &str, version: u64, body: &SecretBytes) {
        let mut nonce = [0; NONCE];
        let Some(cipher) = &self.cipher else { return };
        if getrandom::fill(&mut nonce).is_err() {
            return;
        }
        let Ok(sealed) = cipher.encrypt(&Nonce::from(nonce), body.expose()) else { return };
        let mut items = self.items.lock().even_poisoned();
        items.remove(id);
        if sealed.len() + items.values().map(|item| item.sealed.len()).sum::<usize>() > MOST {
            items.clear();
        }
        items.insert(id.to_owned(), Item { version, used: Uptime::now(), nonce, sealed });
    }

    pub(super) fn sweep(&self) {
        let now = Uptime::now();
        self.items.lock().even_poisoned().retain(|_, item| now.since(item.used) < LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_there_as_it_was_and_not_in_the_clear() {
        let kept = Kept::new();
        kept.put("a", 3, &SecretBytes::copy_of(b"{\"value\": \"hunter2\"}"));
        assert!(kept.get("a", 3).unwrap().same_as(b"{\"value\": \"hunter2\"}"));
        assert!(kept.get("a", 4).is_none() && kept.get("b", 3).is_none());
        let items = kept.items.lock().unwrap();
        assert!(!items["a"].sealed.windows(7).any(|part| part == b"hunter2"));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let kept = Kept::new();
        let body = SecretBytes::new(vec![b'a'; 1 << 20]);
        for number in 0..40 {
            kept.put(&number.to_string(), 1, &body);
            let all: usize = kept.items.lock().unwrap().values().map(|item| item.sealed.len()).sum();
            assert!(all <= MOST);
        }
        assert!(kept.get("39", 1).is_some());
    }
}
