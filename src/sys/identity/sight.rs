//! What this kernel, and what we may do here, let us see of callers. Found out once.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::pidfd::Pidfd;
use super::stat::Stat;
use crate::caller::Level;
use crate::sys::probe::has_capability;

pub struct Sight {
    pub level: Level,
    /// Whether the programs of other users can be known.
    pub sees_exes: bool,
    /// Whether processes of other users are in `/proc` at all (`hidepid`).
    pub sees_others: bool,
    /// Where the unified hierarchy of control groups is mounted.
    pub(super) groups: Option<PathBuf>,
    pub(super) user_namespace: Option<Stat>,
    /// Whether threads of the kernel are seen here, and then as children of the second process.
    pub(super) has_kernel_threads: bool,
}

/// capabilities(7)
const CAP_SYS_PTRACE: u32 = 19;
const FIRST: u32 = 1;
pub(super) const KTHREADD: u32 = 2;
/// The number of the first pid namespace, on every kernel.
const INITIAL: &str = "pid:[4026531836]";

pub fn sight() -> &'static Sight {
    static SIGHT: OnceLock<Sight> = OnceLock::new();
    SIGHT.get_or_init(Sight::find)
}

impl Sight {
    pub(super) fn find() -> Self {
        let sees_others = fs::metadata(format!("/proc/{FIRST}")).is_ok();
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            level: level(),
            sees_exes: sees_others && has_capability(CAP_SYS_PTRACE),
            sees_others,
            groups: groups_of(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()),
            user_namespace: found("/proc/self/ns/user"),
            has_kernel_threads: namespace == Path::new(INITIAL),
        }
    }

    /// What rules cannot rely on here, each with what to do about it.
    pub fn lacks(&self) -> Vec<&'static str> {
        let lacks = [
            (!self.sees_others).then_some(
                "/proc hides the processes of others (hidepid): units, groups and programs are unknown; \
                 give the daemon CAP_SYS_PTRACE or its group (gid= of /proc)",
            ),
            (self.sees_others && !self.sees_exes).then_some(
                "programs of other users are unknown without CAP_SYS_PTRACE: rules with `exe` allow nobody",
            ),
        ];
        lacks.into_iter().flatten().collect()
    }
}

fn level() -> Level {
    let Some(own) = Pidfd::of(std::process::id()) else { return Level::L1 };
    if own.info().is_some() { Level::L3 } else { Level::L2 }
}

/// A file of the kernel's own filesystems, which answer at once.
pub(super) fn found(path: &str) -> Option<Stat> {
    let file = fs::File::open(path).ok()?;
    Stat::of(file.as_fd()).ok()
}

/// proc_pid_mountinfo(5): of the hierarchy as a whole, else its paths would not be those of `/proc`.
fn groups_of(mounts: &str) -> Option<PathBuf> {
    let unified = mounts.lines().filter(|line| line.contains(" - cgroup2 "));
    let mut places = unified.map(|line| line.split(' ').skip(3));
    places.find_map(|mut fields| (fields.next()? == "/").then(|| fields.next().map(PathBuf::from))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_hierarchy_of_control_groups_is_found() {
        let line =
            |root: &str, at: &str, kind: &str| format!("1 2 0:3 {root} {at} rw,relatime - {kind} x rw\n");
        let mounts =
            line("/", "/sys", "sysfs") + &line("/a", "/part", "cgroup2") + &line("/", "/whole", "cgroup2");
        assert_eq!(groups_of(&mounts), Some("/whole".into()));
        assert_eq!(groups_of(&line("/", "/sys/fs/cgroup", "cgroup")), None);
    }

    #[test]
    fn what_is_not_seen_is_told() {
        let lacks = |sees_exes, sees_others| {
            Sight { sees_exes, sees_others, groups: None, ..Sight::find() }.lacks().concat()
        };
        assert_eq!(lacks(true, true), "");
        assert!(lacks(false, true).contains("CAP_SYS_PTRACE: rules with `exe`"));
        assert!(lacks(false, false).contains("hidepid"));
    }
}
