//! Which versions of a secret were destroyed: ranges, so that a header stays small however often a
//! secret is rotated. Pure; uses serde.

use serde::{Deserialize, Serialize};

/// Numbers as ranges that neither touch nor overlap, in order; each has its first and its last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Gone(Vec<(u64, u64)>);

impl Gone {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, version: u64) -> bool {
        let after = self.0.partition_point(|&(first, _)| first <= version);
        after > 0 && version <= self.0[after - 1].1
    }

    pub(super) fn insert(&mut self, version: u64) {
        if self.contains(version) {
            return;
        }
        let at = self.0.partition_point(|&(first, _)| first < version);
        let touches_left = at > 0 && self.0[at - 1].1 + 1 == version;
        let touches_right = self.0.get(at).is_some_and(|&(first, _)| version + 1 == first);
        match (touches_left, touches_right) {
            (true, true) => self.0[at - 1].1 = self.0.remove(at).1,
            (true, false) => self.0[at - 1].1 = version,
            (false, true) => self.0[at].0 = version,
            (false, false) => self.0.insert(at, (version, version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_that_stays_small(versions in prop::collection::vec(1u64..40, 0..60)) {
            let (mut gone, mut set) = (Gone::default(), BTreeSet::new());
            for version in versions {
                gone.insert(version);
                set.insert(version);
                for version in 0..42 {
                    prop_assert_eq!(gone.contains(version), set.contains(&version));
                }
                prop_assert!(gone.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", gone);
            }
            prop_assert_eq!(gone.is_empty(), set.is_empty());
        }
    }
}
