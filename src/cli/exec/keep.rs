//! A process beside the command that keeps its files covered. Whoever renames a file over a covered
//! one, as editors and git do, takes the cover away in every view of files: the kernel does that
//! without a word. Uses sys and the mount table.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};

use crate::fs::mountpoint;
use crate::sys::process::Process;
use crate::sys::spare::Spare;
use crate::sys::{child, hardening};

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

/// In the command's view of files, by the process that becomes the command and whose parent
/// serves the files. Ends after that parent, and sees to it that the command does.
pub(super) fn stay_beside(mut kept: Vec<Kept>) -> io::Result<()> {
    let (command, server) = (Process::of(getpid())?, Process::of(getppid())?);
    let spares = kept.iter().flat_map(|it| &it.spares).map(Spare::as_fd);
    let needed = [command.as_fd(), server.as_fd()].into_iter().chain(spares);
    let needed: Vec<_> = needed.map(|it| it.as_raw_fd()).collect();
    child::leave_beside(&needed, move || {
        keep(&mut kept, &server);
        // A command that has changed its user has not been ended with its parent.
        let _ = command.kill(Signal::SIGKILL);
    })
}

/// Returns when the server has ended.
fn keep(kept: &mut [Kept], server: &Process) {
    let Ok(mounts) = File::open("/proc/self/mountinfo") else { return };
    // Its memory is a copy of that of a process that has read secrets.
    if hardening::forbid_dumps().is_err() {
        return;
    }
    hardening::lock_memory();
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
