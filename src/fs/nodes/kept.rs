//! Nodes as the next process finds them: the kernel goes on naming them, so each is kept with what
//! it stands for, but not with its bytes. Uses `ledger`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Content, Node, NodeId, Nodes, PAGES_AGE, Place, View};
use crate::fs::snapshot::{Fingerprint, Snapshot};
use crate::ledger::{Kept, Kind, Ledger, Record};

const BARE: u64 = 0;
const PLACED: u64 = 1;
const OF_VIEW: u64 = 2;

/// Keeps what a node stands for.
pub(super) fn keep(ledger: &Ledger, id: NodeId, node: &Node) -> Option<Record> {
    if !ledger.keeps() {
        return None;
    }
    let (place, print) = match &node.content {
        Content::Bare(file) => return ledger.keep(Kind::Node, id, &[BARE, *file], &[]),
        // It is rendered when it is asked for, and then it is news.
        Content::Failed(place, _) => (place, Fingerprint::NONE),
        // The kernel may still have the bytes before: to the next process these would be news to nobody.
        Content::Filled(place, _) if node.settling => (place, Fingerprint::NONE),
        Content::Filled(place, snapshot) => (place, snapshot.fingerprint(ledger.key())),
        Content::Wiped(place, print) => (place, *print),
    };
    let view = if place.view == View::Real { PLACED } else { OF_VIEW };
    let [a, b, c, d] = print.to_words();
    ledger.keep(Kind::Node, id, &[view, place.file, a, b, c, d], place.view.name().as_bytes())
}

/// What a node stood for.
fn content(kept: &Kept) -> Option<Content> {
    match *kept.words {
        [BARE, file] => Some(Content::Bare(file)),
        [view, file, a, b, c, d] => {
            let view = match view {
                PLACED => View::Real,
                OF_VIEW => View::named(&std::str::from_utf8(&kept.bytes).ok()?.into()),
                _ => return None,
            };
            Some(Content::Wiped(Place { file, view }, Fingerprint::from_words([a, b, c, d])))
        }
        _ => None,
    }
}

impl Nodes {
    /// From now on all nodes are kept; those of the process before are there again.
    pub fn inherit(&mut self, ledger: &Ledger) {
        self.ledger = ledger.clone();
        let kept = ledger.take(Kind::Node);
        if kept.is_empty() {
            return;
        }
        let now = Instant::now();
        self.steps.resume(now);
        let mut restored: BTreeMap<NodeId, Node> = BTreeMap::new();
        for kept in kept {
            let Some(content) = content(&kept) else { continue };
            let node = match restored.remove(&kept.id) {
                None => Node::inherited(content, Some(kept.record), now),
                // It was changing, and nobody had it open: it is there, and holds neither.
                Some(_twice) => {
                    let mut node = Node::inherited(content.unknown(), None, now);
                    node.record = keep(ledger, kept.id, &node);
                    node
                }
            };
            restored.insert(kept.id, node);
        }
        for (id, node) in restored {
            self.nodes.insert(id, node);
            self.doubted.push(id);
            self.plan(id, now + PAGES_AGE);
        }
    }

    /// An open handle of the process before. No means that the node never held this.
    pub fn reopen(&mut self, id: NodeId, snapshot: &Arc<Snapshot>) -> bool {
        let print = snapshot.fingerprint(self.ledger.key());
        let Some(node) = self.nodes.get_mut(&id) else { return false };
        let place = match &node.content {
            Content::Wiped(place, held) if *held == print => place.clone(),
            Content::Filled(place, held) if Arc::ptr_eq(held, snapshot) => place.clone(),
            _ => return false,
        };
        node.handles += 1;
        node.has_pages = false;
        node.content = Content::Filled(place, snapshot.clone());
        true
    }

    /// Once all handles are there: the youngest node of a place is the one to be filled again.
    pub fn inherited(&mut self) {
        let mut youngest: BTreeMap<Place, NodeId> = BTreeMap::new();
        let mut ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            match &self.nodes[&id].content {
                Content::Filled(place, _) | Content::Wiped(place, _) => {
                    youngest.insert(place.clone(), id);
                }
                Content::Bare(file) => {
                    self.bare.insert(*file, id);
                }
                Content::Failed(..) => {}
            }
        }
        for (place, id) in youngest {
            match &self.nodes[&id].content {
                Content::Filled(_, snapshot) => drop(self.current.insert(place, (id, snapshot.clone()))),
                _ => drop(self.wiped.insert(place, id)),
            }
        }
    }

    /// The kernel has no such node: what the process before held for it goes. Nobody looks it up
    /// meanwhile.
    pub fn gone(&mut self, id: NodeId) -> bool {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.is_inherited && node.lookups == 0) else {
            return false;
        };
        node.is_inherited = false;
        node.handles = 0;
        self.drop_if_unused(id);
        true
    }
}

