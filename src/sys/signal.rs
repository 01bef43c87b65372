//! Signals as a command of a pipeline has them, and as one has them that runs another. Uses nix.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, raise, signal};
use nix::unistd::Pid;

/// Whether this process was started with SIGPIPE ignored, as systemd does it for services.
static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Rust's runtime ignores SIGPIPE before `main` and forgets what was; this runs before it.
#[used]
// SAFETY: the section holds functions of this type, which the loader calls once, before any other
// thread; the function touches an atomic and makes one system call.
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = remember_pipe;

extern "C" fn remember_pipe() {
    PIPE_WAS_IGNORED.store(action(Signal::SIGPIPE) == libc::SIG_IGN, Ordering::Relaxed);
}

/// What is done when it comes.
fn action(which: Signal) -> libc::sighandler_t {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action is given; the kernel fills the old one, for which zeroes are fine too.
    unsafe {
        libc::sigaction(which as i32, std::ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction
    }
}

pub fn is_ignored(which: Signal) -> bool {
    action(which) == libc::SIG_IGN
}

/// Undoes what Rust's runtime does at start: a write to a closed pipe ends the process as it ends
/// any other filter.
pub fn end_on_broken_pipe() {
    set(Signal::SIGPIPE, SigHandler::SigDfl);
}

/// For who serves others: a closed pipe is an error of that one write.
pub fn survive_broken_pipe() {
    set(Signal::SIGPIPE, SigHandler::SigIgn);
}

/// For a program that we become: as this process found it.
pub fn restore_pipe() {
    let was_ignored = PIPE_WAS_IGNORED.load(Ordering::Relaxed);
    set(Signal::SIGPIPE, if was_ignored { SigHandler::SigIgn } else { SigHandler::SigDfl });
}

/// Answers what was set before. Default and ignored only: no code of ours runs at a bad moment.
fn set(which: Signal, handler: SigHandler) -> SigHandler {
    debug_assert!(!matches!(handler, SigHandler::Handler(_) | SigHandler::SigAction(_)));
    // SAFETY: no handler is installed, so nothing of ours can run at a bad moment. It cannot fail:
    // only signals are named whose action may be changed.
    unsafe { signal(which, handler) }.unwrap_or(SigHandler::SigDfl)
}

/// How this process found its signals: a program that it starts finds them the same.
pub struct Inherited {
    mask: SigSet,
    child: SigHandler,
    io: SigHandler,
}

impl Inherited {
    /// Takes note, and sets what a parent needs: statuses of children are kept, broken leases
    /// (see `lease`) and pipes do no harm.
    pub fn take() -> io::Result<Self> {
        survive_broken_pipe();
        Ok(Self {
            mask: SigSet::thread_get_mask()?,
            child: set(Signal::SIGCHLD, SigHandler::SigDfl),
            io: set(Signal::SIGIO, SigHandler::SigIgn),
        })
    }

    /// For the child, just before it becomes the program.
    pub fn restore(&self) {
        restore_pipe();
        set(Signal::SIGCHLD, self.child);
        set(Signal::SIGIO, self.io);
        // Last: a signal that was held until now finds everything as it should be.
        let _ = self.mask.thread_set_mask();
    }
}

/// Signals that would end this process wait as long as this is held. Then whatever came ends it.
pub struct HeldBack {
    which: SigSet,
    mask: SigSet,
}

impl HeldBack {
    /// Those of a terminal and of whoever manages us. What is ignored stays ignored.
    pub fn now() -> io::Result<Self> {
        let ending = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];
        let which = SigSet::from_iter(ending.into_iter().filter(|&it| !is_ignored(it)));
        let mask = which.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Self { which, mask })
    }

    pub fn has_come(&self) -> bool {
        let mut pending = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the kernel fills the set, and zeroes are one, too.
        let pending = unsafe {
            libc::sigpending(pending.as_mut_ptr());
            pending.assume_init()
        };
        // SAFETY: the set is valid.
        self.which.iter().any(|it| unsafe { libc::sigismember(&raw const pending, it as i32) } == 1)
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        let _ = self.mask.thread_set_mask();
    }
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

/// Stops this process, as Ctrl-Z does, until it is continued. SIGTSTP and SIGCONT must be blocked.
/// Answers no if it was not stopped: the kernel stops nobody whom no shell would continue.
pub fn stop() -> bool {
    stop_after(|| raise(Signal::SIGTSTP))
}

/// The same with its whole group: all that a shell has started together.
pub fn stop_group() -> bool {
    stop_after(|| kill(Pid::from_raw(0), Signal::SIGTSTP))
}

fn stop_after(send: impl FnOnce() -> nix::Result<()>) -> bool {
    let held = SigSet::from_iter([Signal::SIGTSTP]);
    if send().and_then(|()| held.thread_unblock()).is_err() {
        return false;
    }
    let _ = held.thread_block();
    take_pending(Signal::SIGCONT)
}

/// Takes a blocked signal off, if it is there.
pub(super) fn take_pending(which: Signal) -> bool {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let which = SigSet::from_iter([which]);
    // SAFETY: set and time are valid; nobody asks for the siginfo_t.
    unsafe { libc::sigtimedwait(which.as_ref(), std::ptr::null_mut(), &raw const now) > 0 }
}
