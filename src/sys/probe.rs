//! What this machine would let us do, tried out in a child that ends at once. Uses nix.

use std::io;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

/// Whether this user gets a user namespace with mounts of its own. To be called while the process
/// has one thread.
pub fn user_namespace() -> io::Result<()> {
    let flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
    // SAFETY: the process has one thread (the caller's promise), and the child makes two system calls.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let status = unshare(flags).err().map_or(0, |errno| errno as i32);
            // SAFETY: _exit(2) ends the child here; nothing of the parent is run or flushed twice.
            unsafe { libc::_exit(status) }
        }
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            WaitStatus::Exited(_, errno) => Err(Errno::from_raw(errno).into()),
            _ => Err(io::Error::other("the child was killed")),
        },
    }
}

/// Whether this process has a capability, by its number (capabilities(7)).
pub fn has_capability(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> number & 1 == 1)
}
