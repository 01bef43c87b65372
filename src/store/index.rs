//! What makes a removed row visible. A namespace has 64 buckets; each bucket's seal authenticates
//! how many secrets it has and a keyed sum over them, kept up to date with each change.
//! Pure; uses `cipher`.

use super::StoreError;
use super::cipher::{Key, Mac, same};

pub(super) const BUCKETS: u8 = 64;

/// By the first six bits, so that a bucket is one range of the primary key.
pub(super) fn bucket_of(name: &Mac) -> u8 {
    name[0] >> 2
}

/// The first and the last name of a bucket, or of all.
pub(super) fn range_of(bucket: Option<u8>) -> (Mac, Mac) {
    let mut range = ([0x00; 32], [0xff; 32]);
    if let Some(bucket) = bucket {
        range.0[0] = bucket << 2;
        range.1[0] = bucket << 2 | 3;
    }
    range
}

/// A sum of MACs modulo 2^256: takes and gives back members in any order, in constant time, and
/// nobody without the key finds two sets that sum up alike.
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

    pub(super) fn remove(&mut self, member: &Mac) {
        let mut borrow = 0;
        for (total, &byte) in self.0.iter_mut().zip(member) {
            let difference = i16::from(*total) - i16::from(byte) - borrow;
            *total = difference as u8;
            borrow = i16::from(difference < 0);
        }
    }
}

/// What a bucket holds, and the epoch in which that changed last.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) count: u64,
    pub(super) epoch: u64,
    pub(super) sum: Sum,
}

const LENGTH: usize = 8 + 8 + 32 + 32;

impl Bucket {
    /// `place` says which bucket of which namespace this is.
    pub(super) fn seal(&self, key: &Key, place: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(LENGTH);
        sealed.extend_from_slice(&self.count.to_le_bytes());
        sealed.extend_from_slice(&self.epoch.to_le_bytes());
        sealed.extend_from_slice(&self.sum.0);
        let mac = key.mac(&[place, &sealed]);
        sealed.extend_from_slice(&mac);
        sealed
    }

    pub(super) fn open(key: &Key, place: &[u8], sealed: &[u8]) -> Result<Self, StoreError> {
        let damaged = || StoreError::corrupt("the seal of a bucket does not authenticate");
        let (content, mac) = sealed.split_at_checked(LENGTH - 32).ok_or_else(damaged)?;
        if !same(mac, &key.mac(&[place, content])) {
            return Err(damaged());
        }
        let number = |at: usize| u64::from_le_bytes(content[at..at + 8].try_into().expect("eight bytes"));
        let sum = Sum(content[16..].try_into().expect("the length is checked by the MAC's place"));
        Ok(Self { count: number(0), epoch: number(8), sum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_forgets_what_is_removed_in_any_order() {
        let members: Vec<Mac> =
            (0..20u8).map(|n| Key::from_bytes(&[7; 32]).unwrap().mac(&[&[n]])).chain([[0xff; 32]]).collect();
        let mut sum = Sum::default();
        members.iter().for_each(|member| sum.add(member));
        let all = sum;
        assert!(all != Sum::default());
        members.iter().rev().for_each(|member| sum.remove(member));
        assert!(sum == Sum::default());
        members.iter().rev().for_each(|member| sum.add(member));
        assert!(sum == all);
    }

    #[test]
    fn a_seal_belongs_to_its_place_and_content() {
        let key = Key::from_bytes(&[1; 32]).unwrap();
        let bucket = Bucket { count: 3, epoch: 9, sum: Sum([5; 32]) };
        let sealed = bucket.seal(&key, b"here");
        assert!(Bucket::open(&key, b"here", &sealed).is_ok_and(|opened| opened == bucket));
        assert!(Bucket::open(&key, b"there", &sealed).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Bucket::open(&key, b"here", &flipped).is_err(), "bit {bit}");
        }
        assert!(Bucket::open(&key, b"here", &sealed[..LENGTH - 1]).is_err());
        assert!(Bucket::open(&key, b"here", &[]).is_err());
    }

    #[test]
    fn ranges_cover_each_name_once() {
        for byte in 0..=255 {
            let mut name = [0; 32];
            name[0] = byte;
            let hits = (0..BUCKETS).filter(|&b| range_of(Some(b)).0 <= name && name <= range_of(Some(b)).1);
            assert_eq!(hits.collect::<Vec<_>>(), [bucket_of(&name)]);
        }
    }
}
