//! The holder becomes the binary that is now on disk: the same process with the same descriptors
//! and the same worker, which notices nothing. Uses nix.

use std::env;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::{Pid, execve};

use super::super::message::Past;
use crate::store::EnvKey;
use crate::sys;

/// Where the successor finds what it is: `PID WORKER PAST NAME=NUMBER … /PROGRAM`.
pub(in crate::daemon) const VARIABLE: &str = "SECRETFS_HELD";
const LINK: &str = "link";

/// What a holder was before it became a new one.
pub(super) struct Before {
    pub(super) worker: Pid,
    pub(super) link: OwnedFd,
    pub(super) past: Past,
    /// Where the program on disk is, if it was told.
    pub(super) program: Option<PathBuf>,
    pub(super) kept: Vec<(String, OwnedFd)>,
}

/// What this process has left for itself, if it has become a new one. To be called once, before
/// anything else opens descriptors.
pub(super) fn before() -> io::Result<Option<Before>> {
    let Ok(text) = env::var(VARIABLE) else { return Ok(None) };
    let (text, program) = match text.find(" /") {
        Some(at) => (&text[..at], Some(PathBuf::from(&text[at + 1..]))),
        None => (text.as_str(), None),
    };
    let mut words = text.split(' ');
    let mut number = || words.next().and_then(|word| word.parse::<i32>().ok());
    let (Some(us), Some(worker)) = (number(), number()) else { return Ok(None) };
    if us != std::process::id().cast_signed() {
        return Ok(None);
    }
    let past = words.next().map(Past::parse).unwrap_or_default();
    let (mut link, mut kept) = (None, Vec::new());
    for (name, descriptor) in words.filter_map(|word| word.split_once('=')) {
        let Ok(descriptor) = descriptor.parse::<RawFd>() else { continue };
        let descriptor = sys::own(descriptor);
        set_cloexec(descriptor.as_fd(), true)?;
        match name {
            LINK => link = Some(descriptor),
            _ => kept.push((name.to_owned(), descriptor)),
        }
    }
    Ok(link.map(|link| Before { worker: Pid::from_raw(worker), link, past, program, kept }))
}

/// Returns only if it did not work; then nothing has changed.
pub(super) fn become_new<'a>(
    program: &Path,
    key: &EnvKey,
    past: Past,
    worker: (Pid, BorrowedFd<'a>),
    kept: impl Iterator<Item = (&'a str, BorrowedFd<'a>)>,
) -> io::Error {
    let all: Vec<_> = kept.chain([(LINK, worker.1)]).collect();
    let error = attempt(program, key, &format!("{} {past}", worker.0), &all)
        .err()
        .unwrap_or_else(io::Error::last_os_error);
    all.iter().for_each(|(_, descriptor)| drop(set_cloexec(*descriptor, true)));
    error
}

fn attempt(program: &Path, key: &EnvKey, who: &str, all: &[(&str, BorrowedFd<'_>)]) -> io::Result<()> {
    let mut held = format!("{VARIABLE}={} {who}", std::process::id());
    for (name, descriptor) in all {
        set_cloexec(*descriptor, false)?;
        held += &format!(" {name}={}", descriptor.as_raw_fd());
    }
    held += &format!(" {}", program.display());
    let variables = env::vars_os().filter(|(name, _)| name != VARIABLE);
    let variables = variables.map(|(name, value)| [name, value].join(&OsString::from("=")));
    let mut environment = variables.map(|it| c_string(it.into_vec())).collect::<io::Result<Vec<_>>>()?;
    environment.push(c_string(held.into_bytes())?);
    // Wiped with everything else that is freed, should the call return.
    environment.extend(key.as_variable().map(|it| c_string(it.expose().to_vec())).transpose()?);
    let arguments = env::args_os().map(|it| c_string(it.into_vec())).collect::<io::Result<Vec<_>>>()?;
    // Unlike `Command::exec` this keeps signals blocked: one that comes now must wait for us.
    execve(&c_string(program.as_os_str().as_bytes().to_vec())?, &arguments, &environment)?;
    Ok(())
}

fn c_string(bytes: Vec<u8>) -> io::Result<CString> {
    Ok(CString::new(bytes)?)
}

fn set_cloexec(descriptor: BorrowedFd<'_>, is_set: bool) -> io::Result<()> {
    let flags = if is_set { FdFlag::FD_CLOEXEC } else { FdFlag::empty() };
    fcntl(descriptor, FcntlArg::F_SETFD(flags))?;
    Ok(())
}
