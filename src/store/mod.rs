//! The embedded store: secrets with their versions, sealed before they reach the backend and
//! checked when they come back. Uses `secret`, the rules of `fields`, and `sys` for the environment.
//! Blocking.
//!
//! Below [`Store`]: `view` reads and `change` writes one commit, over rows that a `backend`
//! (`sqlite`, or `file` where that cannot work) keeps without understanding them; `cipher`,
//! `keyring`, `index` and `record` make rows out of secrets, and `vouch` tells by the root, the `spaces`
//! and the index which rows are right; `sequence` tells other processes, `opened`, `seen` and `labels`
//! are what this one holds and remembers, `reopen` when to let go of it, and `writer`
//! is a second hand that writes. `layout` guards the folder,
//! `claim` and `founding` make one a store; `key_source` has the key, with `key_file`, `kernel`,
//! `credential` and `passphrase`. `rotation` and `master` change keys, `migrate` and `aside` the backend,
//! `older` what was made before; `salvage`, `repair` and `lost_root` save what is left.

mod aside;
mod backend;
mod backup;
mod change;
mod cipher;
mod claim;
mod credential;
mod error;
mod file;
mod founding;
mod freshness;
mod gone;
mod hand;
mod index;
mod kernel;
mod key_file;
mod key_source;
mod keyring;
mod labels;
mod layout;
mod lost_root;
mod master;
mod migrate;
mod model;
mod namespaces;
mod older;
mod opened;
mod passphrase;
mod record;
mod reopen;
mod repair;
mod rotation;
mod salvage;
mod schema;
mod seen;
mod sequence;
mod spaces;
mod sqlite;
mod uses;
mod view;
mod vouch;
mod whole;
mod witness;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, RwLock};

use jiff::Timestamp;

pub use backend::{BackendKind, Scrub};
pub use backup::Restored;
pub use change::{Change, Fate, Keep, Stamp};
pub use error::StoreError;
pub use hand::Belongings;
pub use kernel::unload;
pub use key_file::MasterKey;
pub use key_source::{EnvKey, KeyError, KeySources};
pub use labels::Question;
pub use migrate::Migration;
pub use model::{Edit, FIELD_LIMIT, NewVersion, Reading, SecretInfo, Used, VALUE_LIMIT, VersionInfo};
pub use namespaces::NamespaceInfo;
pub use passphrase::{Ask, Stretch};
pub use rotation::{DataKey, KeyStatus, NamespaceKeyStatus};
pub use salvage::{Damage, Inspection};
pub use whole::Whole;
pub use witness::{Deed, What, Witness};

use crate::poison::EvenPoisoned;
use crate::secret::{Namespace, SecretBytes, SecretName};
use backend::{PATIENCE, Write};
use cipher::Id;
use claim::Claim;
use founding::found;
use keyring::{Masters, NamespaceKeys};
use layout::Layout;
use opened::Opened;
use sequence::{Mark, Sequence, WriterLock};
use uses::Tallies;
use view::View;

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// The random identity of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId(Id);

impl StoreId {
    pub fn generate() -> Result<Self, StoreError> {
        cipher::random().map(Self)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&change::hex(&self.0))
    }
}

/// An open store. Shared by all threads; every method may block on the disk.
pub struct Store {
    layout: Layout,
    access: Access,
    /// Where another master key would come from, if it is changed while the store is open.
    sources: Option<KeySources>,
    /// Where that one came from with which it was opened.
    key_source: Option<String>,
    /// As it was opened.
    id: StoreId,
    salt: SecretBytes,
    opened: RwLock<Arc<Opened>>,
    tallies: Tallies,
    /// Is told of a change before it is there.
    witness: Option<Arc<dyn Witness>>,
}

impl Store {
    /// Makes a new store in a folder that is empty or not there yet. `passphrase` says how the key
    /// was made of one, if it was.
    pub fn create(
        dir: &Path,
        backend: BackendKind,
        id: StoreId,
        key: &MasterKey,
        passphrase: Option<&Stretch>,
    ) -> Result<Self, StoreError> {
        let claim = Claim::of(dir, backend, id.0)?;
        let masters = Arc::new(Masters::derive(&key.0));
        let (rows, _lock) = found(claim.layout(), id, &masters, passphrase)?;
        let layout = claim.finish()?;
        let salt = SecretBytes::copy_of(masters.salt.expose());
        let opened = RwLock::new(Arc::new(Opened::new(rows, layout.clone(), 0, masters)?));
        let tallies = Tallies::default();
        let (access, sources, key_source, witness) = (Access::Write, None, None, None);
        Ok(Self { layout, access, sources, key_source, id, salt, opened, tallies, witness })
    }

