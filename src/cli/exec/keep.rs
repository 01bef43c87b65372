//! A process beside the command that keeps its files covered. Whoever renames a file over a covered
//! one, as editors and git do, takes the cover away in every view of files: the kernel does that
//! without a word. It is a program of its own, so that no value is in it. Uses sys and the mount table.

use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_name;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};

use crate::fs::mountpoint;
use crate::sys::child;
use crate::sys::link::Link;
use crate::sys::process::Process;
use crate::sys::spare::Spare;

/// A path, and what covers it when it is bare.
pub(super) struct Kept {
    target: PathBuf,
    spares: Vec<Spare>,
}

/// A second one, as the first may be taken away while the next is made of it.
const SPARES: usize = 2;

/// Between two tries to cover what is not there at the moment.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Kept {
    pub(super) fn new(target: PathBuf, rendering: &Path) -> io::Result<Self> {
        let spares = (0..SPARES).map(|_| Spare::of(rendering)).collect::<io::Result<_>>()?;
        Ok(Self { target, spares })
    }

    /// Answers no if it has to be tried again: there is no file now that could be covered.
    fn cover_again(&mut self) -> bool {
        if !mountpoint::device_at(&self.target).is_empty() {
            return true;
        }
        let Some(spare) = self.spares.pop() else { return true };
        let is_put = spare.put(&self.target).is_ok();
        while is_put && self.spares.len() < SPARES {
            let Ok(next) = spare.another() else { break };
            self.spares.push(next);
        }
        if !is_put {
            self.spares.push(spare);
        }
        is_put
    }
}

/// What tells the keeper from every other process of ours.
const WORD: &str = "--keep";
const NAME: &CStr = c"secretfs-keeper";
/// What it says once it needs nothing more.
const READY: &[u8] = b"ready";

/// In the command's view of files, by the process that becomes the command and whose parent
/// serves the files. The keeper ends after that parent, and sees to it that the command does.
pub(super) fn stay_beside(kept: Vec<Kept>) -> io::Result<()> {
    let link = child::leave_program_beside(WORD)?;
    link.send_with(b"command", Process::of(getpid())?.as_fd())?;
    link.send_with(b"server", Process::of(getppid())?.as_fd())?;
    for Kept { target, spares } in &kept {
        for spare in spares {
            link.send_with(target.as_os_str().as_bytes(), spare.as_fd())?;
        }
    }
    link.send(b"go")?;
    match link.receive()? {
        Some((word, _)) if word == READY => Ok(()),
        _ => Err(io::Error::other("the process that is to keep it has not begun")),
    }
}

/// Returns, unless this process was started as a keeper.
pub fn keep_if_asked() {
    if std::env::args_os().nth(1).is_some_and(|word| word == WORD) {
        std::process::exit(i32::from(begin_to_keep().is_err()));
    }
}

fn begin_to_keep() -> io::Result<()> {
    let link = Link::from(io::stdin().as_fd().try_clone_to_owned()?);
    // By hand, or by mistake.
    if !link.is_socket() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let next = || link.receive()?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
    let process = || next()?.1.map(Process::kept).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData));
    let (command, server) = (process()?, process()?);
    let mut kept: Vec<Kept> = Vec::new();
    while let (target, Some(spare)) = next()? {
        let target = PathBuf::from(OsString::from_vec(target));
        match kept.last_mut().filter(|last| last.target == target) {
            Some(last) => last.spares.push(Spare::kept(spare)),
            None => kept.push(Kept { target, spares: vec![Spare::kept(spare)] }),
        }
    }
    set_name(NAME)?;
    link.send(READY)?;
    drop(link);
    keep(&mut kept, &server);
    // A command that has changed its user has not been ended with its parent.
    let _ = command.kill(Signal::SIGKILL);
    Ok(())
}

/// Returns when the server has ended.
fn keep(kept: &mut [Kept], server: &Process) {
    let Ok(mounts) = File::open("/proc/self/mountinfo") else { return };
    let mut pause = FIRST_PAUSE;
    loop {
        let bare = kept.iter_mut().filter_map(|it| (!it.cover_again()).then_some(())).count();
        let timeout =
            if bare == 0 { PollTimeout::NONE } else { pause.try_into().unwrap_or(PollTimeout::MAX) };
        let mut news =
            [PollFd::new(server.as_fd(), PollFlags::POLLIN), PollFd::new(mounts.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut news, timeout) {
            Err(Errno::EINTR) => continue,
            Err(_) => return,
            Ok(_) if news[0].any() != Some(false) => return,
            Ok(0) => pause = (pause * 2).min(LONGEST_PAUSE),
            Ok(_) => pause = FIRST_PAUSE,
        }
    }
}
