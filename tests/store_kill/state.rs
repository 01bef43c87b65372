//! All that a store holds, as somebody with the key sees it: what must not be mixed. Uses the library.

use std::collections::{BTreeMap, BTreeSet};

use secretfs::secret::{Namespace, SecretName};
use secretfs::store::{Access, EnvKey, KeySources, SecretInfo, Store, StoreError};

use super::common::TestStore;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
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

impl State {
    /// Opens the store with the key that fits, authenticates all of it, and reads all of it.
    pub(crate) fn read(store: &TestStore) -> Result<Self, String> {
        let opened = open(store).map_err(|error| format!("it does not open: {error}"))?;
        let found = opened.inspect().map_err(|error| format!("it cannot be verified: {error}"))?;
        if let Some(damage) = found.damages.first() {
            return Err(format!("damaged: {damage:?}"));
        }
        of(&opened).map_err(|error| format!("it cannot be read: {error}"))
    }

    /// Keys that were not there before have other names each time.
    pub(crate) fn beside(mut self, before: &Self) -> Self {
        let known = before.ids();
        let mask = |id: &mut String| {
            if !known.contains(id.as_str()) {
                *id = "another".into();
            }
        };
        mask(&mut self.master);
        self.namespaces.values_mut().flat_map(|it| &mut it.keys).for_each(|key| mask(&mut key.id));
        self
    }

    pub(crate) fn has_another_master(&self, before: &Self) -> bool {
        self.master != before.master
    }

    /// What is neither as in the one nor as in the other.
    pub(crate) fn difference(&self, before: &Self, after: &Self) -> String {
        let others = [("before", before), ("after", after)];
        others.map(|(name, other)| format!("as {name} but for {}", self.first_difference(other))).join("; ")
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

    /// A rotation of keys that is on its way: each secret as it was, under one key or another.
    pub(crate) fn is_between_keys(before: &Self, now: &Self) -> bool {
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

fn open(store: &TestStore) -> Result<Store, StoreError> {
    let with = |file| {
        let sources = KeySources::of_process(Some(file), EnvKey::default());
        Store::open(&store.path(), Access::Read, &sources)
    };
    with(store.key_file()).or_else(|error| with(store.folder().join("new.key")).map_err(|_| error))
}

fn of(store: &Store) -> Result<State, StoreError> {
    let status = store.key_status()?;
    let mut namespaces = BTreeMap::new();
    for it in status.namespaces {
        let namespace = Namespace::parse(&it.namespace).expect("a namespace");
        let key =
            |key: secretfs::store::DataKey| Key { id: key.id, active: key.active, secrets: key.secrets };
        let keys = it.keys.into_iter().map(key).collect();
        namespaces.insert(it.namespace, Space { keys, secrets: secrets(store, &namespace)? });
    }
    Ok(State { master: status.master, namespaces })
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
