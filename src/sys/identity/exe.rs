//! The program of a thread: the file that the kernel holds, and whether its path says what runs.
//! Never waits for whoever serves that file.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use libc::RESOLVE_CACHED;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use super::stat::Stat;
use crate::caller::Exe;

/// The program of a thread that is held.
#[derive(Clone)]
pub(super) struct Program {
    pub(super) stat: Stat,
    /// Without its digest.
    pub(super) exe: Exe,
}

/// A lookup that must not wait may be disturbed by somebody who renames.
const TRIES: usize = 4;
const WRITABLE_BY_OTHERS: u16 = 0o022;

impl Program {
    /// What it is now, without its path. Also of one whose process has lost its first thread.
    pub(super) fn stat(thread: u32) -> Option<Stat> {
        Stat::of_link(thread, "exe").ok()
    }

    pub(super) fn of(thread: u32) -> Option<Self> {
        let file = open_path(thread)?;
        let stat = Stat::of(file.as_fd()).ok()?;
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        let Stat { dev, ino, .. } = stat;
        let is_fit = is_fit(&stat, &path);
        Some(Self { stat, exe: Exe { path, dev, ino, is_fit, sha256: None } })
    }

    /// It itself, if it is still that.
    pub(super) fn open(&self, thread: u32) -> Option<OwnedFd> {
        open_path(thread).filter(|file| Stat::of(file.as_fd()).is_ok_and(|stat| stat == self.stat))
    }
}

fn open_path(thread: u32) -> Option<OwnedFd> {
    let link = format!("/proc/{thread}/exe");
    open(Path::new(&link), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()
}

/// It is root's or ours, only its owner may write it, and its path leads to it: it was neither
/// removed nor replaced, and is of no other mount namespace.
fn is_fit(stat: &Stat, path: &Path) -> bool {
    let is_owned = stat.uid == 0 || stat.uid == geteuid().as_raw();
    let is_safe = is_owned && stat.mode & WRITABLE_BY_OTHERS == 0 && stat.links > 0;
    is_safe && found_at(path).is_some_and(|found| found.is_same_file(stat))
}

/// What is at this path, as far as the kernel knows without asking anybody.
fn found_at(path: &Path) -> Option<Stat> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let resolve = ResolveFlag::from_bits_retain(RESOLVE_CACHED) | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let opened = |resolve| openat2(AT_FDCWD, path, OpenHow::new().flags(flags).resolve(resolve));
    let file = (0..TRIES).map(|_| opened(resolve)).find(|it| !matches!(it, Err(Errno::EAGAIN)))?;
    Stat::of(file.ok()?.as_fd()).ok()
}