    /// Opens the store that is there with the first key that fits it.
    pub fn open(dir: &Path, access: Access, sources: &KeySources) -> Result<Self, StoreError> {
        let store = layout::steadily(dir, || Self::open_now(dir, access, sources))?;
        if access == Access::Write {
            store.heal()?;
        }
        Ok(store)
    }

    fn open_now(dir: &Path, access: Access, sources: &KeySources) -> Result<Self, StoreError> {
        let layout = Layout::open(dir)?;
        let backend = layout.backend().open(&layout.rows(), access)?;
        let root = backend.read()?.root()?;
        let found = sources.find(layout.dir(), &StoreId(root.store), &root.key)?;
        let (masters, key_source) = (Masters::derive(&found.key.0), Some(found.source));
        older::update(&layout, &*backend, &masters)?;
        masters.check_root(&backend.read()?.root()?)?;
        let salt = SecretBytes::copy_of(masters.salt.expose());
        let opened = RwLock::new(Arc::new(Opened::new(backend, layout.clone(), 0, Arc::new(masters))?));
        // Whoever serves others from it later does not stop to ask.
        let sources = Some(KeySources { ask: None, ..sources.clone() });
        let (id, tallies) = (StoreId(root.store), Tallies::default());
        Ok(Self { layout, access, sources, key_source, id, salt, opened, tallies, witness: None })
    }

    /// The folder, as an absolute path.
    pub fn dir(&self) -> &Path {
        self.layout.dir()
    }

    /// How its rows are kept.
    pub fn backend(&self) -> BackendKind {
        self.opened().layout.backend()
    }

    pub fn id(&self) -> Result<StoreId, StoreError> {
        self.read(|view, _| Ok(StoreId(view.root.store)))
    }

    /// A key of its own for whoever needs repeatable salts.
    pub fn salt_key(&self) -> &SecretBytes {
        &self.salt
    }

    /// Where its key was found, if it had to be looked for.
    pub fn key_source(&self) -> Option<&str> {
        self.key_source.as_deref()
    }

    /// What the keys of an audit log are made from: the same for as long as there is the store,
    /// whatever becomes of its other keys. Made anew for each who asks.
    pub fn audit_seed(&self) -> Result<SecretBytes, StoreError> {
        self.read(|view, _| {
            let (store, masters) = (view.root.store, view.masters);
            let space = view.spaces()?.named(&masters.namespace_mac(&store, &Namespace::default()));
            let space = space.ok_or_else(|| StoreError::corrupt("the namespace `default` is not there"))?;
            masters.audit_seed(&store, &space.row.id, &space.keys)
        })
    }

    /// Answers every question as of one commit: a name, and a version or the active one.
    pub fn get(
        &self,
        namespace: &Namespace,
        wanted: &[(SecretName, Option<u64>)],
        now: Timestamp,
    ) -> Result<Reading, StoreError> {
        let question = |(name, version): &(SecretName, Option<u64>)| Question::Named(name.clone(), *version);
        self.answers(namespace, &wanted.iter().map(question).collect::<Vec<_>>(), now)
    }

    /// A secret without its values; `None` if there is none.
    pub fn describe(
        &self,
        namespace: &Namespace,
        name: &SecretName,
    ) -> Result<Option<SecretInfo>, StoreError> {
        self.in_namespace(namespace, |view, keys| Ok(view.header(keys, name)?.map(SecretInfo::from)))
            .map(Option::flatten)
    }

    /// All secrets of a namespace, by name.
    pub fn list(&self, namespace: &Namespace) -> Result<Vec<SecretInfo>, StoreError> {
        let headers = self.in_namespace(namespace, |view, keys| view.headers(keys))?;
        Ok(headers.unwrap_or_default().into_iter().map(SecretInfo::from).collect())
    }

    /// The versions of a secret, oldest first; `None` if there is none.
    pub fn versions(
        &self,
        namespace: &Namespace,
        name: &SecretName,
    ) -> Result<Option<Vec<VersionInfo>>, StoreError> {
        let versions = self.in_namespace(namespace, |view, keys| {
            view.header(keys, name)?.map(|header| view.versions(keys, &header)).transpose()
        })?;
        Ok(versions.flatten())
    }

