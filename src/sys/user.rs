//! Being another user, for good; and who has logged in. Uses nix.

use std::ffi::CString;
use std::io;

use nix::unistd::{User, geteuid, initgroups, setgid, setuid};

use super::hardening;

/// From here on this process is that user's, with the groups that a login has. Root can do this.
pub fn become_user(user: &User) -> io::Result<()> {
    if geteuid() == user.uid {
        return Ok(());
    }
    initgroups(&CString::new(user.name.as_str())?, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)?;
    hardening::keep_to_ourselves()
}

/// Who has logged in, whoever they have become since. `None`: nobody has.
pub fn login() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}
