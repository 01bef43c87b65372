//! Saves what is sound of a store into a new one, which is none until all of it is in there and was read
//! back. Uses `salvage` to find it and `change` to write it.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::backend::Backend;
use super::change::{Change, Stamp};
use super::claim::Claim;
use super::founding::found;
use super::keyring::Masters;
use super::passphrase::Stretch;
use super::salvage::{Inspection, Remains, inspect};
use super::spaces::Space;
use super::view::View;
use super::{Scrub, Store, StoreError, uses};
use crate::secret::Namespace;

/// Secrets that are written to the new store in one transaction.
const BATCH: usize = 200;

impl Store {
    /// Writes what is sound into a new store with the same key and identity.
    pub fn save_into(&self, dir: &Path, stamp: &Stamp) -> Result<Inspection, StoreError> {
        self.read_anyhow(|view, root| {
            let stretch = Stretch::of_store(self.dir(), &view.root.key)?;
            let mut claim = Claim::of(dir, self.backend(), self.id.0)?;
            claim.hold_back_signals();
            let (rows, lock) = found(claim.layout(), self.id, view.masters, stretch.as_ref())?;
            let mut saved =
                Saved { rows: &*rows, masters: view.masters, stamp, waiting: None, print: [0; 32] };
            saved.add_namespaces(view)?;
            let inspection = inspect(view, root, &mut |namespace, remains| {
                claim.go_on()?;
                saved.add(namespace, remains)
            })?;
            let epoch = saved.finish(&inspection)?;
            // What fails when it is closed is told by nobody.
            rows.scrub(Scrub::Log)?;
            drop(rows);
            lock.mark_quiet(epoch).map_err(StoreError::io("write", &claim.layout().sequence()))?;
            uses::carry_over(&self.layout.uses(), &claim.layout().uses());
            claim.finish()?;
            Ok(inspection)
        })
    }
}

/// What is written to the new store.
struct Saved<'a> {
    rows: &'a dyn Backend,
    masters: &'a Masters,
    stamp: &'a Stamp,
    waiting: Option<(Namespace, Vec<Remains>)>,
    /// Of all that was added, in any order.
    print: [u8; 32],
}

impl Saved<'_> {
    /// Those that can be opened, whatever is in them.
    fn add_namespaces(&self, view: &View<'_>) -> Result<(), StoreError> {
        for Space { row, keys, .. } in view.spaces_anyhow()?.0.iter() {
            let opened = view.masters.unwrap(&view.root.store, row, keys);
            if let (Ok(name), Ok(_)) = (view.masters.namespace_name(&view.root.store, row), opened) {
                self.write(&name, &[])?;
            }
        }
        Ok(())
    }

    fn add(&mut self, namespace: &Namespace, remains: Remains) -> Result<(), StoreError> {
        if let Some((of, full)) = self.waiting.take_if(|(of, all)| of != namespace || all.len() == BATCH) {
            self.write(&of, &full)?;
        }
        add_print(&mut self.print, namespace, &remains);
        self.waiting.get_or_insert_with(|| (namespace.clone(), Vec::new())).1.push(remains);
        Ok(())
    }

    fn write(&self, namespace: &Namespace, all: &[Remains]) -> Result<(), StoreError> {
        let rows = self.rows.write()?;
        let mut change = Change::new(&*rows, self.masters, namespace, self.stamp.clone())?;
        all.iter().try_for_each(|remains| change.adopt(remains))?;
        change.seal()?;
        rows.commit()
    }

    /// Reads all of it back, and compares. Returns the epoch that it stands at.
    fn finish(mut self, wanted: &Inspection) -> Result<u64, StoreError> {
        if let Some((of, rest)) = self.waiting.take() {
            self.write(&of, &rest)?;
        }
        let rows = self.rows.read()?;
        let view = View::new(&*rows, self.masters)?;
        let mut print = [0; 32];
        let there = inspect(&view, None, &mut |namespace, remains| {
            add_print(&mut print, namespace, &remains);
            Ok(())
        })?;
        let is_same = (there.secrets, there.versions, print) == (wanted.secrets, wanted.versions, self.print);
        match there.damages.is_empty() && is_same {
            true => Ok(view.root.epoch),
            false => Err(StoreError::corrupt("what was saved is not what the new store holds now")),
        }
    }
}

/// No two secrets are alike: the namespace and the name are in it.
fn add_print(print: &mut [u8; 32], namespace: &Namespace, remains: &Remains) {
    let one = Sha256::new().chain_update(Sha256::digest(namespace.as_str())).chain_update(remains.print());
    print.iter_mut().zip(one.finalize()).for_each(|(all, one)| *all ^= one);
}