    /// Changes a namespace in one transaction: all that `work` does, or nothing. When this
    /// returns, the next reader of any process sees it.
    pub fn change<T, E: From<StoreError>>(
        &self,
        namespace: &Namespace,
        stamp: Stamp,
        work: impl FnOnce(&mut Change<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut done = Vec::new();
        let outcome = self.write(|opened, rows| {
            let mut change = Change::new(rows, &opened.masters, namespace, stamp)?;
            let outcome = work(&mut change)?;
            let deeds = change.take_deeds();
            self.tell(namespace, &deeds)?;
            done = deeds;
            Ok((outcome, change.seal()?))
        });
        if outcome.is_err() {
            self.take_back(namespace, &done);
        }
        outcome
    }

    /// One transaction of the one writer. `work` says which epoch its root has.
    fn write<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Opened, &dyn Write) -> Result<(T, u64), E>,
    ) -> Result<T, E> {
        self.alone(|opened, lock| self.transact(opened, lock, work))
    }

    /// What `work` does, no other process does meanwhile.
    fn alone<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Opened, &WriterLock) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.access == Access::Read {
            return Err(StoreError::ReadOnly.into());
        }
        let lock = WriterLock::acquire(&self.layout.sequence(), PATIENCE)?;
        self.reopen_if_replaced()?;
        // Whatever it was opened with: the key that it has now.
        self.read(|_, _| Ok(()))?;
        let outcome = work(&self.opened(), &lock);
        // If this fails, the sequence stays as it is: moving, or right.
        let _ = self.settle(&self.opened(), &lock);
        outcome
    }

    fn transact<T, E: From<StoreError>>(
        &self,
        opened: &Opened,
        lock: &WriterLock,
        work: impl FnOnce(&Opened, &dyn Write) -> Result<(T, u64), E>,
    ) -> Result<T, E> {
        let rows = opened.backend.write()?;
        let (outcome, epoch) = work(opened, &*rows)?;
        // From here on readers in other processes ask the store, and find either commit.
        lock.mark_moving(epoch - 1).map_err(StoreError::io("write", &self.layout.sequence()))?;
        rows.commit()?;
        Ok(outcome)
    }

    /// Takes out of the files what a commit has removed but left there. False if readers are in the
    /// way. Other writers wait meanwhile.
    pub fn scrub(&self, what: Scrub) -> Result<bool, StoreError> {
        let _lock = WriterLock::acquire(&self.layout.sequence(), PATIENCE)?;
        self.opened().backend.scrub(what)
    }

    /// The moment at which the store stands, unless it is just changing: costs two system calls.
    pub fn pulse(&self) -> Option<u64> {
        self.opened().pulse()
    }

    fn opened(&self) -> Arc<Opened> {
        self.opened.read().even_poisoned().clone()
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&View<'_>, &Opened) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut opened = self.opened();
        let mark = opened.sequence.as_ref().map_or(Mark::Moving, Sequence::read);
        if mark == Mark::Replaced {
            self.reopen_if_replaced()?;
            opened = self.opened();
        }
        // Rows of which the sequence knows a later commit, or none: they may be elsewhere by now.
        match opened.backend.read() {
            Ok(rows) => match View::new(&*rows, &opened.masters) {
                Ok(view) if mark.is_of(view.root.epoch) || !opened.is_replaced() => {
                    return work(&view, &opened);
                }
                Ok(_) | Err(StoreError::Rekeyed) => {}
                Err(error) if !opened.is_replaced() => return Err(error),
                Err(_) => {}
            },
            Err(error) if !opened.is_replaced() => return Err(error),
            Err(_) => {}
        }
        self.reopen()?;
        let opened = self.opened();
        let rows = opened.backend.read()?;
        work(&View::new(&*rows, &opened.masters)?, &opened)
    }

    fn in_namespace<T>(
        &self,
        namespace: &Namespace,
        work: impl FnOnce(&View<'_>, &NamespaceKeys) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.read(|view, opened| match opened.namespace(view, namespace)? {
            Some(keys) => work(view, &keys).map(Some),
            None => Ok(None),
        })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::spoil_a_header;
