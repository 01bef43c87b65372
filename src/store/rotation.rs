//! The rotation of keys. That of a namespace: a new key seals, the old one only opens until all is
//! sealed anew, and is destroyed in a later transaction that has found nothing under it. Uses
//! `keyring`, and the transactions of `store`.

use serde::Serialize;

use super::backend::{KeyRow, Read, Write};
use super::change::{Stamp, hex};
use super::cipher::{Id, Mac, key_id};
use super::keyring::{NamespaceKeys, PURPOSE_DATA, STATE_ACTIVE};
use super::view::View;
use super::{MasterKey, Store, StoreError};
use crate::secret::{Namespace, SecretName};

/// Secrets that are sealed anew in one transaction.
const BATCH: usize = 200;

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
            view.check_keyring(None)?;
            let rows = view.rows.namespaces()?;
            let status = |row| {
                let name = opened.masters.namespace_name(&view.root.store, row)?;
                let keys = data_keys(view.rows, &row.id)?;
                Ok(NamespaceKeyStatus { namespace: name.to_string(), keys })
            };
            let mut namespaces = rows.iter().map(status).collect::<Result<Vec<_>, StoreError>>()?;
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
        self.begin_rotation(namespace)?;
        let mut total = 0;
        for batch in self.not_current(namespace)?.chunks(BATCH) {
            self.change(namespace, stamp.clone(), |change| change.reseal(batch))?;
            total += batch.len();
            on_batch(batch.len());
        }
        // The long look is one of a reader, so that writers need not wait for it.
        self.in_namespace(namespace, |view, keys| check_all_current(view, keys, true))?;
        self.end_rotation(namespace)?;
        Ok(total)
    }

    /// A new key, unless there is one that has not taken everything over yet.
    fn begin_rotation(&self, namespace: &Namespace) -> Result<(), StoreError> {
        self.change_keyring(namespace, |view, rows, keys| {
            let old: Vec<KeyRow> = view.rows.keys(&keys.id)?.into_iter().filter(is_data).collect();
            if old.iter().any(|key| key.state != STATE_ACTIVE) {
                return Ok(());
            }
            for key in &old {
                rows.put_key(&view.masters.retired(&view.root.store, key)?)?;
            }
            rows.put_key(&view.masters.new_key(&view.root.store, &keys.id, PURPOSE_DATA)?)
        })
    }

    fn end_rotation(&self, namespace: &Namespace) -> Result<(), StoreError> {
        self.change_keyring(namespace, |view, rows, keys| {
            check_all_current(view, keys, false)?;
            let old = view.rows.keys(&keys.id)?.into_iter().filter(is_data);
            old.filter(|key| key.state != STATE_ACTIVE)
                .try_for_each(|key| rows.remove_key(&keys.id, &key.kid))
        })
    }

    /// One transaction on the keys of a namespace, which the root vouches for before and after.
    pub(super) fn change_keyring(
        &self,
        namespace: &Namespace,
        work: impl FnOnce(&View<'_>, &dyn Write, &NamespaceKeys) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.write(|opened, rows| {
            let mut view = View::new(rows, &opened.masters)?;
            view.check_keyring(None)?;
            let keys = view.namespace(namespace)?;
            let keys = keys.ok_or_else(|| StoreError::NamespaceMissing(namespace.to_string()))?;
            work(&view, rows, &keys)?;
            view.vouch_for_keyring(rows, &opened.masters).map(|epoch| ((), epoch))
        })
    }

    fn not_current(&self, namespace: &Namespace) -> Result<Vec<Mac>, StoreError> {
        let found = self.in_namespace(namespace, |view, keys| {
            let mut names = Vec::new();
            view.rows.headers(&keys.id, None, &mut |row| {
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

fn data_keys(rows: &dyn Read, namespace: &Id) -> Result<Vec<DataKey>, StoreError> {
    let mut found: Vec<(Id, DataKey)> = rows
        .keys(namespace)?
        .iter()
        .filter(|key| is_data(key))
        .map(|key| (key.kid, DataKey { id: hex(&key.kid), active: key.state == STATE_ACTIVE, secrets: 0 }))
        .collect();
    rows.headers(namespace, None, &mut |row| {
        let kid = key_id(&row.header)?;
        found.iter_mut().filter(|(id, _)| *id == kid).for_each(|(_, key)| key.secrets += 1);
        Ok(())
    })?;
    found.sort_by_key(|(_, key)| !key.active);
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

/// That every secret is there, with all of its versions, under the active key; `deep`: and opens.
fn check_all_current(view: &View<'_>, keys: &NamespaceKeys, deep: bool) -> Result<(), StoreError> {
    let not_current = || StoreError::corrupt("something is still sealed with an old key");
    for header in if deep { view.headers(keys)? } else { Vec::new() } {
        let name = SecretName::parse(&header.name);
        view.versions(keys, &name.map_err(|_| StoreError::corrupt("a secret has no proper name"))?)?;
    }
    view.rows.headers(&keys.id, None, &mut |row| {
        let mut is_current = keys.is_current(&row.header)?;
        for (_, blob) in view.rows.records(&keys.id, &row.name)? {
            is_current &= keys.is_current(&blob)?;
        }
        is_current.then_some(()).ok_or_else(not_current)
    })
}
