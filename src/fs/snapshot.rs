//! A rendering pinned by a node or an open handle, and the record of one that failed.
//! Uses the broker and the template it came from, and the ledger.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::errno::Errno;
use crate::broker::{self, Rendering, Versions};
use crate::ledger::{Kept, Kind, Ledger, Record};
use crate::policy::Ownership;
use crate::readers::Edition;
use crate::resolver::Basis;
use crate::secret::{SecretBytes, SecretKey, Uses};
use crate::sys::leftover;
use crate::template::Template;

pub struct Snapshot {
    pub bytes: SecretBytes,
    /// The newest of template and activation times: survives restarts, changes with the content.
    pub mtime: SystemTime,
    pub ownership: Ownership,
    /// Guards what the content rests on: renewed when a check finds that nothing relevant changed.
    /// What another process has rendered rests on nothing that is known here.
    origin: Mutex<Option<Origin>>,
    /// Of what another process has rendered, if it could be told.
    inherited: Option<Inherited>,
    print: OnceLock<Fingerprint>,
    edition: OnceLock<Arc<Edition>>,
    /// For the next process, from the first open on.
    kept: OnceLock<Option<(u64, Record)>>,
}

#[derive(Clone)]
struct Origin {
    template: Arc<Template>,
    keys: Arc<[SecretKey]>,
    basis: Basis,
    versions: Versions,
    uses: Vec<Arc<Uses>>,
}

/// The secrets in what another process has rendered. One of ours that is older has kept no versions.
struct Inherited {
    keys: Arc<[SecretKey]>,
    versions: Versions,
    /// Where uses of these secrets are counted, once something of ours has them in it, too.
    uses: OnceLock<Vec<Arc<Uses>>>,
}

/// A secret as the next process reads it: provider, path, the version that the template asks for,
/// and the one that was used.
#[derive(Serialize, Deserialize)]
struct Name(Option<String>, String, Option<u64>, #[serde(default)] Option<u64>);

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
        let Rendering { bytes, keys, basis, versions, uses, .. } = rendering;
        let origin = Mutex::new(Some(Origin { template, keys, basis, versions, uses }));
        Self { origin, ..Self::of(bytes, edited.max(activated), ownership) }
    }

    pub(super) fn of(bytes: SecretBytes, mtime: SystemTime, ownership: Ownership) -> Self {
        Self {
            bytes,
            mtime,
            ownership,
            origin: Mutex::default(),
            inherited: None,
            print: OnceLock::new(),
            edition: OnceLock::new(),
            kept: OnceLock::new(),
        }
    }

    /// What another process has kept, with the number it is known by.
    pub fn restore(kept: Kept) -> Option<(u64, Self)> {
        let [seconds, nanos, uid, gid, mode, size] = *kept.words else { return None };
        let (bytes, keys) = kept.bytes.split_at_checked(usize::try_from(size).ok()?)?;
        let ownership = Ownership {
            uid: u32::try_from(uid).ok()?,
            gid: u32::try_from(gid).ok()?,
            mode: u16::try_from(mode).ok()?,
        };
        let age = Duration::new(seconds, u32::try_from(nanos).ok().filter(|it| *it < 1_000_000_000)?);
        let mtime = SystemTime::UNIX_EPOCH.checked_add(age)?;
        let inherited = Inherited::of(keys);
        let snapshot = Self { inherited, ..Self::of(SecretBytes::copy_of(bytes), mtime, ownership) };
        let _ = snapshot.kept.set(Some((kept.id, kept.record)));
        Some((kept.id, snapshot))
    }

    /// Keeps the bytes for the next process, as long as they are here. The number to find them by.
    pub fn keep(&self, ledger: &Ledger) -> Option<u64> {
        let keep = || {
            let id = ledger.number();
            let mtime = self.mtime.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let Ownership { uid, gid, mode } = self.ownership;
            let [seconds, nanos] = [mtime.as_secs(), mtime.subsec_nanos().into()];
            let words = [seconds, nanos, uid.into(), gid.into(), mode.into(), self.size()];
            let names = self.keys().map_or_else(Vec::new, |keys| names_of(&keys, &self.versions()));
            let mut kept = Zeroizing::new(Vec::with_capacity(self.bytes.len() + names.len()));
            kept.extend_from_slice(self.bytes.expose());
            kept.extend_from_slice(&names);
            Some((id, ledger.keep(Kind::Snapshot, id, &words, &kept)?))
        };
        self.kept.get_or_init(keep).as_ref().map(|(id, _)| *id)
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

    /// The one that it was rendered from. Nobody knows what another process has rendered from.
    pub fn template(&self) -> Option<Arc<Template>> {
        self.origin().as_ref().map(|origin| origin.template.clone())
    }

    /// The secrets that its reader has to be allowed, be the template another by now. `None`: nobody
    /// knows them any more.
    pub fn keys(&self) -> Option<Arc<[SecretKey]>> {
        let origin = self.origin();
        let inherited = || self.inherited.as_ref().map(|it| it.keys.clone());
        origin.as_ref().map(|origin| origin.keys.clone()).or_else(inherited)
    }

    /// What it rests on, if it is of this template.
    pub fn basis(&self, template: &Arc<Template>) -> Option<Basis> {
        let origin = self.origin();
        let origin = origin.as_ref().filter(|origin| Arc::ptr_eq(&origin.template, template))?;
        Some(origin.basis.clone())
    }

    /// What it was made of, as far as that is known here.
    pub fn versions(&self) -> Versions {
        let origin = self.origin();
        let inherited = || self.inherited.as_ref().map(|it| it.versions.clone());
        origin.as_ref().map(|origin| origin.versions.clone()).or_else(inherited).unwrap_or_default()
    }

    /// Somebody was given it.
    pub fn used(&self) {
        let now = Timestamp::now();
        let inherited = self.inherited.as_ref().and_then(|it| it.uses.get());
        match &*self.origin() {
            Some(origin) => origin.uses.iter().for_each(|uses| uses.count(now)),
            None => inherited.into_iter().flatten().for_each(|uses| uses.count(now)),
        }
    }

    /// What another process has rendered is counted like this one, if that is of the same secrets.
    pub fn count_like(&self, ours: &Self) {
        let Some(inherited) = &self.inherited else { return };
        if let Some(origin) = &*ours.origin()
            && origin.keys == inherited.keys
        {
            inherited.uses.get_or_init(|| origin.uses.clone());
        }
    }

    /// Asks about the basis without copying it.
    pub fn rests_on(&self, template: &Arc<Template>, is_still: impl FnOnce(&Basis) -> bool) -> bool {
        let origin = self.origin();
        origin.as_ref().is_some_and(|it| Arc::ptr_eq(&it.template, template) && is_still(&it.basis))
    }

    /// What is to be known of the basis, whatever the template is by now.
    pub fn ask<T>(&self, of_basis: impl FnOnce(&Basis) -> Option<T>) -> Option<T> {
        of_basis(&self.origin().as_ref()?.basis)
    }

    /// The same for who needs no answer.
    pub fn look(&self, at_basis: impl FnOnce(&Basis)) {
        if let Some(origin) = self.origin().as_ref() {
            at_basis(&origin.basis);
        }
    }

    /// Takes the newer basis of a rendering with the same content.
    pub fn renew(&self, newer: &Self) {
        let newer = newer.origin().clone();
        *self.origin() = newer;
    }

    pub fn rebase(&self, basis: Basis) {
        if let Some(origin) = &mut *self.origin() {
            origin.basis = basis;
        }
    }

    /// What readers of it get, without the bytes. The key is always that of the filesystem's
    /// ledger, so that another process of ours knows it again.
    pub fn edition(&self, key: &[u8; 32], file: u64, path: &Arc<Path>, view: Arc<str>) -> Arc<Edition> {
        let make = || {
            let versions = self.versions();
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length is a key");
            mac.update(format!("{versions}\0").as_bytes());
            mac.update(self.bytes.expose());
            let print = Fingerprint(mac.finalize().into_bytes().into()).to_words();
            let versions = versions.0.iter().map(|(key, version)| (key.to_string(), *version)).collect();
            Arc::new(Edition { file, path: path.clone(), view, print, versions })
        };
        self.edition.get_or_init(|| leftover::wiped(make)).clone()
    }

    /// The same under one key only, which is always that of the filesystem's ledger.
    pub fn fingerprint(&self, key: &[u8; 32]) -> Fingerprint {
        let make = || {
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length is a key");
            let Ownership { uid, gid, mode } = self.ownership;
            mac.update(
                format!("{:?} {uid} {gid} {mode:o}\0", self.mtime.duration_since(SystemTime::UNIX_EPOCH))
                    .as_bytes(),
            );
            mac.update(self.bytes.expose());
            Fingerprint(mac.finalize().into_bytes().into())
        };
        *self.print.get_or_init(|| leftover::wiped(make))
    }

    fn origin(&self) -> std::sync::MutexGuard<'_, Option<Origin>> {
        self.origin.lock().expect("nothing panics while it holds this")
    }
}

