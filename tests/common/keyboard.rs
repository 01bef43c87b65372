//! Somebody at a terminal: a program that has it as its controlling terminal, keys that
//! are pressed, and what appears on the screen.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{Winsize, openpty};

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Keyboard {
    /// Until the line is dropped.
    line: Option<Arc<File>>,
    /// All that has appeared so far.
    screen: Arc<Mutex<String>>,
    child: Child,
    /// How much of the screen was looked at by `expect`.
    seen: usize,
}

impl Keyboard {
    /// Starts the program as the leader of a session with a terminal of its own.
    pub fn start(command: Command) -> Self {
        Self::start_unseen(command, Duration::ZERO)
    }

    /// The same; so long nobody takes what is to appear.
    pub fn start_unseen(mut command: Command, delay: Duration) -> Self {
        let pair = openpty(None, None).expect("a terminal");
        // What another test starts meanwhile must not hold the line.
        for end in [&pair.master, &pair.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("a flag");
        }
        let program_end = |end: &OwnedFd| end.try_clone().expect("a descriptor");
        command.stdin(program_end(&pair.slave)).stdout(program_end(&pair.slave));
        command.stderr(program_end(&pair.slave));
        // SAFETY: between fork and exec: two system calls that touch no memory.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                nix::errno::Errno::result(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
                Ok(())
            });
        }
        let child = command.spawn().expect("the program can be started");
        // The command holds the program's end, too.
        drop((command, pair.slave));
        let line = Arc::new(File::from(pair.master));
        let screen = Arc::new(Mutex::new(String::new()));
        watch(Arc::downgrade(&line), screen.clone(), delay);
        Self { line: Some(line), screen, child, seen: 0 }
    }

    /// An interactive shell, in this folder.
    pub fn shell(folder: &std::path::Path) -> Self {
        let mut command = Command::new(super::tool("bash"));
        command.args(["--norc", "--noprofile", "-i"]).current_dir(folder);
        command.env("PS1", "$ ").env("HISTFILE", "").env("TERM", "dumb");
        let mut terminal = Self::start(command);
        terminal.expect("$ ");
        terminal
    }

    /// Types text; `\x03` is Ctrl-C, `\x1a` Ctrl-Z, `\x1c` Ctrl-\.
    pub fn press(&self, keys: &str) {
        self.line().write_all(keys.as_bytes()).expect("typed");
    }

    /// Waits until this appears after all that was expected before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let patience = Instant::now() + PATIENCE;
        while Instant::now() < patience {
            let screen = self.screen();
            if let Some(at) = screen[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("no `{text}` on the screen:\n{}", self.screen());
    }

    pub fn screen(&self) -> String {
        self.screen.lock().expect("nobody panics with it").clone()
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open, and the kernel reads one Winsize.
        assert_eq!(unsafe { libc::ioctl(self.line().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }, 0);
    }

    /// The line drops: the terminal is gone for those who have it.
    pub fn hang_up(&mut self) {
        self.line = None;
    }

    fn line(&self) -> &File {
        self.line.as_ref().expect("the line is up")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let patience = Instant::now() + PATIENCE;
        while Instant::now() < patience {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("it still runs; the screen:\n{}", self.screen());
    }
}

impl AsFd for Keyboard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line().as_fd()
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn watch(line: Weak<File>, screen: Arc<Mutex<String>>, delay: Duration) {
    thread::spawn(move || {
        thread::sleep(delay);
        let mut bytes = [0; 4096];
        while let Some(line) = line.upgrade() {
            let mut ready = [PollFd::new(line.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, 10u8) == Ok(0) {
                continue;
            }
            let Ok(length @ 1..) = (&*line).read(&mut bytes) else { return };
            screen
                .lock()
                .expect("nobody panics with it")
                .push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    });
}
