//! All that a store holds, as somebody with the key sees it: what must not be mixed. Uses the library.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use secretfs::secret::{Namespace, SecretName};
use secretfs::store::{Access, EnvKey, KeySources, SecretInfo, Store, StoreError};

use super::common::TestStore;

/// The store, and what was made of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    backend: &'static str,
    store: Contents,
    /// Other stores, and backups as what is restored of them.
    others: BTreeMap<&'static str, Contents>,
}

#[derive(Clone, Debug, PartialEq)]
struct Contents {
    master: String,
    namespaces: BTreeMap<String, Space>,
}

#[derive(Clone, Debug, PartialEq)]
struct Space {
    keys: Vec<Key>,
    secrets: BTreeMap<String, Secret>,
}

#[derive(Clone, Debug, PartialEq)]
struct Key {
    id: String,
    active: bool,
    secrets: usize,
}

/// Times aside: those of two runs differ.
#[derive(Clone, Debug, PartialEq)]
struct Secret {
    active: u64,
    latest: u64,
    disabled: bool,
    tags: BTreeSet<String>,
    expires: bool,
    /// What each version answers.
    versions: BTreeMap<u64, String>,
}

const OTHERS: [&str; 3] = ["copy", "store/was-sqlite", "store/was-file"];
const BACKUP: &str = "store.backup";

impl State {
    /// Opens what is there with the key that fits, authenticates all of it, and reads all of it. What says
    /// that it is no store, or not yet one, is none.
    pub(crate) fn read(store: &TestStore) -> Result<Self, String> {
        let opened = open(store, &store.path()).map_err(|error| format!("it does not open: {error}"))?;
        let mut others = BTreeMap::new();
        for name in OTHERS {
            let in_it = |error| format!("{name}: {error}");
            match open(store, &store.folder().join(name)) {
                Err(StoreError::NoStore(_) | StoreError::NotAStore(_) | StoreError::Unfinished(_)) => {}
                Err(error) => return Err(in_it(error.to_string())),
                Ok(other) => _ = others.insert(name, Contents::read(&other).map_err(in_it)?),
            }
        }
        if store.folder().join(BACKUP).exists() {
            others.insert(BACKUP, restored(store).map_err(|error| format!("its backup: {error}"))?);
        }
        Ok(Self { backend: opened.backend().as_str(), store: Contents::read(&opened)?, others })
    }

    /// Keys that were not there before have other names each time.
    pub(crate) fn beside(mut self, before: &Self) -> Self {
        let known = before.store.ids();
        self.store.mask(&known);
        self.others.values_mut().for_each(|it| it.mask(&known));
        self
    }

    pub(crate) fn has_another_master(&self, before: &Self) -> bool {
        self.store.master != before.store.master
    }

    /// What is neither as in the one nor as in the other.
    pub(crate) fn difference(&self, before: &Self, after: &Self) -> String {
        let others = [("before", before), ("after", after)];
        others.map(|(name, other)| format!("as {name} but for {}", self.first_difference(other))).join("; ")
    }

    fn first_difference(&self, other: &Self) -> String {
        if self.backend != other.backend {
            return format!("the backend {}", self.backend);
        }
        for name in self.others.keys().chain(other.others.keys()) {
            match (self.others.get(name), other.others.get(name)) {
                (Some(one), Some(two)) if one == two => {}
                (Some(one), Some(two)) => return format!("{} of {name}", one.first_difference(two)),
                (one, _) => return format!("{name}, {}", if one.is_some() { "there" } else { "not there" }),
            }
        }
        self.store.first_difference(&other.store)
    }

    /// A rotation of keys that is on its way: each secret as it was, under one key or another.
    pub(crate) fn is_between_keys(before: &Self, now: &Self) -> bool {
        before.others == now.others && Contents::is_between_keys(&before.store, &now.store)
    }

    /// A move to another backend that is done: the rows as they were are still to be put aside.
    pub(crate) fn is_to_be_put_aside(before: &Self, now: &Self) -> bool {
        before.backend != now.backend && before.store == now.store && before.others == now.others
    }
}

impl Contents {
    fn read(opened: &Store) -> Result<Self, String> {
        let found = opened.inspect().map_err(|error| format!("it cannot be verified: {error}"))?;
        if let Some(damage) = found.damages.first() {
            return Err(format!("damaged: {damage:?}"));
        }
        of(opened).map_err(|error| format!("it cannot be read: {error}"))
    }

