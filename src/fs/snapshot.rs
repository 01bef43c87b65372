//! A rendering pinned by a node or an open handle, and the record of one that failed.
//! Uses the broker and the template it came from.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::errno::Errno;
use crate::broker::{self, Rendering};
use crate::policy::Ownership;
use crate::resolver::Basis;
use crate::secret::SecretBytes;
use crate::template::Template;

pub struct Snapshot {
    pub bytes: SecretBytes,
    /// The newest of template and activation times: survives restarts, changes with the content.
    pub mtime: SystemTime,
    pub ownership: Ownership,
    /// Guards what the content rests on: renewed when a check finds that nothing relevant changed.
    origin: Mutex<Origin>,
}

#[derive(Clone)]
struct Origin {
    template: Arc<Template>,
    basis: Basis,
}

/// Tells whether bytes that were wiped have come back, without keeping them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Why a file could not be rendered, and when.
pub struct Failure {
    pub errno: Errno,
    pub error: broker::Error,
    pub at: Instant,
}

impl Snapshot {
    pub fn new(
        rendering: Rendering,
        template: Arc<Template>,
        edited: SystemTime,
        ownership: Ownership,
    ) -> Self {
        let activated = rendering.newest.map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
        let origin = Mutex::new(Origin { template, basis: rendering.basis });
        Self { bytes: rendering.bytes, mtime: edited.max(activated), ownership, origin }
    }

    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What the kernel can see of it is the same.
    pub fn same_content(&self, other: &Self) -> bool {
        self.mtime == other.mtime
            && self.ownership == other.ownership
            && self.bytes.expose() == other.bytes.expose()
    }

    pub fn is_of(&self, template: &Arc<Template>) -> bool {
        Arc::ptr_eq(&self.origin().template, template)
    }

    pub fn basis(&self) -> Basis {
        self.origin().basis.clone()
    }

    /// Asks about the basis without copying it.
    pub fn rests_on(&self, template: &Arc<Template>, is_still: impl FnOnce(&Basis) -> bool) -> bool {
        let origin = self.origin();
        Arc::ptr_eq(&origin.template, template) && is_still(&origin.basis)
    }

    /// Takes the newer basis of a rendering with the same content.
    pub fn renew(&self, newer: &Self) {
        let newer = newer.origin().clone();
        *self.origin() = newer;
    }

    pub fn rebase(&self, basis: Basis) {
        self.origin().basis = basis;
    }

    pub fn fingerprint(&self) -> Fingerprint {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(fingerprint_key()).expect("any length is a key");
        mac.update(format!("{:?}{:?}", self.mtime, self.ownership).as_bytes());
        mac.update(self.bytes.expose());
        Fingerprint(mac.finalize().into_bytes().into())
    }

    pub fn has(&self, print: &Fingerprint) -> bool {
        self.fingerprint() == *print
    }

    fn origin(&self) -> std::sync::MutexGuard<'_, Origin> {
        self.origin.lock().expect("nothing panics while it holds this")
    }
}

impl Failure {
    pub fn new(error: broker::Error) -> Self {
        Self { errno: error.class().into(), error, at: Instant::now() }
    }

    /// Of the same cause, and told less than a minute ago.
    pub fn is_like(&self, other: &Self) -> bool {
        let age = other.at.saturating_duration_since(self.at);
        age < Duration::from_secs(60) && self.error.to_string() == other.error.to_string()
    }
}

/// A key of this process only: a plain hash of a short value could be guessed.
fn fingerprint_key() -> &'static [u8; 32] {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the kernel has random bytes");
        key
    })
}
