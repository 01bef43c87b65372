//! A process group that outlives nothing it should not, however this process ends: a process of ours
//! heads it, the minder, and ends all of it when we are gone, or when its time is up. Uses `child`.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::prctl::set_name;
use nix::sys::signal::{SigHandler, SigSet, Signal, killpg, signal};
use nix::unistd::{Pid, getpgrp, getpid};

use super::child;

/// How long a group may last that we do not end ourselves.
#[derive(Clone, Copy)]
pub enum Until {
    WeEnd,
    Passed(Duration),
}

/// Ends with all that is in it when it is dropped.
pub struct Group {
    /// The minder. Holds the pipe whose end tells it that we are gone.
    head: Child,
}

/// What tells a minder from every other process of ours.
const WORD: &str = "--mind";
const SAME: &str = "/proc/self/exe";
const NAME: &str = "secretfs";

impl Group {
    pub fn start(until: Until) -> io::Result<Self> {
        let mut command = Command::new(SAME);
        command.arg0(NAME).arg(WORD).env_clear().process_group(0);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        match until {
            Until::WeEnd => command.stdin(Stdio::piped()),
            Until::Passed(time) => command.arg(time.as_millis().to_string()).stdin(Stdio::null()),
        };
        Ok(Self { head: child::spawn(&mut command)? })
    }

    /// The program will be in this group, with nothing of ours but the three standard descriptors.
    /// It is not started if the group has ended.
    pub fn take_in(&self, command: &mut Command) {
        command.process_group(self.head.id().cast_signed());
        // SAFETY: between fork and exec: system calls that touch this process's own state only.
        unsafe { command.pre_exec(begin_anew) };
    }

    /// Ends all that is in it.
    pub fn end(&self) {
        child::end_group(&self.head);
    }

    /// From now on nobody ends what is in it.
    pub fn let_go(mut self) {
        let _ = self.head.kill();
        let _ = child::reap_one(&mut self.head);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
        // Unless it was let go. It waits for nothing that could keep it, so it is gone at once.
        let _ = child::reap_one(&mut self.head);
    }
}

/// What serves holds signals back, ignores some, and was perhaps given descriptors by who started
/// it: none of that is the program's.
fn begin_anew() -> io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    // SAFETY: the default action runs no code of this process.
    unsafe { signal(Signal::SIGIO, SigHandler::SigDfl) }?;
    close_from_third(libc::CLOSE_RANGE_CLOEXEC)
}

fn close_from_third(flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the call takes three integers; the caller uses no descriptor behind the standard ones.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, flags as libc::c_int) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns, unless this process was started as a minder. Before anything else opens descriptors.
pub fn mind_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == WORD) {
        mind(arguments.next());
        std::process::exit(libc::EXIT_FAILURE);
    }
}

/// Ends its own group, when it is time. It has no secret, and no descriptor but its stdin.
fn mind(time: Option<OsString>) {
    // By hand, or by mistake.
    if getpgrp() != getpid() || close_from_third(0).is_err() {
        return;
    }
    // Started by way of /proc/self/exe, it would be listed as `exe`.
    let _ = set_name(c"secretfs-minder");
    match time.map(|it| it.to_str().and_then(|it| it.parse().ok())) {
        None => drop(io::stdin().read_to_end(&mut Vec::new())),
        Some(Some(time)) => thread::sleep(Duration::from_millis(time)),
        Some(None) => return,
    }
    let _ = killpg(Pid::from_raw(0), Signal::SIGKILL);
}