    fn mask(&mut self, known: &BTreeSet<&str>) {
        let mask = |id: &mut String| {
            if !known.contains(id.as_str()) {
                *id = "another".into();
            }
        };
        mask(&mut self.master);
        self.namespaces.values_mut().flat_map(|it| &mut it.keys).for_each(|key| mask(&mut key.id));
    }

    fn first_difference(&self, other: &Self) -> String {
        if self.master != other.master {
            return "the master key".into();
        }
        let names: BTreeSet<_> = self.namespaces.keys().chain(other.namespaces.keys()).collect();
        let differs = |name: &&&String| self.namespaces.get(**name) != other.namespaces.get(**name);
        let Some(name) = names.iter().find(differs) else { return "nothing".into() };
        match (self.namespaces.get(*name), other.namespaces.get(*name)) {
            (Some(one), Some(two)) if one.keys != two.keys => format!("the keys of {name}: {:?}", one.keys),
            (Some(one), Some(two)) => {
                let odd = one.secrets.iter().find(|(name, it)| two.secrets.get(*name) != Some(*it));
                format!("{odd:?} in {name}")
            }
            _ => format!("the namespace {name}"),
        }
    }

    fn ids(&self) -> BTreeSet<&str> {
        let keys = self.namespaces.values().flat_map(|space| &space.keys);
        keys.map(|key| key.id.as_str()).chain([self.master.as_str()]).collect()
    }

    fn is_between_keys(before: &Self, now: &Self) -> bool {
        let is_same = |(old, new): (&Space, &Space)| {
            let total: usize = new.keys.iter().map(|key| key.secrets).sum();
            let actives = new.keys.iter().filter(|key| key.active).count();
            old.secrets == new.secrets && total == new.secrets.len() && actives == 1 && new.keys.len() <= 2
        };
        before.master == now.master
            && before.namespaces.keys().eq(now.namespaces.keys())
            && before.namespaces.values().zip(now.namespaces.values()).all(is_same)
    }
}

fn open(store: &TestStore, dir: &Path) -> Result<Store, StoreError> {
    let with = |file| Store::open(dir, Access::Read, &sources(file));
    with(store.key_file()).or_else(|error| with(store.folder().join("new.key")).map_err(|_| error))
}

fn sources(file: PathBuf) -> KeySources {
    KeySources::of_process(Some(file), EnvKey::default())
}

fn restored(store: &TestStore) -> Result<Contents, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("store");
    let made = Store::restore(&store.folder().join(BACKUP), &dir, None, &sources(store.key_file()));
    let opened = made.and_then(|_| open(store, &dir)).map_err(|error| error.to_string())?;
    Contents::read(&opened)
}

fn of(store: &Store) -> Result<Contents, StoreError> {
    let status = store.key_status()?;
    let mut namespaces = BTreeMap::new();
    for it in status.namespaces {
        let namespace = Namespace::parse(&it.namespace).expect("a namespace");
        let key =
            |key: secretfs::store::DataKey| Key { id: key.id, active: key.active, secrets: key.secrets };
        let keys = it.keys.into_iter().map(key).collect();
        namespaces.insert(it.namespace, Space { keys, secrets: secrets(store, &namespace)? });
    }
    Ok(Contents { master: status.master, namespaces })
}

fn secrets(store: &Store, namespace: &Namespace) -> Result<BTreeMap<String, Secret>, StoreError> {
    let all = store.list(namespace)?.into_iter();
    all.map(|info| Ok((info.name.clone(), secret(store, namespace, info)?))).collect()
}

fn secret(store: &Store, namespace: &Namespace, info: SecretInfo) -> Result<Secret, StoreError> {
    let name = SecretName::parse(&info.name).expect("a name");
    let wanted: Vec<_> = (1..=info.latest).map(|version| (name.clone(), Some(version))).collect();
    let reading = store.get(namespace, &wanted, jiff::Timestamp::now())?;
    let text = |answer: secretfs::secret::Answer| match answer {
        Ok(version) => String::from_utf8_lossy(version.fields["value"].expose()).into_owned(),
        Err(absent) => format!("{absent:?}"),
    };
    Ok(Secret {
        active: info.active,
        latest: info.latest,
        disabled: info.disabled,
        tags: info.tags,
        expires: info.expires_at.is_some(),
        versions: (1..).zip(reading.answers.into_iter().map(text)).collect(),
    })
}
