//! The change of the master key: one transaction wraps all other keys with the new one, and what it
//! has written is opened from the files before the old wrapping is let go. Uses `keyring`,
//! `passphrase`, and the transactions of `store`.

use std::sync::Arc;

use super::backend::{KeyRow, NamespaceRow, Read, RootRow, Write};
use super::keyring::Masters;
use super::opened::Opened;
use super::passphrase::{Stretch, keep_only};
use super::sequence::WriterLock;
use super::view::View;
use super::{MasterKey, Store, StoreError};

/// All that was wrapped with the key before.
pub(super) struct Before {
    root: RootRow,
    namespaces: Vec<NamespaceRow>,
    keys: Vec<KeyRow>,
}

impl Store {
    /// Wraps all keys with another master key, which has to be kept safe before this is called: from
    /// the commit on, nothing opens without it. `passphrase` says how it was made of one, if it was.
    pub fn change_master(&self, new: &MasterKey, passphrase: Option<&Stretch>) -> Result<(), StoreError> {
        let new = Arc::new(Masters::derive(&new.0));
        self.alone(|opened, lock| {
            passphrase.map_or(Ok(()), |stretch| stretch.keep(&opened.layout))?;
            let before = self.transact(opened, lock, |opened, rows| rewrap(rows, &opened.masters, &new))?;
            let opens = self.reopen_with(Some(new.clone())).and_then(|()| self.check_opens());
            opens.or_else(|error| self.put_back(opened, lock, &before).and(Err(error)))?;
            // What is left of an old passphrase opens nothing.
            let _ = keep_only(&new.id, &opened.layout);
            Ok(())
        })
    }

    /// That every key opens, as it lies in the files.
    pub(super) fn check_opens(&self) -> Result<(), StoreError> {
        self.read(|view, _| check_opens(view.rows, view.masters))
    }

    /// The old wrapping again, by the one who still has it open.
    pub(super) fn put_back(
        &self,
        opened: &Opened,
        lock: &WriterLock,
        before: &Before,
    ) -> Result<(), StoreError> {
        self.transact(opened, lock, |opened, rows| {
            before.namespaces.iter().try_for_each(|row| rows.put_namespace(row))?;
            before.keys.iter().try_for_each(|row| rows.put_key(row))?;
            let root = RootRow { epoch: rows.root()?.epoch, ..before.root.clone() };
            vouch(View::under(rows, &opened.masters, root), rows)
        })?;
        self.reopen_with(Some(opened.masters.clone()))
    }
}

pub(super) fn rewrap(rows: &dyn Write, old: &Masters, new: &Masters) -> Result<(Before, u64), StoreError> {
    let view = View::new(rows, old)?;
    view.check_keyring()?;
    let store = view.root.store;
    let mut before = Before { root: view.root, namespaces: rows.namespaces()?, keys: Vec::new() };
    for row in &before.namespaces {
        for key in rows.keys(&row.id)? {
            rows.put_key(&old.rewrapped(new, &store, &key)?)?;
            before.keys.push(key);
        }
        rows.put_namespace(&new.namespace_row(&store, row.id, &old.namespace_name(&store, row)?)?)?;
    }
    let root = RootRow { key: new.id, ..before.root.clone() };
    let ((), epoch) = vouch(View::under(rows, new, root), rows)?;
    Ok((before, epoch))
}

fn vouch(mut view: View<'_>, rows: &dyn Write) -> Result<((), u64), StoreError> {
    let masters = view.masters;
    let epoch = view.vouch_for_keyring(rows, masters)?;
    check_opens(rows, masters)?;
    Ok(((), epoch))
}

fn check_opens(rows: &dyn Read, masters: &Masters) -> Result<(), StoreError> {
    let view = View::new(rows, masters)?;
    view.check_keyring()?;
    let open = |row| masters.unwrap(&view.root.store, row, &rows.keys(&row.id)?).map(drop);
    rows.namespaces()?.iter().try_for_each(open)
}
