//! What this process gives up so that its memory stays its own: core dumps, tracing by others,
//! and, where the limits allow it, swap.

use std::io;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

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
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or((0, 0));
    if limit != RLIM_INFINITY && !has_ipc_lock() {
        return false;
    }
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: mlockall takes flags only; it changes how pages are kept, not what is in them.
    unsafe { libc::mlockall(flags) == 0 }
}

/// CAP_IPC_LOCK is bit 14 of the effective set (capabilities(7)).
fn has_ipc_lock() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> 14 & 1 == 1)
}
