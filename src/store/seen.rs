//! What a process that keeps a store open remembers of a namespace, so that a change to one secret
//! costs little for all the others. Each part is kept with what vouched for it, and is of no use once
//! something else is vouched for. Uses `index`.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};

use super::backend::RootRow;
use super::cipher::Mac;
use super::index::{Child, Leaf, Members, Node};
use super::labels::Labels;
use crate::poison::EvenPoisoned;

/// The top of an index, as of one commit.
pub(super) struct Top {
    pub(super) as_of: u64,
    /// A store that was put back comes to the same epoch again.
    root: Mac,
    pub(super) node: Node,
}

impl Top {
    pub(super) fn new(root: &RootRow, node: Node) -> Self {
        Self { as_of: root.epoch, root: root.seal, node }
    }

    pub(super) fn is_of(&self, root: &RootRow) -> bool {
        self.root == root.seal
    }

    /// When anything changed last.
    pub(super) fn newest(&self) -> u64 {
        self.node.children().map(|child| child.epoch).max().unwrap_or(self.as_of)
    }

    /// Whether the secret is certainly what it was then. A secret changes all that vouches for it.
    pub(super) fn none_since(&self, since: u64, name: &Mac) -> bool {
        self.node.child(Leaf::of(name).node).epoch <= since
    }
}

#[derive(Default)]
pub(super) struct Seen(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    top: Option<Arc<Top>>,
    nodes: Vouched<u8, Node>,
    members: Vouched<Leaf, Members>,
    labels: Vouched<u8, Labels>,
}

/// Parts of the index with what vouched for them.
type Vouched<K, V> = HashMap<K, (Child, Arc<V>)>;

impl Seen {
    pub(super) fn top(&self) -> Option<Arc<Top>> {
        self.memory().top.clone()
    }

    pub(super) fn remember_top(&self, top: Arc<Top>) {
        self.memory().top = Some(top);
    }

    pub(super) fn node(&self, number: u8, vouched: &Child) -> Option<Arc<Node>> {
        recall(&self.memory().nodes, &number, vouched)
    }

    pub(super) fn remember_node(&self, number: u8, vouched: Child, node: Arc<Node>) {
        self.memory().nodes.insert(number, (vouched, node));
    }

    pub(super) fn members(&self, leaf: Leaf, vouched: &Child) -> Option<Arc<Members>> {
        recall(&self.memory().members, &leaf, vouched)
    }

    pub(super) fn remember_members(&self, leaf: Leaf, vouched: Child, members: Arc<Members>) {
        self.memory().members.insert(leaf, (vouched, members));
    }

    pub(super) fn labels(&self, node: u8, vouched: &Child) -> Option<Arc<Labels>> {
        recall(&self.memory().labels, &node, vouched)
    }

    pub(super) fn remember_labels(&self, node: u8, vouched: Child, labels: Arc<Labels>) {
        self.memory().labels.insert(node, (vouched, labels));
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().even_poisoned()
    }
}

fn recall<K: Eq + Hash, V>(parts: &Vouched<K, V>, key: &K, vouched: &Child) -> Option<Arc<V>> {
    parts.get(key).filter(|(by, _)| by == vouched).map(|(_, part)| part.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_of_all_that_vouches_for_it() {
        let mut node = Node::empty(0);
        (0..64).for_each(|n| node.set(n, Child { epoch: u64::from(n), ..Child::default() }));
        let top = Top { as_of: 100, root: [0; 32], node };
        let mut name = [0; 32];
        name[0] = 7 << 2;
        assert!(top.none_since(7, &name) && !top.none_since(6, &name));
        assert_eq!(top.newest(), 63);
    }

    #[test]
    fn what_is_remembered_is_of_what_vouched_for_it() {
        let seen = Seen::default();
        let (leaf, vouched) = (Leaf { node: 1, child: 2 }, Child { count: 2, epoch: 3, print: [4; 16] });
        seen.remember_members(leaf, vouched, Arc::default());
        assert!(seen.members(leaf, &vouched).is_some());
        assert!(seen.members(leaf, &Child { print: [5; 16], ..vouched }).is_none());
        assert!(seen.members(Leaf { node: 2, child: 1 }, &vouched).is_none());
    }
}
