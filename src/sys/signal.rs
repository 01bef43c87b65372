//! Signals as a command of a pipeline has them. Uses nix.

use nix::sys::signal::{SigHandler, Signal, signal};

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
