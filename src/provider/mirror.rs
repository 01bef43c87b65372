//! Copies of what a provider has answered (`cache.mirror`), for when it does not answer: sealed in a namespace
//! of the store that is theirs alone. Uses `store`; blocks on the disk.
//!
//! What the store vouches for it vouches for here, too: each copy is under a name made of the place where the provider
//! looks and of the path, so that none can stand in for another, and goes through `verify`, `backup` and the
//! rotation of keys as all else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::poison::EvenPoisoned;
use crate::secret::{
    FieldName, NameError, Namespace, SecretBytes, SecretKey, SecretName, SecretType, SecretVersion,
};
use crate::store::{Change, Edit, FIELD_LIMIT, NewVersion, Stamp, Store, StoreError, VALUE_LIMIT};

/// The copies of one provider's answers.
pub struct Mirror {
    store: Arc<Store>,
    /// Opened when there is something to write.
    writer: Mutex<Option<Store>>,
    namespace: Namespace,
    /// Where the provider looks: another place has other secrets.
    place: String,
    oldest: Duration,
    /// It was said that the clock cannot be right.
    is_doubted: AtomicBool,
}

/// What came of writing copies down.
#[derive(Default)]
pub struct Put {
    pub written: usize,
    /// The places of those that could not be, and why the first of them could not.
    pub failed: Vec<usize>,
    pub error: Option<StoreError>,
}

/// What a provider has answered, and when. `None`: there is nothing of it to be kept.
#[derive(Clone)]
pub struct Fresh {
    pub key: SecretKey,
    pub version: Option<Arc<SecretVersion>>,
    pub at: Timestamp,
}

/// What it has answered once.
pub struct Kept {
    pub version: Arc<SecretVersion>,
    at: Timestamp,
}

/// Beside the fields of a copy: what else is known of the version.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    path: String,
    pin: Option<u64>,
    kind: SecretType,
    version: u64,
    created: Timestamp,
    updated: Timestamp,
    expires: Option<Timestamp>,
    fetched: Timestamp,
    /// So long whoever wrote it serves it.
    until: Timestamp,
}

/// The field that holds it.
const NOTE: &str = "_mirror";
/// Who writes them, as the store's metadata says.
const WRITER: &str = "secretfs: a provider's mirror";
/// In one transaction: other writers wait meanwhile.
const BATCH: usize = 200;
/// The age that a copy may have before it is written anew though nothing has changed.
const REFRESH: Duration = Duration::from_secs(3600);
/// And if copies may be served for a short time only: each one written is a write that others wait for.
const SELDOM: Duration = Duration::from_secs(600);
/// A copy from so far ahead is of another clock than ours.
const AHEAD: Duration = Duration::from_secs(300);

impl Kept {
    /// By the wall clock, which may be a little behind: then it is as old as nothing.
    pub fn age(&self) -> Duration {
        Duration::try_from(Timestamp::now().duration_since(self.at)).unwrap_or_default()
    }

    /// How old it is nobody knows: the clock was set back, or was ahead when it was written.
    fn is_of_the_future(&self) -> bool {
        Duration::try_from(self.at.duration_since(Timestamp::now())).is_ok_and(|ahead| ahead > AHEAD)
    }
}

impl Mirror {
    /// `place` tells where the provider of this name looks.
    pub fn new(store: Arc<Store>, provider: &str, place: &str, oldest: Duration) -> Result<Self, NameError> {
        let namespace = Namespace::of_mirror(provider)?;
        Ok(Self {
            store,
            writer: Mutex::default(),
            namespace,
            place: place.to_owned(),
            oldest,
            is_doubted: AtomicBool::new(false),
        })
    }

    /// How old a copy may be.
    pub fn oldest(&self) -> Duration {
        self.oldest
    }

    /// After this time an answer that has not changed is worth a new copy, so that ages are right.
    pub fn refresh(&self) -> Duration {
        REFRESH.min((self.oldest / 8).max(SELDOM)).min(self.oldest / 2)
    }

