//! A value typed at a terminal that shows nothing of it. Uses nix and rpassword.

use std::fs::File;
use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Asks, and reads a line.
pub(super) fn ask(prompt: &str) -> io::Result<String> {
    let _quiet = Quiet::start()?;
    rpassword::prompt_password(prompt)
}

/// While it lives, the terminal does not echo, and Ctrl-C is read as a key. Without it the prompt stands there
/// before the echo is off, so that a quick paste is shown, and Ctrl-C leaves a terminal that stays mute.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn start() -> io::Result<Self> {
        let terminal = File::open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        interrupt().thread_block()?;
        let quiet = Self { terminal, before };
        let mut settings = quiet.before.clone();
        settings.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(&quiet.terminal, SetArg::TCSANOW, &settings)?;
        Ok(quiet)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
        let _ = interrupt().thread_unblock();
    }
}

fn interrupt() -> SigSet {
    SigSet::from(Signal::SIGINT)
}
