//! Which process a thread belongs to and whether it still runs, cheap enough to be asked at every
//! open and each second. Uses nix and the words only.

use std::fs;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, geteuid};

use super::identity;
use super::peer::{self, ProcessId};
use crate::caller::Caller;

/// In a second, on every machine that we are built for (USER_HZ).
const TICKS: u64 = 100;

/// The process of the calling thread. Only while the caller's request is unanswered.
pub fn group(caller: &Caller) -> Option<u32> {
    if caller.pid == 0 {
        return None;
    }
    if is_leader(caller.pid) {
        return Some(caller.pid);
    }
    peer::process(caller).map(|process| process.pid)
}

/// Whether the thread is the first of its process. One system call, which does nothing.
fn is_leader(thread: u32) -> bool {
    // SAFETY: the call takes three integers; signal 0 is never sent.
    let answer = unsafe { libc::syscall(libc::SYS_tgkill, thread, thread, 0) };
    answer == 0 || Errno::last() == Errno::EPERM
}

/// The process that has this number now, unless it has ended and only waits to be reaped.
pub fn running(pid: u32) -> Option<ProcessId> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(ProcessId { pid, start })
}

/// Whether any process has this number.
pub fn is_taken(pid: u32) -> bool {
    let pid = i32::try_from(pid).map(Pid::from_raw);
    pid.is_ok_and(|pid| kill(pid, None) != Err(Errno::ESRCH))
}

/// Whether the process, running or not, is of this unit of the manager that we would ask.
pub fn is_of_unit(pid: u32, unit: &str) -> bool {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let own = geteuid();
    identity::is_of_unit(&groups, unit, (!own.is_root()).then_some(own.as_raw()))
}

/// The ticks that the starts of processes are counted in, rounded up: a process that was there
/// now, has started before.
pub fn ticks() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(|now| (now.tv_sec(), now.tv_nsec()));
    let (seconds, nanos) = now.unwrap_or_default();
    seconds as u64 * TICKS + nanos as u64 * TICKS / 1_000_000_000 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(pid: u32) -> Caller {
        Caller { uid: 0, gid: 0, pid }
    }

    #[test]
    fn every_thread_is_of_this_process() {
        let own = std::process::id();
        let thread = || group(&caller(nix::unistd::gettid().as_raw().unsigned_abs()));
        assert_eq!(thread(), Some(own));
        assert_eq!(std::thread::spawn(thread).join().unwrap(), Some(own));
        assert_eq!(group(&caller(0)), None);
    }

    #[test]
    fn who_runs_has_started_before_now() {
        let own = running(std::process::id()).unwrap();
        assert!(own.start <= ticks());
        assert_eq!(Some(own), peer::process(&caller(own.pid)));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        while running(pid).is_some() {
            std::thread::yield_now();
        }
        assert!(is_taken(pid), "until it is reaped");
        child.wait().unwrap();
        assert!(!is_taken(pid));
    }
}
