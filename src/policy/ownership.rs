//! Owner, group and permission bits of a file, and who may read it by them alone. Uses the words
//! only.

use crate::caller::{Caller, Identity};

/// As `stat` shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    pub uid: u32,
    pub gid: u32,
    /// Permission bits only; never an x bit on a file.
    pub mode: u16,
}

const READ: u16 = 0o4;

impl Ownership {
    /// The rule of path_resolution(7): the first class that fits decides; uid 0 passes.
    pub fn allows(&self, caller: &Caller, in_group: &dyn Fn(u32) -> bool, bits: u16) -> bool {
        self.granted(caller, || Some(in_group(self.gid))) & bits == bits
    }

    /// Who may or may not be in the group has what both would have.
    pub(super) fn lets_read(&self, who: &Identity) -> bool {
        self.granted(&who.caller, || who.is_in_group(self.gid)) & READ == READ
    }

    /// Whether the caller's other groups decide.
    pub(super) fn hangs_on_groups(&self, caller: &Caller) -> bool {
        let is_asked = std::cell::Cell::new(false);
        self.granted(caller, || {
            is_asked.set(caller.gid != self.gid);
            None
        });
        is_asked.get()
    }

    fn granted(&self, caller: &Caller, is_in_group: impl FnOnce() -> Option<bool>) -> u16 {
        let (owner, group, others) = (self.mode >> 6, self.mode >> 3 & 0o7, self.mode & 0o7);
        match () {
            () if caller.uid == 0 => 0o7,
            () if caller.uid == self.uid => owner & 0o7,
            // The groups need not be looked up.
            () if group == others => others,
            () if caller.gid == self.gid => group,
            () => match is_in_group() {
                Some(true) => group,
                Some(false) => others,
                None => group & others,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(mode: u16, uid: u32, gid: u32, groups: &[u32]) -> bool {
        let file = Ownership { uid: 10, gid: 20, mode };
        let caller = Caller { uid, gid, pid: 1 };
        let by_question = file.allows(&caller, &|gid| groups.contains(&gid), READ);
        let known = Identity { groups: Some(groups.to_vec()), ..Identity::of(caller) };
        assert_eq!(file.lets_read(&known), by_question);
        by_question
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        assert!(allows(0o400, 10, 0, &[]));
        assert!(!allows(0o400, 11, 20, &[20]));
        assert!(allows(0o440, 11, 20, &[]));
        assert!(allows(0o440, 11, 1, &[3, 20]));
        assert!(!allows(0o440, 11, 1, &[3]));
        assert!(!allows(0o040, 10, 20, &[20]), "the owner's class comes first");
        assert!(!allows(0o404, 11, 20, &[]), "the group's class comes before others");
        assert!(allows(0o404, 11, 1, &[]));
    }

    #[test]
    fn root_reads_everything() {
        assert!(allows(0o000, 0, 0, &[]));
    }

    #[test]
    fn who_may_be_in_the_group_gets_no_more_than_either() {
        let unknown = Identity::of(Caller { uid: 11, gid: 1, pid: 1 });
        for (mode, may) in [(0o440, false), (0o404, false), (0o444, true), (0o400, false)] {
            let file = Ownership { uid: 10, gid: 20, mode };
            assert_eq!(file.lets_read(&unknown), may, "{mode:o}");
            assert_eq!(file.hangs_on_groups(&unknown.caller), matches!(mode, 0o440 | 0o404), "{mode:o}");
        }
        let file = Ownership { uid: 10, gid: 20, mode: 0o440 };
        for caller in [Caller { uid: 0, gid: 1, pid: 1 }, Caller { uid: 11, gid: 20, pid: 1 }] {
            assert!(!file.hangs_on_groups(&caller), "{caller:?}");
        }
    }
}
