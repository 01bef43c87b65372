//! What makes a row visible that was removed, added or put back as it was before: a tree over the
//! secrets of a namespace. Its leaves are sets of secrets, by the beginnings of their names' MACs; a
//! node vouches for 64 of them, the top for 64 nodes, and the root of the store for the top.
//! Pure; uses `cipher`.

use super::StoreError;
use super::cipher::{Key, Mac, same, tag_of};

/// How many children a node has.
pub(super) const FANOUT: u8 = 64;
/// The top's number; the nodes below it have the numbers of their places in it.
pub(super) const TOP: u8 = FANOUT;

/// The first and the last name of some.
pub(super) type Range = (Mac, Mac);

pub(super) const ALL: Range = ([0x00; 32], [0xff; 32]);

/// Where a secret is: which child of the top, and which child of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Leaf {
    pub(super) node: u8,
    pub(super) child: u8,
}

impl Leaf {
    /// By the first twelve bits, so that a leaf is one range of the primary key.
    pub(super) fn of(name: &Mac) -> Self {
        Self { node: name[0] >> 2, child: (name[0] & 3) << 4 | name[1] >> 4 }
    }

    pub(super) fn range(self) -> Range {
        let (mut first, mut last) = ALL;
        first[0] = self.node << 2 | self.child >> 4;
        last[0] = first[0];
        first[1] = self.child << 4;
        last[1] = first[1] | 0x0f;
        (first, last)
    }
}

/// All that is below a node.
pub(super) fn range_of(node: u8) -> Range {
    let ends = |child| Leaf { node, child }.range();
    (ends(0).0, ends(FANOUT - 1).1)
}

/// What a node says of a child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Child {
    /// How many secrets there are below.
    pub(super) count: u64,
    /// The epoch in which anything below changed last.
    pub(super) epoch: u64,
    /// The beginning of a MAC over what is below; zeros for nothing.
    pub(super) print: [u8; 16],
}

impl Child {
    /// Whether there is nothing below, and no node, either.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.print == [0; 16]
    }
}

const CHILD: usize = 8 + 8 + 16;
const CONTENT: usize = FANOUT as usize * CHILD;

/// A node, or the top.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Node([Child; FANOUT as usize]);

impl Node {
    /// With nothing below since that epoch.
    pub(super) fn empty(epoch: u64) -> Self {
        Self([Child { epoch, ..Child::default() }; FANOUT as usize])
    }

    pub(super) fn child(&self, number: u8) -> Child {
        self.0[usize::from(number)]
    }

    pub(super) fn set(&mut self, number: u8, child: Child) {
        self.0[usize::from(number)] = child;
    }

    pub(super) fn children(&self) -> impl Iterator<Item = &Child> {
        self.0.iter()
    }

    pub(super) fn count(&self) -> u64 {
        self.children().map(|child| child.count).sum()
    }

    /// `place` says which node of which namespace this is.
    pub(super) fn seal(&self, key: &Key, place: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(CONTENT + 32);
        for Child { count, epoch, print } in self.children() {
            sealed.extend_from_slice(&count.to_le_bytes());
            sealed.extend_from_slice(&epoch.to_le_bytes());
            sealed.extend_from_slice(print);
        }
        let mac = key.mac(&[place, &sealed]);
        sealed.extend_from_slice(&mac);
        sealed
    }

    pub(super) fn open(key: &Key, place: &[u8], sealed: &[u8]) -> Result<Self, StoreError> {
        let damaged = || StoreError::corrupt("a part of its index does not authenticate");
        let (content, mac) = sealed.split_at_checked(CONTENT).ok_or_else(damaged)?;
        if !same(mac, &key.mac(&[place, content])) {
            return Err(damaged());
        }
        let mut node = Self::empty(0);
        for (child, bytes) in node.0.iter_mut().zip(content.chunks_exact(CHILD)) {
            let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
            let print = bytes[16..].try_into().expect("the rest of a child");
            *child = Child { count: number(0), epoch: number(8), print };
        }
        Ok(node)
    }

    /// What the node above says of it.
    pub(super) fn as_child(&self, sealed: &[u8]) -> Child {
        let epoch = self.children().map(|child| child.epoch).max().unwrap_or_default();
        Child { count: self.count(), epoch, print: beginning(mac_of(sealed)) }
    }
}

/// The MAC of a sealed node; of something else, whatever is at its place.
pub(super) fn mac_of(sealed: &[u8]) -> &[u8] {
    &sealed[sealed.len().saturating_sub(32)..]
}

fn beginning(bytes: &[u8]) -> [u8; 16] {
    let mut beginning = [0; 16];
    beginning.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    beginning
}

/// The secrets of a leaf, by the MACs of their names, each with the tag of its header: that tells
/// one header from any other of the same secret.
#[derive(Clone, Default)]
pub(super) struct Members(Vec<(Mac, Tag)>);

type Tag = [u8; 16];

impl Members {
    /// In the order of their names.
    pub(super) fn push(&mut self, name: Mac, header: &[u8]) {
        self.0.push((name, beginning(tag_of(header))));
    }

