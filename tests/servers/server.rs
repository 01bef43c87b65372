//! A real server as a child of the test: started in the foreground, polled until it is ready, ended
//! when it is dropped. Uses the programs of `common::tool`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::tool;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

/// A server's command line. It ends with the test, however that ends: with the thread that started it.
pub(crate) fn server(program: &str) -> Command {
    let mut command = Command::new(tool("setpriv"));
    command.args(["--pdeathsig", "TERM"]).arg(tool(program));
    command
}

/// The same as a user of the system that the server's package has made.
pub(crate) fn server_as(user: &str, program: &str) -> Command {
    let mut command = as_user(user);
    command.args(["--pdeathsig", "TERM"]).arg(tool(program));
    command
}

/// Becomes a user of the system; a program is to follow.
pub(crate) fn as_user(user: &str) -> Command {
    let mut command = Command::new(tool("setpriv"));
    command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    command
}

impl Server {
    /// Starts it; what it says goes into `log`.
    #[track_caller]
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let out = File::create(log).expect("a file");
        let err = out.try_clone().expect("a descriptor");
        let child = command.stdout(out).stderr(err).spawn().expect("setpriv can be started");
        Self { child, log: log.to_owned() }
    }

    /// Waits until it answers.
    #[track_caller]
    pub(crate) fn when(mut self, ready: impl Fn() -> bool) -> Self {
        eventually("the server is ready", || {
            let ended = self.child.try_wait().expect("our child");
            assert!(ended.is_none(), "the server ended with {ended:?}:\n{}", self.said());
            ready()
        });
        self
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(self.pid(), Signal::SIGTERM);
        let limit = Instant::now() + PATIENCE;
        while Instant::now() < limit && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("the server said:\n{}", self.said());
        }
    }
}

/// Polls with a limit.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A port of 127.0.0.1 that nobody listens on, and that no other test was given.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        if GIVEN.lock().expect("nothing panics while it holds this").insert(port) {
            return port;
        }
    }
}
