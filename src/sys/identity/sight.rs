//! What this kernel, and what we may do here, let us see of callers. Found out once.

use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process;
use std::sync::OnceLock;

use nix::unistd::{getegid, getgroups};

use super::pidfd::Pidfd;
use super::stat::Stat;
use crate::caller::Level;
use crate::sys::namespace::is_first_of_pids;
use crate::sys::probe::has_capability;

pub struct Sight {
    pub level: Level,
    /// Whether `/proc` is that of our pid namespace: else its numbers mean other processes.
    pub(super) has_proc: bool,
    /// Whether the programs of other users can be known.
    pub sees_exes: bool,
    /// Whether processes of other users are in `/proc` at all (`hidepid`).
    pub(super) sees_others: bool,
    /// Where the unified hierarchy of control groups is mounted.
    pub(super) groups: Option<PathBuf>,
    pub(super) user_namespace: Option<Stat>,
    /// Whether threads of the kernel are seen here, and then as children of the second process.
    pub(super) has_kernel_threads: bool,
}

/// capabilities(7)
const CAP_SYS_PTRACE: u32 = 19;
pub(super) const KTHREADD: u32 = 2;

pub fn sight() -> &'static Sight {
    static SIGHT: OnceLock<Sight> = OnceLock::new();
    SIGHT.get_or_init(Sight::find)
}

impl Sight {
    pub(super) fn find() -> Self {
        let has_proc =
            fs::read_link("/proc/self").is_ok_and(|own| own.to_str() == Some(&process::id().to_string()));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let may_trace = has_capability(CAP_SYS_PTRACE);
        let sees_others = has_proc && (may_trace || !is_hidden(&mounts, &own_groups()));
        Self {
            level: level(),
            has_proc,
            sees_exes: has_proc && may_trace,
            sees_others,
            groups: groups_of(&mounts),
            user_namespace: found("/proc/self/ns/user"),
            has_kernel_threads: is_first_of_pids(),
        }
    }

    /// What is hidden here from all rules, with what to do about it.
    pub fn hides(&self) -> Option<&'static str> {
        match (self.has_proc, self.sees_others) {
            (false, _) => Some(
                "/proc is of another pid namespace: programs, units and groups of readers are unknown; \
                 mount the one of this namespace there",
            ),
            (true, false) => Some(
                "/proc hides the processes of others (hidepid): programs, units and groups of readers are \
                 unknown; give the daemon CAP_SYS_PTRACE",
            ),
            (true, true) => None,
        }
    }

    /// The same, and what is hidden from rules on programs alone.
    pub fn hides_programs(&self) -> Option<&'static str> {
        let without_capability =
            "programs of other users are unknown without CAP_SYS_PTRACE: a rule with `exe` allows nobody";
        self.hides().or((!self.sees_exes).then_some(without_capability))
    }
}

fn level() -> Level {
    let Some(own) = Pidfd::of(process::id()) else { return Level::L1 };
    if own.info().is_some() { Level::L3 } else { Level::L2 }
}

/// A file of the kernel's own filesystems, which answer at once.
pub(super) fn found(path: &str) -> Option<Stat> {
    let file = fs::File::open(path).ok()?;
    Stat::of(file.as_fd()).ok()
}

fn own_groups() -> Vec<u32> {
    let others = getgroups().unwrap_or_default();
    others.into_iter().chain([getegid()]).map(|group| group.as_raw()).collect()
}

/// Whether `/proc` keeps the processes of others from who has none of its groups (proc(5)).
fn is_hidden(mounts: &str, groups: &[u32]) -> bool {
    let of_proc = |line: &&str| line.split(' ').nth(4) == Some("/proc");
    let options = mounts.lines().rfind(of_proc).and_then(|line| line.split_once(" - ")?.1.split(' ').nth(2));
    let option = |name: &str| options?.split(',').find_map(|it| it.strip_prefix(name));
    match option("hidepid=") {
        None | Some("0" | "off") => false,
        Some("4" | "ptraceable") => true,
        Some(_) => option("gid=").is_none_or(|gid| !groups.iter().any(|own| own.to_string() == gid)),
    }
}

/// proc_pid_mountinfo(5): of the hierarchy as a whole, else its paths would not be those of `/proc`.
fn groups_of(mounts: &str) -> Option<PathBuf> {
    let unified = mounts.lines().filter(|line| line.contains(" - cgroup2 "));
    let places = unified.map(|line| line.split(' ').skip(3));
    // What was mounted later may cover what was there before.
    places.rev().find_map(|mut fields| (fields.next()? == "/").then(|| fields.next().map(PathBuf::from))?)
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
        let covered = mounts + &line("/", "/over", "cgroup2") + &line("/", "/", "ext4");
        assert_eq!(groups_of(&covered), Some("/over".into()));
        assert_eq!(groups_of(&line("/", "/sys/fs/cgroup", "cgroup")), None);
    }

    #[test]
    fn hidden_processes_are_seen_by_who_is_in_the_group_for_that() {
        let hidden = |options: &str, groups: &[u32]| {
            is_hidden(&format!("1 2 0:3 / /proc rw,relatime shared:5 - proc proc rw{options}\n"), groups)
        };
        assert!(!hidden("", &[0]) && !hidden(",hidepid=off", &[]) && !hidden(",gid=9", &[]));
        assert!(hidden(",gid=9,hidepid=invisible", &[0]) && hidden(",hidepid=2", &[0]));
        assert!(!hidden(",gid=9,hidepid=invisible", &[0, 9]));
        assert!(hidden(",gid=9,hidepid=ptraceable", &[9]));
    }

    #[test]
    fn what_is_not_seen_is_told() {
        let hides = |has_proc, sees_others, sees_exes| {
            let sight = Sight { has_proc, sees_others, sees_exes, groups: None, ..Sight::find() };
            (sight.hides().unwrap_or_default(), sight.hides_programs().unwrap_or_default())
        };
        assert_eq!(hides(true, true, true), ("", ""));
        let (all, programs) = hides(true, true, false);
        assert!(all.is_empty() && programs.contains("`exe` allows nobody"));
        assert!(hides(true, false, false).0.contains("hidepid"));
        assert!(hides(false, false, false).1.contains("of another pid namespace"));
    }
}
