//! Moves a store to another backend, in its folder: what it holds is authenticated, copied, read back
//! and compared before `FORMAT` names the other backend, and the rows as they were are put aside.
//! Whoever reads goes on meanwhile. Uses the parts of `store`.

use std::path::PathBuf;

use super::backend::{BackendKind, Read, Write};
use super::cipher::Id;
use super::index::{ALL, FANOUT, range_of};
use super::layout::Layout;
use super::opened::Opened;
use super::sequence::WriterLock;
use super::{Access, Inspection, Scrub, Store, StoreError};

/// What a move has come to.
pub struct Migration {
    /// What was moved; `None` if it was kept like that already.
    pub moved: Option<Inspection>,
    /// The store as it was, if this has put it aside.
    pub kept: Option<PathBuf>,
}

impl Store {
    /// A move that was cut short before `FORMAT` was changed begins anew; after that only the old
    /// rows are left to be put aside.
    pub fn migrate(&self, to: BackendKind) -> Result<Migration, StoreError> {
        self.alone(|opened, lock| {
            let from = opened.layout.backend();
            // Nobody else writes before all is in its place.
            let (moved, _lock) = match from == to {
                true => (None, None),
                false => self.move_to(to, opened, lock).map(|(moved, lock)| (Some(moved), Some(lock)))?,
            };
            let mut others = BackendKind::ALL.into_iter().filter(|kind| *kind != to);
            let kept = others.find_map(|kind| opened.layout.put_aside(kind).transpose()).transpose()?;
            Ok(Migration { moved, kept })
        })
    }

    fn move_to(
        &self,
        to: BackendKind,
        opened: &Opened,
        lock: &WriterLock,
    ) -> Result<(Inspection, WriterLock), StoreError> {
        opened.layout.check_aside()?;
        let found = self.inspect()?;
        if let Some(damage) = found.damages.first() {
            return Err(StoreError::corrupt(damage.problem.as_str()));
        }
        let new = opened.layout.kept_by(to);
        let rows = opened.backend.read()?;
        fill(&*rows, &new).inspect_err(|_| new.remove_rows())?;
        let epoch = rows.root()?.epoch;
        lock.mark_moving(epoch).map_err(StoreError::io("write", &new.sequence()))?;
        let lock = new.switch(epoch)?;
        self.reopen()?;
        Ok((found, lock))
    }
}

/// Copies all rows of one commit to new files, and looks whether they are there.
fn fill(from: &dyn Read, layout: &Layout) -> Result<(), StoreError> {
    layout.remove_rows();
    layout.prepare()?;
    let made = layout.backend().create(&layout.rows())?;
    let rows = made.write()?;
    copy(from, &*rows)?;
    rows.commit()?;
    // What fails when it is closed is told by nobody.
    made.scrub(Scrub::Log)?;
    drop(made);
    let made = layout.backend().open(&layout.rows(), Access::Write)?;
    match is_same(from, &*made.read()?)? {
        true => Ok(()),
        false => Err(StoreError::corrupt("what was written to the new files is not what they hold now")),
    }
}

fn copy(from: &dyn Read, into: &dyn Write) -> Result<(), StoreError> {
    for namespace in from.namespaces()? {
        into.put_namespace(&namespace)?;
        let id = &namespace.id;
        from.keys(id)?.iter().try_for_each(|key| into.put_key(key))?;
        from.nodes(id)?.iter().try_for_each(|(number, sealed)| into.put_node(id, *number, sealed))?;
        from.headers(id, &ALL, &mut |header| {
            into.put_header(id, &header)?;
            let mut records = from.records(id, &header.name)?.into_iter();
            records.try_for_each(|(version, record)| into.put_record(id, &header.name, version, &record))
        })?;
    }
    into.put_root(&from.root()?)
}

fn is_same(left: &dyn Read, right: &dyn Read) -> Result<bool, StoreError> {
    let namespaces = |rows: &dyn Read| {
        let mut namespaces = rows.namespaces()?;
        namespaces.sort_by_key(|namespace| namespace.id);
        Ok::<_, StoreError>(namespaces)
    };
    let all = namespaces(left)?;
    let mut is_same = left.root()? == right.root()? && all == namespaces(right)?;
    for namespace in all {
        is_same = is_same && is_same_space(left, right, &namespace.id)?;
    }
    Ok(is_same)
}

fn is_same_space(left: &dyn Read, right: &dyn Read, id: &Id) -> Result<bool, StoreError> {
    let keys = |rows: &dyn Read| {
        let mut keys = rows.keys(id)?;
        keys.sort_by_key(|key| key.kid);
        Ok::<_, StoreError>(keys)
    };
    let mut is_same = keys(left)? == keys(right)? && left.nodes(id)? == right.nodes(id)?;
    for node in 0..FANOUT {
        let all = left.header_rows(id, &range_of(node))?;
        is_same = is_same && all == right.header_rows(id, &range_of(node))?;
        for header in all {
            is_same = is_same && left.records(id, &header.name)? == right.records(id, &header.name)?;
        }
    }
    Ok(is_same)
}
