//! What this process gives up so that its memory stays its own: core dumps, tracing by others,
//! and, where the limits allow it, swap.

use std::io;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::probe::has_capability;
use super::weakness::{self, Weakness};

/// capabilities(7)
const CAP_IPC_LOCK: u32 = 14;

/// No core dump shows this process, and nobody of the same user may trace it or look into its
/// memory. Lasts until it becomes another program, whose own affair this is then; a change of the
/// user leaves it to a sysctl (suid_dumpable), so it is said again after one.
pub fn keep_to_ourselves() -> io::Result<()> {
    set_dumpable(false)
}

/// The same for a process that becomes no other program: its children shall have no core dumps
/// either. Not enough alone: the limit is ignored where they go through a pipe (core(5)).
pub fn forbid_dumps() -> io::Result<()> {
    if !weakness::has(Weakness::Open) {
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    }
    keep_to_ourselves()
}

/// Some files below `/proc/self` belong to root as long as nobody may look at us.
pub(super) fn as_seen_by_our_user<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    set_dumpable(true)?;
    let outcome = work();
    keep_to_ourselves()?;
    Ok(outcome)
}

fn set_dumpable(is_so: bool) -> io::Result<()> {
    let is_so = is_so || weakness::has(Weakness::Open);
    // SAFETY: PR_SET_DUMPABLE takes one integer and touches no memory of ours.
    match unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(is_so), 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Locks all memory, now and later, as it is touched. Answers whether it is locked: without
/// CAP_IPC_LOCK and with a memlock limit later allocations would fail, so then it is not tried.
pub fn lock_memory() -> bool {
    if !can_lock_memory() {
        return false;
    }
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: mlockall takes flags only; it changes how pages are kept, not what is in them.
    unsafe { libc::mlockall(flags) == 0 }
}

/// Whether the limits let this process lock all of its memory.
pub fn can_lock_memory() -> bool {
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or((0, 0));
    limit == RLIM_INFINITY || has_capability(CAP_IPC_LOCK)
}
