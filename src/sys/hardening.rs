//! What this process gives up so that its memory stays its own: core dumps, tracing by others,
//! and, where the limits allow it, swap.

use std::io;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::probe::has_capability;

/// capabilities(7)
const CAP_IPC_LOCK: u32 = 14;

/// No core dumps, no `ptrace` by the same user. `RLIMIT_CORE` alone is not enough: it is ignored
/// where core dumps go through a pipe (core(5)).
pub fn forbid_dumps() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    // SAFETY: PR_SET_DUMPABLE takes one integer and touches no memory of ours.
    match unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) } {
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
