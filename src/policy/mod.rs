//! Who may read what. Pure: a caller, a file's ownership and the asked-for secrets go in, a
//! [`Decision`] comes out. Uses the words only.

mod decision;

pub use decision::{Decision, Denial, Grant};

use crate::caller::Caller;
use crate::secret::SecretKey;

/// Through which door the bytes would leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Mount,
    Exec,
    /// `render` on the command line: the caller already holds the store's key.
    Command,
}

/// Owner, group and permission bits of a file, as `stat` shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    pub uid: u32,
    pub gid: u32,
    /// Permission bits only; never an x bit on a file.
    pub mode: u16,
}

/// What is asked for.
pub struct Access<'a> {
    pub door: Door,
    /// The file that is read; exec has none.
    pub file: Option<Ownership>,
    pub keys: &'a [SecretKey],
}

/// The rules in force. Replaced as a whole.
pub struct Policy(());

impl Policy {
    /// Files are read like normal files: by owner, group and mode.
    pub fn by_mode() -> Self {
        Self(())
    }

    /// Judges one access. `in_group` answers whether the caller has a supplementary group; it is
    /// asked only when the verdict hangs on it.
    pub fn evaluate(&self, caller: &Caller, in_group: &dyn Fn(u32) -> bool, access: &Access<'_>) -> Decision {
        if access.door == Door::Mount && caller.pid == 0 {
            return Decision::Denied(Denial::new(
                "its process, of which a foreign pid namespace tells nothing",
            ));
        }
        let readable = access.file.is_none_or(|file| file.allows(caller, in_group, 0o4));
        if readable {
            Decision::Granted(Grant::new(access.keys))
        } else {
            Decision::Denied(Denial::new("the file's owner, group and mode"))
        }
    }
}

impl Ownership {
    /// The rule of path_resolution(7): the first class that fits decides; uid 0 passes.
    pub fn allows(&self, caller: &Caller, in_group: &dyn Fn(u32) -> bool, bits: u16) -> bool {
        if caller.uid == 0 {
            return true;
        }
        let granted = if caller.uid == self.uid {
            self.mode >> 6
        } else if self.mode >> 3 & 0o7 == self.mode & 0o7 {
            // Group and others are alike: the groups need not be looked up.
            self.mode
        } else if caller.gid == self.gid || in_group(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        granted & bits == bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(mode: u16, uid: u32, gid: u32, groups: &[u32]) -> bool {
        let file = Ownership { uid: 10, gid: 20, mode };
        let caller = Caller { uid, gid, pid: 1 };
        let access = Access { door: Door::Mount, file: Some(file), keys: &[] };
        let decision = Policy::by_mode().evaluate(&caller, &|gid| groups.contains(&gid), &access);
        matches!(decision, Decision::Granted(_))
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
    fn who_is_unknown_reads_nothing() {
        let file = Ownership { uid: 0, gid: 0, mode: 0o444 };
        let caller = Caller { uid: 0, gid: 0, pid: 0 };
        let access = Access { door: Door::Mount, file: Some(file), keys: &[] };
        let decision = Policy::by_mode().evaluate(&caller, &|_| true, &access);
        assert!(matches!(decision, Decision::Denied(_)));
    }

    #[test]
    fn root_reads_everything() {
        assert!(allows(0o000, 0, 0, &[]));
    }

    #[test]
    fn a_grant_names_what_was_asked() {
        let keys = [SecretKey::named("a")];
        let access = Access { door: Door::Exec, file: None, keys: &keys };
        let caller = Caller { uid: 1, gid: 1, pid: 1 };
        match Policy::by_mode().evaluate(&caller, &|_| false, &access) {
            Decision::Granted(grant) => {
                assert!(grant.covers(&keys[0]));
                assert!(!grant.covers(&SecretKey::named("b")));
            }
            Decision::Denied(_) => panic!("exec has no file to be denied by"),
        }
    }
}
