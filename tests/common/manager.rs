//! What a service manager does for a service: hears what it is told (sd_notify(3)), keeps copies of
//! the descriptors that it is given, and has the next start find them (sd_listen_fds(3)).

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use secretfs::sys::link;
use tempfile::TempDir;

pub struct Manager {
    folder: TempDir,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    said: Vec<String>,
    kept: Vec<(String, OwnedFd)>,
}

const FIRST: i32 = 3;
/// Above whatever a process of ours has before it is another program.
const ABOVE: i32 = 500;

impl Manager {
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("secretfs-manager-").expect("a temporary folder");
        let manager = Self { folder, heard: Arc::default() };
        let socket = UnixDatagram::bind(manager.socket()).expect("a socket");
        for path in [manager.folder.path().to_owned(), manager.socket()] {
            fs::set_permissions(path, Permissions::from_mode(0o777)).expect("chmod");
        }
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let heard = Arc::downgrade(&manager.heard);
        thread::spawn(move || listen(&socket.into(), &heard));
        manager
    }

    /// For `NOTIFY_SOCKET`.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// How often exactly this was said.
    pub fn count(&self, line: &str) -> usize {
        self.heard().said.iter().filter(|said| *said == line).count()
    }

    /// The names of what is kept.
    pub fn kept(&self) -> Vec<String> {
        self.heard().kept.iter().map(|(name, _)| name.clone()).collect()
    }

    /// As at a reboot of the manager.
    pub fn lose(&self) {
        self.heard().kept.clear();
    }

    /// The same program with what is kept: at 3 and above, as it is told by its environment.
    pub fn start(&self, command: &Command, user: Option<u32>) -> Command {
        let heard = self.heard();
        let copies = heard.kept.iter().map(|(_, descriptor)| descriptor.try_clone().expect("a copy"));
        let copies: Vec<OwnedFd> = copies.collect();
        let names: Vec<&str> = heard.kept.iter().map(|(name, _)| name.as_str()).collect();
        // Who it is it knows only by now.
        let mut sh = Command::new("sh");
        sh.args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            value.map(|value| sh.env(name, value));
        }
        sh.env("LISTEN_FDS", copies.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        sh.current_dir(command.get_current_dir().expect("it has one")).env_remove("CREDENTIALS_DIRECTORY");
        user.map(|uid| sh.uid(uid).gid(uid));
        // SAFETY: two calls that are safe after fork, with descriptors that are open until the exec.
        unsafe { sh.pre_exec(move || put(&copies)) };
        sh
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("nothing panics while it holds this")
    }
}

/// Puts them at their numbers, by way of numbers that are nobody's.
fn put(descriptors: &[OwnedFd]) -> io::Result<()> {
    let mut aside = [0; 64];
    for (at, descriptor) in descriptors.iter().enumerate() {
        aside[at] = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(ABOVE))?;
    }
    for (number, descriptor) in (FIRST..).zip(&aside[..descriptors.len()]) {
        // SAFETY: both are plain numbers; what is at the second one belongs to nobody after an exec.
        if unsafe { libc::dup2(*descriptor, number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn listen(socket: &OwnedFd, heard: &Weak<Mutex<Heard>>) {
    while let Some(heard) = heard.upgrade() {
        let Ok((text, descriptor)) = link::receive(socket, 4096) else { continue };
        let text = String::from_utf8_lossy(&text).into_owned();
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or_default().to_owned();
        let mut heard = heard.lock().expect("nothing panics while it holds this");
        match descriptor {
            Some(descriptor) => heard.kept.push((name, descriptor)),
            None if text.starts_with("FDSTOREREMOVE=1") => heard.kept.retain(|(kept, _)| *kept != name),
            None => heard.said.extend(text.lines().map(str::to_owned)),
        }
    }
}
