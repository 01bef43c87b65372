//! The rotation of keys. That of a namespace: a new key seals, the old one only opens until all is
//! sealed anew, and is destroyed in a later transaction that has found nothing under it. Uses
//! `keyring`, and the transactions of `store`.

use serde::Serialize;

use super::backend::{KeyRow, Read, Write};
use super::change::{Stamp, hex};
use super::cipher::{Id, Mac, key_id};
use super::index::ALL;
use super::keyring::{NamespaceKeys, PURPOSE_DATA, STATE_ACTIVE};
use super::spaces::Space;
use super::view::View;
use super::witness::{Deed, What};
use super::{MasterKey, Store, StoreError};
use crate::secret::Namespace;

/// Secrets that are sealed anew in one transaction.
const BATCH: usize = 200;
/// How often it goes round again because others rotate the same keys, too.
const ROUNDS: usize = 32;

/// The keys of a store, as far as they may be told: their ids.
#[derive(Serialize)]
pub struct KeyStatus {
    pub master: String,
    pub namespaces: Vec<NamespaceKeyStatus>,
}

#[derive(Serialize)]
pub struct NamespaceKeyStatus {
    pub namespace: String,
    pub keys: Vec<DataKey>,
}

#[derive(Serialize)]
pub struct DataKey {
    pub id: String,
    /// Whether it seals what is written. Another only opens, until a rotation has come to its end.
    pub active: bool,
    /// How many secrets it seals.
    pub secrets: usize,
}

impl MasterKey {
    /// Names it without telling it.
    pub fn id(&self) -> String {
        hex(&super::keyring::id_of(&self.0))
    }
}

impl Store {
    pub fn key_status(&self) -> Result<KeyStatus, StoreError> {
        self.read(|view, opened| {
            let status = |space: &Space| {
                let name = opened.masters.namespace_name(&view.root.store, &space.row)?;
                let keys = data_keys(view.rows, space)?;
                Ok(NamespaceKeyStatus { namespace: name.to_string(), keys })
            };
            let mut namespaces = view.spaces()?.iter().map(status).collect::<Result<Vec<_>, StoreError>>()?;
            namespaces.sort_by(|left, right| left.namespace.cmp(&right.namespace));
            Ok(KeyStatus { master: hex(&view.root.key), namespaces })
        })
    }

    /// Gives a namespace a new key, or goes on where that was broken off. `on_batch` is told how
    /// many secrets have been taken to it. Returns their number.
    pub fn rotate_key(
        &self,
        namespace: &Namespace,
        stamp: &Stamp,
        on_batch: &mut dyn FnMut(usize),
    ) -> Result<usize, StoreError> {
        self.tell(namespace, &[Deed::of(What::Key)])?;
        self.begin_rotation(namespace)?;
        let mut total = 0;
        let mut left = Vec::new();
        for _ in 0..ROUNDS {
            left = self.not_current(namespace)?;
            for batch in left.chunks(BATCH) {
                self.change(namespace, stamp.clone(), |change| match change.is_first {
                    true => Err(StoreError::NamespaceMissing(namespace.to_string())),
                    false => change.reseal(batch),
                })?;
                total += batch.len();
                on_batch(batch.len());
            }
            // The long look is one of a reader, so that writers need not wait for it.
            let is_done = self.in_namespace(namespace, |view, keys| all_current(view, keys, true))?;
            if is_done == Some(true) && self.end_rotation(namespace)? {
                return Ok(total);
            }
        }
        match left.is_empty() {
            true => Err(StoreError::corrupt("something is still sealed with an old key")),
            false => Err(StoreError::Rekeyed),
        }
    }

    /// A new key, unless there is one that has not taken everything over yet.
    fn begin_rotation(&self, namespace: &Namespace) -> Result<(), StoreError> {
        self.change_keyring(namespace, |view, rows, keys| {
            let (masters, store) = (view.masters, view.root.store);
            let space = view.space_mut(keys)?;
            let old: Vec<KeyRow> = space.keys.iter().filter(|key| is_data(key)).cloned().collect();
            if old.iter().any(|key| key.state != STATE_ACTIVE) {
                return Ok(());
            }
            let retired = old.iter().map(|key| masters.retired(&store, key));
            for key in retired.chain([masters.new_key(&store, &keys.id, PURPOSE_DATA)]) {
                let key = key?;
                rows.put_key(&key)?;
                space.put_key(key);
            }
            Ok(())
        })
    }

    /// False if something is still under the old key: of another rotation, begun meanwhile.
    fn end_rotation(&self, namespace: &Namespace) -> Result<bool, StoreError> {
        self.change_keyring(namespace, |view, rows, keys| {
            let is_done = all_current(view, keys, false)?;
            let space = view.space_mut(keys)?;
            let is_old = |key: &KeyRow| is_done && is_data(key) && key.state != STATE_ACTIVE;
            let mut old = space.keys.iter().filter(|key| is_old(key));
            old.try_for_each(|key| rows.remove_key(&keys.id, &key.kid))?;
            space.keys.retain(|key| !is_old(key));
            Ok(is_done)
        })
    }

    /// One transaction on the keys of a namespace, which the root vouches for before and after.
    pub(super) fn change_keyring<T>(
        &self,
        namespace: &Namespace,
        work: impl FnOnce(&mut View<'_>, &dyn Write, &NamespaceKeys) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.write(|opened, rows| {
            let mut view = View::new(rows, &opened.masters)?;
            let keys = view.namespace(namespace)?;
            let keys = keys.ok_or_else(|| StoreError::NamespaceMissing(namespace.to_string()))?;
            let done = work(&mut view, rows, &keys)?;
            view.vouch(rows).map(|epoch| (done, epoch))
        })
    }

    fn not_current(&self, namespace: &Namespace) -> Result<Vec<Mac>, StoreError> {
        let found = self.in_namespace(namespace, |view, keys| {
            let mut names = Vec::new();
            view.rows.headers(&keys.id, &ALL, &mut |row| {
                if !keys.is_current(&row.header)? {
                    names.push(row.name);
                }
                Ok(())
            })?;
            Ok(names)
        });
        Ok(found?.unwrap_or_default())
    }
}

fn is_data(key: &KeyRow) -> bool {
    key.purpose == PURPOSE_DATA
}

fn data_keys(rows: &dyn Read, space: &Space) -> Result<Vec<DataKey>, StoreError> {
    let mut found: Vec<(Id, DataKey)> = space
        .keys
        .iter()
        .filter(|key| is_data(key))
        .map(|key| (key.kid, DataKey { id: hex(&key.kid), active: key.state == STATE_ACTIVE, secrets: 0 }))
        .collect();
    rows.headers(&space.row.id, &ALL, &mut |row| {
        let kid = key_id(&row.header)?;
        found.iter_mut().filter(|(id, _)| *id == kid).for_each(|(_, key)| key.secrets += 1);
        Ok(())
    })?;
    found.sort_by_key(|(_, key)| !key.active);
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

/// Whether every secret is under the active key, with all of its versions; `deep`: and opens.
fn all_current(view: &View<'_>, keys: &NamespaceKeys, deep: bool) -> Result<bool, StoreError> {
    for header in if deep { view.headers(keys)? } else { Vec::new() } {
        view.versions(keys, &header)?;
    }
    let mut are_current = true;
    view.rows.headers(&keys.id, &ALL, &mut |row| {
        are_current &= keys.is_current(&row.header)?;
        for (_, blob) in view.rows.records(&keys.id, &row.name)? {
            are_current &= keys.is_current(&blob)?;
        }
        Ok(())
    })?;
    Ok(are_current)
}
