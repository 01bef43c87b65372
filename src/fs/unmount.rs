//! Taking a mount away because somebody asks for it, whoever serves it, and be it dead: umount(2) for
//! root, `fusermount3` for everybody else. Uses `mounts` and nix.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::unistd::geteuid;

use super::mountpoint::HELPER;
use super::mounts::Mount;

/// What becomes of those who use a mount that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It stays as long as anybody uses it.
    Gently,
    /// It goes out of sight, and ends with its last user.
    Lazily,
    /// They get errors.
    ByForce,
}

#[derive(Debug, thiserror::Error)]
pub enum UnmountError {
    #[error("it is in use")]
    Busy,
    #[error("another user has made it")]
    Forbidden,
    #[error("{HELPER} is not installed")]
    NoHelper,
    #[error("{HELPER} refuses: {0}")]
    Helper(String),
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Takes a mount away, dead or alive, whoever serves it.
pub fn take_away(mount: &Mount, how: How) -> Result<(), UnmountError> {
    if geteuid().is_root() {
        return take_away_directly(&mount.at, how);
    }
    if mount.user != Some(geteuid().as_raw()) {
        return Err(UnmountError::Forbidden);
    }
    if how == How::ByForce {
        abort(&mount.device)?;
    }
    let options: &[&str] = if how == How::Gently { &["-u", "--"] } else { &["-u", "-z", "--"] };
    let mut helper = Command::new(HELPER);
    let output = helper.env("LC_ALL", "C").args(options).arg(&mount.at).stdin(Stdio::null()).output();
    let output = output.map_err(|_| UnmountError::NoHelper)?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.success() {
        true => Ok(()),
        false if said.ends_with("Device or resource busy") => Err(UnmountError::Busy),
        false => Err(UnmountError::Helper(said)),
    }
}

fn take_away_directly(at: &Path, how: How) -> Result<(), UnmountError> {
    let flags = MntFlags::UMOUNT_NOFOLLOW;
    if how == How::ByForce {
        // Ends the connection, and says that the mount is busy all the same.
        match umount2(at, flags | MntFlags::MNT_FORCE) {
            Err(Errno::EBUSY) => {}
            other => return Ok(other.map_err(io::Error::from)?),
        }
    }
    let flags = if how == How::Gently { flags } else { flags | MntFlags::MNT_DETACH };
    match umount2(at, flags) {
        Err(Errno::EBUSY) => Err(UnmountError::Busy),
        other => Ok(other.map_err(io::Error::from)?),
    }
}

/// Ends the connection behind a device number: everybody gets errors (fusectl).
fn abort(device: &str) -> io::Result<()> {
    let number = device.split(':').next_back().unwrap_or_default();
    let control = format!("/sys/fs/fuse/connections/{number}/abort");
    fs::write(&control, "1").map_err(|error| io::Error::new(error.kind(), format!("{control}: {error}")))
}