    /// Whether this is the header of that secret; with `None`, whether there is no such secret.
    pub(super) fn has(&self, name: &Mac, header: Option<&[u8]>) -> bool {
        match (self.at(name), header) {
            (Ok(at), Some(header)) => self.0[at].1 == beginning(tag_of(header)),
            (Err(_), None) => true,
            _ => false,
        }
    }

    pub(super) fn put(&mut self, name: &Mac, header: &[u8]) {
        let tag = beginning(tag_of(header));
        match self.at(name) {
            Ok(at) => self.0[at].1 = tag,
            Err(at) => self.0.insert(at, (*name, tag)),
        }
    }

    pub(super) fn remove(&mut self, name: &Mac) {
        self.0.retain(|(member, _)| member != name);
    }

    fn at(&self, name: &Mac) -> Result<usize, usize> {
        self.0.binary_search_by_key(name, |(member, _)| *member)
    }

    /// What the node above says of them.
    pub(super) fn as_child(&self, key: &Key, place: &[u8], epoch: u64) -> Child {
        if self.0.is_empty() {
            return Child { epoch, ..Child::default() };
        }
        let mut text = Vec::with_capacity(self.0.len() * 48);
        for (name, tag) in &self.0 {
            text.extend_from_slice(name);
            text.extend_from_slice(tag);
        }
        let mac = key.mac(&[place, &epoch.to_le_bytes(), &text]);
        Child { count: self.0.len() as u64, epoch, print: beginning(&mac) }
    }
}

/// A sum of MACs modulo 2^256, in any order. It is not to be shown: of many sums that are known,
/// others can be made.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum(pub(super) Mac);

impl Sum {
    pub(super) fn add(&mut self, member: &Mac) {
        let mut carry = 0;
        for (total, &byte) in self.0.iter_mut().zip(member) {
            let sum = u16::from(*total) + u16::from(byte) + carry;
            *total = sum as u8;
            carry = sum >> 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::from_bytes(&[7; 32]).unwrap()
    }

    #[test]
    fn a_sum_is_of_its_members_in_any_order() {
        let members: Vec<Mac> = (0..20u8).map(|n| key().mac(&[&[n]])).chain([[0xff; 32]]).collect();
        let sum = |members: &mut dyn Iterator<Item = &Mac>| {
            members.fold(Sum::default(), |mut sum, member| {
                sum.add(member);
                sum
            })
        };
        let all = sum(&mut members.iter());
        assert!(all == sum(&mut members.iter().rev()));
        assert!((0..members.len()).all(|at| all != sum(&mut members[..at].iter().chain(&members[at + 1..]))));
        assert!(all != sum(&mut members.iter().chain(&members[..1])));
    }

    #[test]
    fn a_node_belongs_to_its_place_and_content() {
        let mut node = Node::empty(0);
        node.set(5, Child { count: 3, epoch: 9, print: [5; 16] });
        let sealed = node.seal(&key(), b"here");
        assert!(Node::open(&key(), b"here", &sealed).is_ok_and(|opened| opened == node));
        assert!(Node::open(&key(), b"there", &sealed).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Node::open(&key(), b"here", &flipped).is_err(), "bit {bit}");
        }
        assert!(Node::open(&key(), b"here", &sealed[..sealed.len() - 1]).is_err());
        assert!(Node::open(&key(), b"here", &[]).is_err());
        assert_eq!(node.as_child(&sealed).epoch, 9);
    }

    #[test]
    fn leaves_cover_each_name_once_and_in_order() {
        let leaves = || (0..FANOUT).flat_map(|node| (0..FANOUT).map(move |child| Leaf { node, child }));
        for beginning in (0..=u16::MAX).step_by(5) {
            let mut name = [0; 32];
            name[..2].copy_from_slice(&beginning.to_be_bytes());
            let leaf = Leaf::of(&name);
            assert!(leaf.range().0 <= name && name <= leaf.range().1);
            assert!(range_of(leaf.node).0 <= name && name <= range_of(leaf.node).1);
        }
        let ranges: Vec<Range> = leaves().map(Leaf::range).collect();
        assert!(ranges.is_sorted() && ranges.iter().all(|(first, last)| first < last));
        assert!(ranges.windows(2).all(|two| two[0].1 < two[1].0));
        assert_eq!((ranges[0].0, ranges[ranges.len() - 1].1), ALL);
    }

    #[test]
    fn members_are_told_by_their_headers() {
        let (mut members, header) = (Members::default(), |n: u8| vec![n; 40]);
        members.push([1; 32], &header(1));
        members.push([3; 32], &header(3));
        members.put(&[2; 32], &header(2));
        assert!(members.has(&[2; 32], Some(&header(2))) && !members.has(&[2; 32], Some(&header(9))));
        assert!(!members.has(&[2; 32], None) && members.has(&[5; 32], None));
        let print = |members: &Members| members.as_child(&key(), b"", 1).print;
        let before = print(&members);
        members.put(&[2; 32], &header(4));
        assert_ne!(print(&members), before);
        members.put(&[2; 32], &header(2));
        assert_eq!(print(&members), before);
        members.remove(&[2; 32]);
        assert!(members.has(&[2; 32], None) && print(&members) != before);
    }
}