    /// The copy of what was answered to this, unless it is too old, or nobody knows how old, or has ended.
    pub fn find(&self, key: &SecretKey) -> Result<Option<Kept>, StoreError> {
        let Some(kept) = self.look(key)? else { return Ok(None) };
        if kept.is_of_the_future() {
            if !self.is_doubted.swap(true, Ordering::Relaxed) {
                tracing::warn!(namespace = %self.namespace, "mirror: a copy is of a time to come, and not served: is the clock right?");
            }
            return Ok(None);
        }
        Ok(Some(kept).filter(|kept| kept.age() < self.oldest && !kept.has_ended()))
    }

    fn look(&self, key: &SecretKey) -> Result<Option<Kept>, StoreError> {
        let reading = self.store.get(&self.namespace, &[(self.name_of(key), None)], Timestamp::now())?;
        let Some(Ok(copy)) = reading.answers.into_iter().next() else { return Ok(None) };
        match kept(&copy).filter(|(note, _)| note.path == key.path && note.pin == key.version) {
            Some((_, kept)) => Ok(Some(kept)),
            None => {
                Err(StoreError::Corrupt(format!("a copy in `{}` is not what was written", self.namespace)))
            }
        }
    }

    /// Writes down what is news, and takes away what is gone. One that is damaged keeps no other from it.
    pub fn put(&self, fresh: &[Fresh]) -> Put {
        let news: Vec<usize> = (0..fresh.len()).filter(|&at| !self.has(&fresh[at])).collect();
        let mut put = Put::default();
        for batch in news.chunks(BATCH) {
            match self.put_all(fresh, batch) {
                Err(error) if is_of_one(&error) => {
                    batch.iter().for_each(|at| put.note(&[*at], self.put_all(fresh, &[*at])));
                }
                outcome => put.note(batch, outcome),
            }
        }
        put
    }

    fn put_all(&self, fresh: &[Fresh], which: &[usize]) -> Result<(), StoreError> {
        self.change(|change| which.iter().try_for_each(|&at| self.put_one(change, &fresh[at])))
    }

    /// Takes away what is too old for everybody: also for others that keep copies there, which may serve them for
    /// longer. Returns how many that were.
    pub fn sweep(&self) -> Result<usize, StoreError> {
        let now = Timestamp::now();
        let age = |at: Timestamp| Duration::try_from(now.duration_since(at)).unwrap_or_default();
        let old =
            self.store.list(&self.namespace)?.into_iter().filter(|it| age(it.updated_at) >= self.oldest);
        let old = old.filter_map(|it| SecretName::parse(&it.name).ok());
        let over: Vec<_> = old.filter(|name| self.is_over(name, now)).collect();
        for batch in over.chunks(BATCH) {
            self.change(|change| batch.iter().try_for_each(|name| remove(change, name)))?;
        }
        Ok(over.len())
    }

    /// One that has ended or cannot be read is of use to nobody.
    fn is_over(&self, name: &SecretName, now: Timestamp) -> bool {
        let reading = self.store.get(&self.namespace, &[(name.clone(), None)], now);
        let copy = reading.ok().and_then(|reading| reading.answers.into_iter().next()?.ok());
        copy.and_then(|copy| kept(&copy)).is_none_or(|(note, _)| note.until <= now)
    }

    fn has(&self, fresh: &Fresh) -> bool {
        match (self.look(&fresh.key), worth_keeping(fresh)) {
            (Ok(None), None) => true,
            // A copy too few is an outage at worst; one too many is what was denied.
            (_, None) => false,
            // Somebody else has written down what was answered later.
            (Ok(Some(kept)), _) if kept.at > fresh.at && !kept.is_of_the_future() => true,
            (Ok(Some(kept)), Some(version)) => kept.age() < self.refresh() && is_same(&kept.version, version),
            _ => false,
        }
    }

