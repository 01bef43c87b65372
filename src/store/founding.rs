//! An empty store: its first files and its first commit. Uses the parts of `store`.

use super::backend::{Backend, PATIENCE, RootRow};
use super::change::add_namespace;
use super::keyring::Masters;
use super::layout::Layout;
use super::passphrase::Stretch;
use super::sequence::WriterLock;
use super::spaces::Spaces;
use super::view::View;
use super::{StoreError, StoreId};
use crate::secret::Namespace;

/// Makes the files of an empty store. Nobody writes to it as long as the lock is held.
pub(super) fn found(
    layout: &Layout,
    id: StoreId,
    masters: &Masters,
    passphrase: Option<&Stretch>,
) -> Result<(Box<dyn Backend>, WriterLock), StoreError> {
    passphrase.map_or(Ok(()), |stretch| stretch.keep(layout))?;
    layout.prepare()?;
    let rows = layout.backend().create(&layout.rows())?;
    let lock = WriterLock::acquire(&layout.sequence(), PATIENCE)?;
    first_commit(&*rows, id, masters)?;
    lock.mark_quiet(1).map_err(StoreError::io("write", &layout.sequence()))?;
    Ok((rows, lock))
}

/// A root, and the namespace that is there if none is named.
fn first_commit(backend: &dyn Backend, id: StoreId, masters: &Masters) -> Result<(), StoreError> {
    let rows = backend.write()?;
    let root = RootRow {
        store: id.0,
        key: masters.id,
        epoch: 1,
        keyring_epoch: 1,
        keyring: Default::default(),
        seal: Default::default(),
    };
    let mut view = View::under(&*rows, masters, root);
    let _ = view.spaces.set((Spaces::none(), true));
    add_namespace(&*rows, &mut view, &Namespace::default())?;
    view.put_root(&*rows)?;
    rows.commit()
}
