//! What this process tells its service manager (sd_notify(3)), and the descriptors that the manager
//! keeps for it (sd_listen_fds(3), `FileDescriptorStoreMax=`). Nothing happens if nobody asked.

use std::env;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socket,
};

const SOCKET: &str = "NOTIFY_SOCKET";
/// The variables that are for this process and for none of its children.
pub const OWN_VARIABLES: [&str; 6] =
    [SOCKET, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"];
/// sd_listen_fds(3)
const FIRST: RawFd = 3;
/// How often a queue that is full is tried, and how long it is given each time.
const RETRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// Whether there is somebody to tell.
pub fn is_asked() -> bool {
    env::var_os(SOCKET).is_some()
}

/// Tells the service manager named by `NOTIFY_SOCKET`, if there is one.
pub fn notify(state: &str) -> io::Result<()> {
    send(state, &[])
}

/// What tells that a reload begins; it ends with the next `READY=1` (`Type=notify-reload`).
pub fn reloading() -> String {
    let now = sd_notify::NotifyState::monotonic_usec_now();
    now.map_or_else(|_| "RELOADING=1".to_owned(), |now| format!("RELOADING=1\n{now}"))
}

/// Has the manager keep a copy, which comes back under this name when the service starts again.
/// `FDPOLL=0`: a connection that was aborted is for us to judge.
pub fn keep(name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let descriptors = [descriptor.as_raw_fd()];
    send(&format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), &[ControlMessage::ScmRights(&descriptors)])
}

pub fn forget(name: &str) -> io::Result<()> {
    send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[])
}

/// What the manager has kept, by name. To be called once, before anything else opens descriptors.
pub fn kept() -> io::Result<Vec<(String, OwnedFd)>> {
    if number("LISTEN_PID") != Some(std::process::id() as RawFd) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").unwrap_or(0).max(0);
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let descriptors = (FIRST..).take(count as usize).map(super::own);
    let named: Vec<_> = names.split(':').map(str::to_owned).zip(descriptors).collect();
    for (_, descriptor) in &named {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    Ok(named)
}

/// How often the manager wants a sign of life (sd_watchdog_enabled(3)).
pub fn watchdog() -> Option<Duration> {
    let is_ours =
        env::var_os("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(std::process::id() as RawFd);
    let micros = env::var("WATCHDOG_USEC").ok()?.parse().ok().filter(|_| is_ours)?;
    Some(Duration::from_micros(micros))
}

fn number(variable: &str) -> Option<RawFd> {
    env::var(variable).ok()?.parse().ok()
}

fn send(state: &str, control: &[ControlMessage<'_>]) -> io::Result<()> {
    let Some(path) = env::var_os(SOCKET) else { return Ok(()) };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => UnixAddr::new_abstract(name)?,
        None => UnixAddr::new(path.as_os_str())?,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    let text = [IoSlice::new(state.as_bytes())];
    // Never waits for long: a manager that reads a file of ours reads no messages meanwhile.
    for _ in 0..RETRIES {
        match sendmsg(socket.as_raw_fd(), &text, control, MsgFlags::MSG_NOSIGNAL, Some(&address)) {
            Err(Errno::EAGAIN) => std::thread::sleep(PAUSE),
            sent => return Ok(sent.map(drop)?),
        }
    }
    Err(Errno::EAGAIN.into())
}
