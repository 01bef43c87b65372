//! What a process that keeps a store open remembers of it, so that a change to one secret costs
//! little for all the others: when each bucket changed last, and which names a bucket holds.
//! Nothing of it is trusted longer than the seals say. Uses `index`.

use super::cipher::Mac;
use super::index::{BUCKETS, Bucket, bucket_of};

/// When the buckets of a namespace changed last, as of one epoch.
pub(super) struct Changes {
    pub(super) as_of: u64,
    epochs: [u64; BUCKETS as usize],
}

impl Changes {
    pub(super) fn new(as_of: u64, buckets: impl Iterator<Item = Bucket>) -> Self {
        let mut epochs = [as_of; BUCKETS as usize];
        epochs.iter_mut().zip(buckets).for_each(|(epoch, bucket)| *epoch = bucket.epoch);
        Self { as_of, epochs }
    }

    /// When any of them changed last.
    pub(super) fn newest(&self) -> u64 {
        self.epochs.iter().copied().max().unwrap_or(self.as_of)
    }

    /// Whether the secret is certainly what it was then. A secret changes its bucket.
    pub(super) fn none_since(&self, since: u64, name: &Mac) -> bool {
        self.epochs[usize::from(bucket_of(name))] <= since
    }
}

/// The names of a bucket that was found whole: their first bytes, in order.
pub(super) struct Members {
    sealed: Bucket,
    names: Box<[u64]>,
}

impl Members {
    pub(super) fn new(sealed: Bucket, mut names: Vec<u64>) -> Self {
        names.sort_unstable();
        Self { sealed, names: names.into() }
    }

    /// Whether the bucket, if its seal still says the same, is certainly without this name.
    pub(super) fn lack(&self, sealed: &Bucket, name: &Mac) -> bool {
        self.sealed == *sealed && self.names.binary_search(&beginning(name)).is_err()
    }
}

pub(super) fn beginning(name: &Mac) -> u64 {
    u64::from_be_bytes(name[..8].try_into().expect("eight of 32"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_of_its_bucket() {
        let buckets = (0..BUCKETS).map(|n| Bucket { epoch: u64::from(n), ..Bucket::default() });
        let changes = Changes::new(100, buckets);
        let mut name = [0; 32];
        name[0] = 7 << 2;
        assert!(changes.none_since(7, &name) && !changes.none_since(6, &name));
        // A bucket of which nothing is known has changed just now.
        assert!(!Changes::new(100, std::iter::empty()).none_since(99, &name));
    }

    #[test]
    fn members_are_those_of_one_seal() {
        let sealed = Bucket { count: 2, epoch: 3, ..Bucket::default() };
        let members = Members::new(sealed, vec![beginning(&[9; 32]), beginning(&[1; 32])]);
        assert!(members.lack(&sealed, &[5; 32]));
        assert!(!members.lack(&sealed, &[9; 32]) && !members.lack(&sealed, &[1; 32]));
        assert!(!members.lack(&Bucket { epoch: 4, ..sealed }, &[5; 32]));
    }
}
