//! All that may be known of a caller while its request is held. Unknown is never taken for no: a
//! rule that allows does not fit what is unknown, and one that denies does.

use std::fmt;
use std::path::PathBuf;

use super::{Caller, Facts, Inquiry};

/// A caller and what was found out about it. `None` and [`Fact::Unknown`]: not known, be it
/// because nobody wanted to know or because it could not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub caller: Caller,
    pub process: Option<ProcessId>,
    /// The number of its pidfd, which no other process has until the machine starts again (6.9).
    pub pidfd: Option<u64>,
    /// For the audit: whose program it is that runs under another's rights.
    pub real_uid: Option<u32>,
    /// The supplementary ones.
    pub groups: Option<Vec<u32>>,
    pub exe: Option<Exe>,
    /// The system unit, by the name that systemd has for it.
    pub unit: Fact<String>,
    pub user_unit: Fact<UserUnit>,
    /// The path of its control group, from the root of the hierarchy.
    pub cgroup: Option<String>,
    /// The container's name or id, as its runtime has put it into the control group.
    pub container: Fact<String>,
    pub userns: Namespace,
    pub traced: bool,
    pub level: Level,
}

/// What a caller may also have none of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fact<T> {
    #[default]
    Unknown,
    /// It is known that there is none.
    Absent,
    Is(T),
}

/// A process, and none that has its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    pub pid: u32,
    /// In ticks since the machine started.
    pub start: u64,
}

/// The program that a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exe {
    pub path: PathBuf,
    pub dev: u64,
    pub ino: u64,
    /// It belongs to root or to the daemon, nobody else may write it, and the path leads us to it:
    /// only then its path says what runs.
    pub is_fit: bool,
    pub sha256: Option<[u8; 32]>,
}

/// A unit of a user's own service manager. The user can name it at will.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserUnit {
    pub uid: u32,
    pub name: String,
}

/// Whether a namespace is the daemon's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    Own,
    Foreign,
    #[default]
    Unknown,
}

/// How well this kernel lets a process be told from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A pidfd of the process, and `/proc`.
    #[default]
    L1,
    /// A pidfd of the thread, with a number of its own (6.9).
    L2,
    /// And all credentials in one call on it (6.13).
    L3,
}

/// Why a caller is nobody whom a rule could be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    ForeignPidNamespace,
    /// The request names other credentials than the thread has: another filesystem reads for it.
    ForeignCredentials,
    KernelThread,
    /// Not the process that it was a moment ago.
    Changed,
}

impl Identity {
    /// What the request says, and nothing else.
    pub fn of(caller: Caller) -> Self {
        Self {
            caller,
            process: None,
            pidfd: None,
            real_uid: None,
            groups: None,
            exe: None,
            unit: Fact::Unknown,
            user_unit: Fact::Unknown,
            cgroup: None,
            container: Fact::Unknown,
            userns: Namespace::Unknown,
            traced: false,
            level: Level::default(),
        }
    }

    /// What was not asked for is not known, wherever this comes from.
    pub fn restricted_to(mut self, wanted: &Inquiry<'_>) -> Self {
        let has = |facts: Facts| wanted.facts.touches(facts);
        let of_exe = wanted.facts.has(Facts::EXE);
        let sum = self.exe.as_ref().filter(|exe| wanted.hashes(&exe.path)).and_then(|exe| exe.sha256);
        Self {
            process: self.process.take_if(|_| has(Facts::PROCESS)),
            pidfd: self.pidfd.take_if(|_| has(Facts::PROCESS)),
            groups: self.groups.take_if(|_| has(Facts::GROUPS)),
            exe: self.exe.take_if(|_| has(Facts::PROGRAM)).map(|exe| Exe {
                sha256: sum,
                is_fit: exe.is_fit && of_exe,
                ..exe
            }),
            unit: if has(Facts::UNIT) { self.unit } else { Fact::Unknown },
            user_unit: if has(Facts::USER_UNIT) { self.user_unit } else { Fact::Unknown },
            cgroup: self.cgroup.take_if(|_| has(Facts::CGROUP)),
            container: if has(Facts::CONTAINER) { self.container } else { Fact::Unknown },
            userns: if of_exe || has(Facts::USER_UNIT) { self.userns } else { Namespace::Unknown },
            traced: self.traced && of_exe,
            ..self
        }
    }

    /// The program that rules may speak of: none that could be a mask.
    pub fn true_exe(&self) -> Option<&Exe> {
        let believable = self.userns == Namespace::Own && !self.traced;
        self.exe.as_ref().filter(|exe| believable && exe.is_fit)
    }

    /// Whether it is in the group, by its first one or another. `None`: not known.
    pub fn is_in_group(&self, gid: u32) -> Option<bool> {
        if self.caller.gid == gid {
            return Some(true);
        }
        self.groups.as_ref().map(|groups| groups.contains(&gid))
    }
}

impl<T> Fact<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Unknown | Self::Absent => None,
        }
    }

    /// Whether it is one of which this holds. `None`: not known.
    pub fn fits(&self, holds: impl FnOnce(&T) -> bool) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Absent => Some(false),
            Self::Is(value) => Some(holds(value)),
        }
    }
}

impl Level {
    pub const fn name(self) -> &'static str {
        match self {
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L1 => "L1 (a pidfd of the process and /proc)",
            Self::L2 => "L2 (a pidfd of the thread, with a number of its own)",
            Self::L3 => "L3 (all credentials in one call on the thread's pidfd)",
        })
    }
}

impl Refusal {
    /// One word, for the audit and the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForeignPidNamespace => "foreign_pidns",
            Self::ForeignCredentials => "cred_override",
            Self::KernelThread => "kernel_thread",
            Self::Changed => "changed",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForeignPidNamespace => "its process, of which a foreign pid namespace tells nothing",
            Self::ForeignCredentials => "the credentials, which are not those of the process that reads",
            Self::KernelThread => "its process, which is a thread of the kernel",
            Self::Changed => "its process, which changed while it asked",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn someone() -> Identity {
        Identity::of(Caller { uid: 1, gid: 2, pid: 3 })
    }

    #[test]
    fn a_program_is_believed_only_where_nothing_could_mask_it() {
        let exe = Exe { path: "/usr/bin/app".into(), dev: 1, ino: 2, is_fit: true, sha256: None };
        let plain = Identity { exe: Some(exe.clone()), userns: Namespace::Own, ..someone() };
        assert_eq!(plain.true_exe(), Some(&exe));
        for userns in [Namespace::Foreign, Namespace::Unknown] {
            assert_eq!(Identity { userns, ..plain.clone() }.true_exe(), None);
        }
        assert_eq!(Identity { traced: true, ..plain.clone() }.true_exe(), None);
        let unfit = Some(Exe { is_fit: false, ..exe });
        assert_eq!(Identity { exe: unfit, ..plain }.true_exe(), None);
    }

    #[test]
    fn unknown_is_neither_yes_nor_no() {
        assert_eq!(someone().is_in_group(2), Some(true));
        assert_eq!(someone().is_in_group(9), None);
        assert_eq!(Identity { groups: Some(vec![9]), ..someone() }.is_in_group(9), Some(true));
        assert_eq!(Identity { groups: Some(vec![]), ..someone() }.is_in_group(9), Some(false));
        let fits = |fact: Fact<u8>| fact.fits(|it| *it == 1);
        assert_eq!([Fact::Unknown, Fact::Absent, Fact::Is(1)].map(fits), [None, Some(false), Some(true)]);
    }
}
