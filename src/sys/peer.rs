//! What the kernel knows of a caller beyond the request header. Call these only while the
//! caller's request is unanswered: until then its thread cannot end and its id not be reused.

use std::fs;

use crate::caller::Caller;
pub use crate::caller::ProcessId;

/// Whether the caller has the supplementary group. Unknown is no.
pub fn in_group(caller: &Caller, gid: u32) -> bool {
    groups(caller).is_some_and(|groups| groups.contains(&gid))
}

/// The caller's supplementary groups.
pub fn groups(caller: &Caller) -> Option<Vec<u32>> {
    let status = read(caller, "status")?;
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"))?;
    groups.split_whitespace().map(|group| group.parse().ok()).collect()
}

/// The path of the caller's program, if it can be known.
pub fn exe(caller: &Caller) -> Option<String> {
    if caller.pid == 0 {
        return None;
    }
    let path = fs::read_link(format!("/proc/{}/exe", caller.pid)).ok()?;
    path.into_os_string().into_string().ok().filter(|path| !path.ends_with(" (deleted)"))
}

/// The caller's system unit: the first part of its control group below the slices, so that a
/// unit that manages groups of its own cannot pose as another.
pub fn unit(caller: &Caller) -> Option<String> {
    super::identity::unit_of(&read(caller, "cgroup")?)
}

/// The process of the calling thread: the same before and after it executes another program.
pub fn process(caller: &Caller) -> Option<ProcessId> {
    let status = read(caller, "status")?;
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    let pid = group.trim().parse().ok()?;
    let stat = read(&Caller { pid, ..*caller }, "stat")?;
    Some(ProcessId { pid, start: start_of(&stat)? })
}

/// The 22nd field of proc_pid_stat(5); the second one may hold blanks and parentheses.
pub(super) fn start_of(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn read(caller: &Caller, file: &str) -> Option<String> {
    if caller.pid == 0 {
        return None;
    }
    fs::read_to_string(format!("/proc/{}/{file}", caller.pid)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_of_a_foreign_pid_namespace_is_unknown() {
        let caller = Caller { uid: 0, gid: 0, pid: 0 };
        assert!(!in_group(&caller, 0));
        assert_eq!(exe(&caller), None);
        assert_eq!(unit(&caller), None);
        assert_eq!(process(&caller), None);
    }

    #[test]
    fn all_threads_are_of_one_process() {
        let caller = |pid| Caller { uid: 0, gid: 0, pid };
        let thread = move || process(&caller(nix::unistd::gettid().as_raw().unsigned_abs()));
        let other = std::thread::spawn(thread).join().unwrap();
        assert_eq!((other, other.map(|it| it.pid)), (thread(), Some(std::process::id())));
        assert_ne!(process(&caller(nix::unistd::getppid().as_raw().unsigned_abs())), other);
    }

    #[test]
    fn a_program_may_be_named_as_it_likes() {
        let stat = "7 (a) S 1 (b)) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_of(stat), Some(4711));
    }

    #[test]
    fn this_process_has_an_exe() {
        let caller = Caller { uid: 0, gid: 0, pid: std::process::id() };
        assert!(exe(&caller).is_some());
    }
}