fn names_of(keys: &[SecretKey], versions: &Versions) -> Vec<u8> {
    let versions: HashMap<&SecretKey, u64> = versions.0.iter().map(|(key, used)| (key, *used)).collect();
    let used = |key: &SecretKey| versions.get(key).copied();
    let name = |key: &SecretKey| Name(key.provider.clone(), key.path.clone(), key.version, used(key));
    serde_json::to_vec(&keys.iter().map(name).collect::<Vec<_>>()).unwrap_or_default()
}

impl Inherited {
    fn of(names: &[u8]) -> Option<Self> {
        let named: Vec<Name> = serde_json::from_slice(names).ok()?;
        let key = |Name(provider, path, version, used)| (SecretKey { provider, path, version }, used);
        let (keys, used): (Vec<_>, Vec<_>) = named.into_iter().map(key).unzip();
        let versions = keys.iter().cloned().zip(used).filter_map(|(key, used)| Some((key, used?)));
        Some(Self { versions: Versions(versions.collect()), keys: keys.into(), uses: OnceLock::new() })
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

impl Fingerprint {
    /// Of nothing.
    pub const NONE: Self = Self([0; 32]);

    pub fn to_words(self) -> [u64; 4] {
        let words = self.0.as_chunks::<8>().0;
        std::array::from_fn(|at| u64::from_le_bytes(words[at]))
    }

    pub fn from_words(words: [u64; 4]) -> Self {
        let mut bytes = [0; 32];
        for (part, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *part = word.to_le_bytes();
        }
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_inherited_with_their_versions_and_without_them_from_older_programs() {
        let key = |path: &str, version| SecretKey { provider: None, path: path.to_owned(), version };
        let keys = [key("pw", None), key("old", Some(2)), key("missing", None)];
        let versions = Versions(vec![(keys[1].clone(), 2), (keys[0].clone(), 7)]);
        let inherited = Inherited::of(&names_of(&keys, &versions)).unwrap();
        assert_eq!(*inherited.keys, keys);
        assert_eq!(inherited.versions, Versions(vec![(keys[0].clone(), 7), (keys[1].clone(), 2)]));

        let older = br#"[[null,"pw",null],[null,"old",2]]"#;
        let inherited = Inherited::of(older).unwrap();
        assert_eq!((&*inherited.keys, inherited.versions), (&keys[..2], Versions::default()));
    }
}
