//! Makes a store of a backup: all of it, found to be sound, or none. Part of `backup`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::super::backend::{Backend, PATIENCE, Write};
use super::super::claim::Claim;
use super::super::keyring::Masters;
use super::super::older;
use super::super::salvage::{Inspection, inspect};
use super::super::sequence::WriterLock;
use super::super::view::View;
use super::super::{BackendKind, KeySources, Scrub, Store, StoreError, StoreId};
use super::stream::{Beginning, Head, Reader, Row};
use super::unusable;

/// What a backup has become.
pub struct Restored {
    pub id: StoreId,
    pub backend: BackendKind,
    pub found: Inspection,
}

type Source = BufReader<File>;

impl Store {
    /// Makes the store of a backup in a folder that is empty or not there: the same store with the
    /// same key, as it was then; kept by its backend of then if none is named.
    pub fn restore(
        backup: &Path,
        dir: &Path,
        backend: Option<BackendKind>,
        sources: &KeySources,
    ) -> Result<Restored, StoreError> {
        let file = File::open(backup).map_err(StoreError::io("read", backup))?;
        let beginning = Beginning::read(BufReader::new(file)).map_err(|fault| unusable(backup, fault))?;
        let Head { root, backend: was, .. } = &beginning.head;
        let mut claim = Claim::of(dir, backend.unwrap_or(*was), root.store)?;
        let restored = fill(&mut claim, backup, beginning, sources)?;
        claim.finish()?;
        Ok(restored)
    }
}

fn fill(
    claim: &mut Claim,
    backup: &Path,
    beginning: Beginning<Source>,
    sources: &KeySources,
) -> Result<Restored, StoreError> {
    let layout = &claim.layout().clone();
    let Head { root, stretch, .. } = &beginning.head;
    let (root, id) = (root.clone(), StoreId(root.store));
    // Here a passphrase finds what makes it a key.
    stretch.as_ref().map_or(Ok(()), |stretch| stretch.keep(layout))?;
    let masters = Masters::derive(&sources.find(layout.dir(), &id, &root.key)?.key.0);
    if !masters.is_older_root(&root) {
        masters.check_root(&root)?;
    }
    // Not before: a passphrase can be waited for.
    claim.hold_back_signals();
    layout.prepare()?;
    let rows = layout.backend().create(&layout.rows())?;
    let lock = WriterLock::acquire(&layout.sequence(), PATIENCE)?;
    let epoch = root.epoch;
    let writer = rows.write()?;
    writer.put_root(&root)?;
    put_all(&*writer, (claim, backup), beginning.check_with(&masters.backup))?;
    writer.commit()?;
    older::update(layout, &*rows, &masters)?;
    let found = look_through(&*rows, &masters)?;
    // What fails when it is closed is told by nobody.
    rows.scrub(Scrub::Log)?;
    lock.mark_quiet(epoch).map_err(StoreError::io("write", &layout.sequence()))?;
    Ok(Restored { id, backend: layout.backend(), found })
}

/// Reaches the end only if the backup is as it was written.
fn put_all(
    to: &dyn Write,
    (claim, backup): (&Claim, &Path),
    mut rows: Reader<Source>,
) -> Result<(), StoreError> {
    while let Some(row) = rows.row().map_err(|fault| unusable(backup, fault))? {
        claim.go_on()?;
        match row {
            Row::Namespace(row) => to.put_namespace(&row),
            Row::Key(row) => to.put_key(&row),
            Row::Node(namespace, number, sealed) => to.put_node(&namespace, number, &sealed),
            Row::Header(namespace, row) => to.put_header(&namespace, &row),
            Row::Record(namespace, name, version, record) => {
                to.put_record(&namespace, &name, version, &record)
            }
        }?;
    }
    Ok(())
}

fn look_through(rows: &dyn Backend, masters: &Masters) -> Result<Inspection, StoreError> {
    let rows = rows.read()?;
    let mut found = inspect(&View::new(&*rows, masters)?, None, &mut |_, _| Ok(()))?;
    match found.damages.pop() {
        None => Ok(found),
        Some(damage) => Err(StoreError::corrupt(damage.problem)),
    }
}
