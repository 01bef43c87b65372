//! The change of the master key: one transaction wraps all other keys with the new one, and what it
//! has written is opened from the files before the old wrapping is let go. Uses `keyring`,
//! `passphrase`, and the transactions of `store`.

use std::sync::Arc;

use super::backend::{KeyRow, NamespaceRow, Read, RootRow, Write};
use super::keyring::Masters;
use super::opened::Opened;
use super::passphrase::{Stretch, keep_only};
use super::sequence::WriterLock;
use super::spaces::{Space, Spaces};
use super::view::View;
use super::witness::{Deed, What};
use super::{MasterKey, Store, StoreError};
use crate::secret::Namespace;

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
        self.tell(&Namespace::default(), &[Deed::of(What::Key)])?;
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
    let store = view.root.store;
    let mut before = Before { root: view.root.clone(), namespaces: Vec::new(), keys: Vec::new() };
    let mut rewrapped = Spaces::none();
    for Space { row, keys, top } in view.spaces()?.iter() {
        let name = new.namespace_row(&store, row.id, &old.namespace_name(&store, row)?)?;
        let wrapped = keys.iter().map(|key| old.rewrapped(new, &store, key));
        let wrapped = wrapped.collect::<Result<Vec<_>, _>>()?;
        rows.put_namespace(&name)?;
        wrapped.iter().try_for_each(|key| rows.put_key(key))?;
        rewrapped.add(Space { row: name, keys: wrapped, top: top.clone() });
        before.namespaces.push(row.clone());
        before.keys.extend_from_slice(keys);
    }
    let view = View::under(rows, new, RootRow { key: new.id, ..view.root });
    let _ = view.spaces.set((rewrapped, true));
    let ((), epoch) = vouch(view, rows)?;
    Ok((before, epoch))
}

/// The root of what was put back vouches for that, and for nothing else that has come meanwhile.
fn vouch(mut view: View<'_>, rows: &dyn Write) -> Result<((), u64), StoreError> {
    let epoch = view.vouch(rows)?;
    check_opens(rows, view.masters)?;
    Ok(((), epoch))
}

fn check_opens(rows: &dyn Read, masters: &Masters) -> Result<(), StoreError> {
    let view = View::new(rows, masters)?;
    let open = |space: &Space| masters.unwrap(&view.root.store, &space.row, &space.keys).map(drop);
    view.spaces()?.iter().try_for_each(open)
}
