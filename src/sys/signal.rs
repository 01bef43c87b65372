//! Signals as a command of a pipeline has them. Uses nix.

use std::io;
use std::mem::MaybeUninit;

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

/// Undoes what Rust's runtime does at start: a write to a closed pipe ends the process as it ends
/// any other filter, and a program that we become inherits no ignored signal.
pub fn end_on_broken_pipe() {
    // SAFETY: the default action is no handler of ours, so nothing of ours can run at a bad moment.
    // It cannot fail: SIGPIPE is a signal whose action may be changed.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

/// For who serves others: a closed pipe is an error of that one write.
pub fn survive_broken_pipe() {
    // SAFETY: as above; an ignored signal runs nothing.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}

/// A signal, and whether a key at the terminal made it: then the whole foreground group has it.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    pub signal: Signal,
    pub by_terminal: bool,
}

/// Waits for one of these signals, which must be blocked.
pub fn wait(signals: &SigSet) -> io::Result<Came> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: the set is valid, and the kernel writes at most one siginfo_t.
        let number = unsafe { libc::sigwaitinfo(signals.as_ref(), info.as_mut_ptr()) };
        match Signal::try_from(number) {
            Ok(signal) => {
                // SAFETY: zeroed above and filled by the kernel: any bit pattern is an integer.
                let by_terminal = unsafe { info.assume_init_ref() }.si_code == libc::SI_KERNEL;
                return Ok(Came { signal, by_terminal });
            }
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
}
