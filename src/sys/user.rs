//! Being another user, for good. Uses nix.

use std::ffi::CString;
use std::io;

use nix::unistd::{User, geteuid, initgroups, setgid, setuid};

/// From here on this process is that user's, with the groups that a login has. Root can do this.
pub fn become_user(user: &User) -> io::Result<()> {
    if geteuid() == user.uid {
        return Ok(());
    }
    initgroups(&CString::new(user.name.as_str())?, user.gid)?;
    setgid(user.gid)?;
    Ok(setuid(user.uid)?)
}