impl Content {
    /// The same place, with bytes that nobody knows.
    fn unknown(self) -> Self {
        match self {
            Self::Wiped(place, _) => Self::Wiped(place, Fingerprint::NONE),
            other => other,
        }
    }
}

impl Node {
    fn inherited(content: Content, record: Option<Record>, now: Instant) -> Self {
        // What was closed just before left its pages.
        Self { record, is_inherited: true, has_pages: true, ..Self::new(content, now) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::Reserved;
    use super::*;
    use crate::policy::Ownership;
    use crate::secret::SecretBytes;

    fn place() -> Place {
        Place { file: 7, view: View::Reader("of one".into()) }
    }

    fn snapshot(text: &str) -> Arc<Snapshot> {
        let ownership = Ownership { uid: 0, gid: 0, mode: 0o400 };
        Arc::new(Snapshot::of(SecretBytes::copy_of(text.as_bytes()), SystemTime::UNIX_EPOCH, ownership))
    }

    fn wiped(print: u64) -> Content {
        Content::Wiped(place(), Fingerprint::from_words([print; 4]))
    }

    /// What a process finds that comes after one with these records, and leaves to the next.
    fn inherited<const N: usize>(records: [Content; N]) -> (Ledger, Vec<String>) {
        let ledger = Ledger::create().unwrap();
        for content in records {
            let node = Node::new(content, Instant::now());
            std::mem::forget(keep(&ledger, 9, &node));
        }
        let mut seen = Vec::new();
        let mut last = ledger;
        for _ in 0..2 {
            last = Ledger::adopt(last.descriptor().unwrap().try_clone_to_owned().unwrap()).unwrap();
            let mut nodes = Nodes::default();
            nodes.inherit(&last);
            seen.push(match nodes.get(9).map(|node| &node.content) {
                Some(Content::Wiped(at, print)) if *at == place() => format!("{:?}", print.to_words()[0]),
                Some(Content::Bare(7)) => "bare".to_owned(),
                _ => "nothing".to_owned(),
            });
            std::mem::forget(nodes);
        }
        (last, seen)
    }

    #[test]
    fn a_node_is_what_it_was() {
        assert_eq!(inherited([wiped(5)]).1, ["5", "5"]);
        assert_eq!(inherited([Content::Bare(7)]).1, ["bare", "bare"]);
    }

    /// A bound file has no other name: without its node it could never be opened again.
    #[test]
    fn a_node_that_was_changing_is_there_and_holds_nothing() {
        assert_eq!(inherited([wiped(5), wiped(6)]).1, ["0", "0"]);
        assert_eq!(inherited([wiped(5), wiped(6), wiped(7)]).1, ["0", "0"]);
    }

    /// Who reads it with `sendfile` would see what the kernel has from before.
    #[test]
    fn a_node_that_the_kernel_was_not_told_of_holds_nothing() {
        for is_told in [false, true] {
            let ledger = Ledger::create().unwrap();
            let mut nodes = Nodes::default();
            nodes.inherit(&ledger);
            let [old, new] = ["old", "new"].map(snapshot);
            let node = nodes.add(&place(), &old);
            assert!(matches!(nodes.reserve(node, &place(), &new), Some(Reserved::Changed)));
            if is_told {
                nodes.settled(node);
            }
            std::mem::forget(nodes);
            let ledger = Ledger::adopt(ledger.descriptor().unwrap().try_clone_to_owned().unwrap()).unwrap();
            let mut next = Nodes::default();
            next.inherit(&ledger);
            let held = match next.get(node).map(|node| &node.content) {
                Some(Content::Wiped(_, print)) => *print == new.fingerprint(ledger.key()),
                _ => panic!("there is no such node"),
            };
            assert_eq!(held, is_told);
            std::mem::forget(next);
        }
    }
}
