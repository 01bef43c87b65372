//! Stores of before there was a tree over their secrets. Then 64 seals of a namespace each vouched for
//! the sum of some secrets, and nothing vouched for the seals. They are checked once more, and the
//! index takes their place. Uses the parts of `store`.

use super::backend::{Backend, Read, Write};
use super::cipher::{Id, associated, same, tag_of};
use super::index::{FANOUT, Leaf, Members, Node, Sum, TOP, range_of};
use super::keyring::{Masters, NamespaceKeys};
use super::layout::Layout;
use super::spaces::{Space, Spaces};
use super::{Access, StoreError};

/// Gives an older store the index, in one transaction. Whatever it is opened for: nothing of what it
/// holds becomes another.
pub(super) fn update(layout: &Layout, opened: &dyn Backend, masters: &Masters) -> Result<(), StoreError> {
    if !masters.is_older_root(&opened.read()?.root()?) {
        return Ok(());
    }
    let backend = layout.backend().open(&layout.rows(), Access::Write)?;
    let rows = backend.write()?;
    let mut root = rows.root()?;
    // Another process may have been faster.
    if !masters.is_older_root(&root) {
        return Ok(());
    }
    let (before, mut after, mut sum) = (Spaces::read(&*rows)?, Spaces::none(), Sum::default());
    before.iter().for_each(|space| masters.count_in(&mut sum, &space.row, &space.keys));
    if !same(&sum.0, &root.keyring) {
        return Err(StoreError::corrupt("a namespace or a key was removed or changed"));
    }
    for Space { row, keys, .. } in before.into_iter() {
        let top = index(&*rows, &root.store, &masters.unwrap(&root.store, &row, &keys)?)?;
        after.add(Space { row, keys, top: Some(top) });
    }
    root.keyring = after.seal(masters);
    masters.seal_root(&mut root);
    rows.put_root(&root)?;
    rows.commit()
}

/// Its parts have the places of the seals. Returns its top.
fn index(rows: &dyn Write, store: &Id, keys: &NamespaceKeys) -> Result<Vec<u8>, StoreError> {
    let mut top = Node::empty(0);
    for number in 0..FANOUT {
        let (members, epoch) = sealed_before(rows, (store, keys), number)?;
        let mut node = Node::empty(epoch);
        for (child, members) in (0..).zip(&members) {
            node.set(child, keys.vouch_for(Leaf { node: number, child }, members, epoch));
        }
        let sealed = keys.seal_node(number, &node);
        rows.put_node(&keys.id, number, &sealed)?;
        top.set(number, node.as_child(&sealed));
    }
    let sealed = keys.seal_node(TOP, &top);
    rows.put_node(&keys.id, TOP, &sealed)?;
    Ok(sealed)
}

/// The secrets under one of the seals, by their leaves, and the epoch in which they changed last: a seal
/// is their number (u64, little-endian), that epoch (u64), their sum and a MAC.
fn sealed_before(
    rows: &dyn Read,
    (store, keys): (&Id, &NamespaceKeys),
    number: u8,
) -> Result<([Members; FANOUT as usize], u64), StoreError> {
    let damaged = || StoreError::corrupt("a secret was removed, or replaced by an older one");
    let sealed = rows.node(&keys.id, number)?.ok_or_else(damaged)?;
    let (content, mac) = sealed.split_at_checked(48).ok_or_else(damaged)?;
    let place = associated("sfs-bucket-v1", &[store, &keys.id, &[number]]);
    let (mut sum, mut count) = (Sum::default(), 0_u64);
    let mut leaves = std::array::from_fn(|_| Members::default());
    for row in rows.header_rows(&keys.id, &range_of(number))? {
        sum.add(&keys.index_key().mac(&[&row.name, tag_of(&row.header)]));
        count += 1;
        leaves[usize::from(Leaf::of(&row.name).child)].push(row.name, &row.header);
    }
    let is_sealed = same(mac, &keys.index_key().mac(&[&place, content]));
    match is_sealed && content[..8] == count.to_le_bytes() && same(&content[16..], &sum.0) {
        true => Ok((leaves, u64::from_le_bytes(content[8..16].try_into().expect("eight bytes")))),
        false => Err(damaged()),
    }
}
