//! A server as a child of the test: ended with the thread that has started it, stopped and run again on the data that
//! it has. What it said last is shown where the test fails.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::tool;

pub struct Served {
    program: PathBuf,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

const PATIENCE: Duration = Duration::from_secs(90);

impl Served {
    /// It does not run yet. What it says goes into `log`.
    pub fn of(program: &Path, log: PathBuf) -> Self {
        Self { program: program.to_owned(), log, child: Mutex::default() }
    }

    /// Runs it, and waits until it is ready.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, is_ready: impl Fn() -> bool) {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(tool("setpriv"));
        command.args(["--pdeathsig", "KILL"]).arg(&self.program).args(args);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        *self.child.lock().unwrap() = Some(command.spawn().expect("setpriv can be started"));
        let limit = Instant::now() + PATIENCE;
        while !is_ready() {
            assert!(Instant::now() < limit, "{} is not ready", self.program.display());
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn stop(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.lock().unwrap().as_ref().expect("it runs").id();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(20)..].join("\n");
            println!("{} said last:\n{last}", self.program.display());
        }
    }
}

/// Nobody listens there.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
