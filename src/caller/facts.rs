//! Which parts of an identity somebody wants to know. Only those are found out: each costs the
//! caller time.

use std::ops::{BitOr, BitOrAssign};
use std::path::{Path, PathBuf};

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts(u16);

impl Facts {
    /// What the request itself says.
    pub const NONE: Self = Self(0);
    /// That the asking thread has the credentials that the request names, and is no kernel thread.
    pub const CREDENTIALS: Self = Self(1);
    /// Its process, with the start time.
    pub const PROCESS: Self = Self(1 << 1);
    pub const GROUPS: Self = Self(1 << 2);
    /// The program, for the log: it may be a mask.
    pub const PROGRAM: Self = Self(1 << 3);
    /// With the user namespace, and whether somebody traces it: it cannot be believed without.
    pub const EXE: Self = Self(1 << 9 | 1 << 3);
    /// The program's SHA-256; goes with [`Self::EXE`].
    pub const DIGEST: Self = Self(1 << 4 | Self::EXE.0);
    pub const CGROUP: Self = Self(1 << 5);
    /// The system unit.
    pub const UNIT: Self = Self(1 << 6);
    pub const USER_UNIT: Self = Self(1 << 7);
    pub const CONTAINER: Self = Self(1 << 8);

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All of these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Any of these.
    pub const fn touches(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What somebody wants to know of a caller.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    pub facts: Facts,
    /// The programs whose digest is wanted: to tell it, one has to be read.
    pub hashed: [&'a [PathBuf]; 2],
}

impl Inquiry<'_> {
    pub fn hashes(&self, program: &Path) -> bool {
        self.facts.has(Facts::DIGEST) && self.hashed.iter().any(|some| some.iter().any(|it| it == program))
    }

    /// And these.
    pub fn and(self, facts: Facts) -> Self {
        Self { facts: self.facts | facts, ..self }
    }
}

/// No digest, then.
impl From<Facts> for Inquiry<'_> {
    fn from(facts: Facts) -> Self {
        Self { facts, hashed: [&[]; 2] }
    }
}

impl BitOr for Facts {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.and(other)
    }
}

impl BitOrAssign for Facts {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.and(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_needs_the_program() {
        assert!(Facts::DIGEST.has(Facts::EXE) && !Facts::EXE.has(Facts::DIGEST));
        assert!(Facts::EXE.has(Facts::PROGRAM) && !Facts::PROGRAM.has(Facts::EXE));
        assert!(Facts::NONE.has(Facts::NONE) && !Facts::NONE.touches(Facts::EXE));
        let both = Facts::UNIT | Facts::GROUPS;
        assert!(both.touches(Facts::UNIT) && both.has(Facts::GROUPS) && !both.has(Facts::EXE | Facts::UNIT));
    }
}
