//! What this process may still have. Uses nix.

use nix::sys::resource::{Resource, getrlimit};

/// How many descriptors it may still open.
pub fn free_descriptors() -> u64 {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    limit.saturating_sub(open as u64)
}