    fn put_one(&self, change: &mut Change<'_>, fresh: &Fresh) -> Result<(), StoreError> {
        let name = self.name_of(&fresh.key);
        // No version of before stays.
        remove(change, &name)?;
        let Some(version) = worth_keeping(fresh) else { return Ok(()) };
        let kind = Some(SecretType::Custom);
        change.put(&name, copy_of(fresh, version, self.oldest), &Edit { kind, ..Edit::default() }).map(drop)
    }

    fn change(&self, work: impl FnOnce(&mut Change<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().even_poisoned();
        let writer = match &mut *writer {
            Some(writer) => writer,
            none => none.insert(self.store.writer()?),
        };
        let stamp = Stamp { now: Timestamp::now(), by: WRITER.to_owned() };
        writer.change(&self.namespace, stamp, work)
    }

    fn name_of(&self, key: &SecretKey) -> SecretName {
        let mut hash = Sha256::new();
        let version = key.version.map(|version| version.to_string()).unwrap_or_default();
        for part in [&self.place, &key.path, &version] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        SecretName::parse(&digest).expect("hex digits are a name")
    }
}

impl Put {
    fn note(&mut self, which: &[usize], outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) => self.written += which.len(),
            Err(error) => {
                self.failed.extend(which);
                self.error.get_or_insert(error);
            }
        }
    }
}

/// Another one may be written down all the same.
fn is_of_one(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt(_) | StoreError::Field(..))
}

impl Kept {
    fn has_ended(&self) -> bool {
        self.version.expires_at.is_some_and(|end| end <= Timestamp::now())
    }
}

fn remove(change: &mut Change<'_>, name: &SecretName) -> Result<(), StoreError> {
    match change.describe(name)? {
        Some(_) => change.remove(name),
        None => Ok(()),
    }
}

/// What the store cannot hold is not kept.
fn worth_keeping(fresh: &Fresh) -> Option<&SecretVersion> {
    let version = fresh.version.as_deref()?;
    let fits = version.fields.len() < FIELD_LIMIT
        && version.fields.values().all(|value| value.len() <= VALUE_LIMIT)
        && !version.fields.contains_key(NOTE)
        && version.turned_out.is_none();
    fits.then_some(version)
}

fn is_same(one: &SecretVersion, other: &SecretVersion) -> bool {
    let known = |it: &SecretVersion| (it.kind, it.version, it.expires_at);
    known(one) == known(other) && one.has_values_of(other)
}

fn copy_of(fresh: &Fresh, version: &SecretVersion, oldest: Duration) -> NewVersion {
    let note = Note {
        path: fresh.key.path.clone(),
        pin: fresh.key.version,
        kind: version.kind,
        version: version.version,
        created: version.created_at,
        updated: version.updated_at,
        expires: version.expires_at,
        fetched: fresh.at,
        until: fresh.at.checked_add(oldest).unwrap_or(Timestamp::MAX),
    };
    let note = SecretBytes::new(serde_json::to_vec(&note).expect("a note is plain data"));
    let mut fields = copied(&version.fields);
    fields.insert(note_field(), note);
    NewVersion { fields, expires_at: version.expires_at }
}

/// `None` if it is none of ours.
fn kept(copy: &SecretVersion) -> Option<(Note, Kept)> {
    let note: Note = serde_json::from_slice(copy.fields.get(NOTE)?.expose()).ok()?;
    let mut fields = copied(&copy.fields);
    fields.remove(NOTE);
    let version = Arc::new(SecretVersion {
        turned_out: None,
        kind: note.kind,
        fields,
        version: note.version,
        created_at: note.created,
        updated_at: note.updated,
        expires_at: note.expires,
        uses: None,
    });
    let at = note.fetched;
    Some((note, Kept { version, at }))
}

fn copied(fields: &BTreeMap<FieldName, SecretBytes>) -> BTreeMap<FieldName, SecretBytes> {
    fields.iter().map(|(name, value)| (name.clone(), SecretBytes::copy_of(value.expose()))).collect()
}

fn note_field() -> FieldName {
    FieldName::parse(NOTE).expect("a name of ours")
}

#[cfg(test)]
mod tests;
