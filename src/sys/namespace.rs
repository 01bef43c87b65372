//! A mount without privileges: a child in a user and mount namespace of its own makes the mount,
//! hands its descriptor to the parent, and becomes the command. Must be called before the process
//! has a second thread. Uses nix.

use std::ffi::CString;
use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use nix::unistd::{ForkResult, Pid, fork, getegid, geteuid, read, write};

/// The child waits for [`Inside::begin`] before it runs the command.
pub struct Inside {
    pub child: Pid,
    /// `/dev/fuse`, once per mount that was made inside.
    pub devices: Vec<OwnedFd>,
    socket: OwnedFd,
}

/// Why the child could not make the mount: the step that failed, and the system's word.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {error}")]
pub struct NamespaceError {
    pub step: String,
    pub error: io::Error,
}

const STATUS_CANNOT_RUN: i32 = 126;
const STATUS_NOT_FOUND: i32 = 127;

impl Inside {
    /// Forks; in the child enters the namespaces and calls `mount_one` for each mount, which
    /// answers with the mounted `/dev/fuse`. `receive` takes a descriptor from a socket.
    pub fn start(
        command: &[CString],
        mounts: usize,
        mount_one: impl FnMut(usize) -> Result<OwnedFd, String>,
        receive: impl Fn(&OwnedFd) -> Option<OwnedFd>,
    ) -> Result<Self, NamespaceError> {
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let (ours, theirs) = pair.map_err(|errno| failed("socketpair", errno.into()))?;
        // SAFETY: the process has one thread (the caller's promise), so the child may allocate.
        match unsafe { fork() }.map_err(|errno| failed("fork", errno.into()))? {
            ForkResult::Child => {
                drop(ours);
                run_child(&theirs, command, mounts, mount_one)
            }
            ForkResult::Parent { child } => {
                drop(theirs);
                let devices: Vec<OwnedFd> = (0..mounts).map_while(|_| receive(&ours)).collect();
                if devices.len() < mounts {
                    return Err(Self::reason(&ours));
                }
                Ok(Self { child, devices, socket: ours })
            }
        }
    }

    /// Lets the child run its command.
    pub fn begin(&self) -> io::Result<()> {
        write(&self.socket, b"go")?;
        Ok(())
    }

    fn reason(socket: &OwnedFd) -> NamespaceError {
        let mut said = [0; 512];
        let length = read(socket, &mut said).unwrap_or(0);
        let said = String::from_utf8_lossy(&said[..length]).into_owned();
        failed("the mount inside its own namespaces failed", io::Error::other(said))
    }
}

fn run_child(
    socket: &OwnedFd,
    command: &[CString],
    mounts: usize,
    mut mount_one: impl FnMut(usize) -> Result<OwnedFd, String>,
) -> ! {
    let made = enter().and_then(|()| {
        (0..mounts).try_for_each(|index| {
            send(socket, &mount_one(index)?);
            Ok(())
        })
    });
    if let Err(why) = made {
        // A message without a descriptor, then the reason.
        let _ = write(socket, b"!");
        let _ = write(socket, why.as_bytes());
        std::process::exit(STATUS_CANNOT_RUN);
    }
    let mut go = [0; 2];
    if !matches!(read(socket, &mut go), Ok(2)) {
        std::process::exit(STATUS_CANNOT_RUN);
    }
    let errno = match nix::unistd::execvp(&command[0], command) {
        Err(errno) => errno,
        Ok(never) => match never {},
    };
    eprint_command(&command[0], errno);
    std::process::exit(if errno == nix::errno::Errno::ENOENT { STATUS_NOT_FOUND } else { STATUS_CANNOT_RUN })
}

fn eprint_command(command: &CString, errno: nix::errno::Errno) {
    use std::io::Write;
    let _ = writeln!(io::stderr(), "secretfs: cannot run {}: {}", command.to_string_lossy(), errno.desc());
}

/// Enters a mount namespace, and for a user without privileges a user namespace that maps only
/// this user (user_namespaces(7)).
fn enter() -> Result<(), String> {
    let (uid, gid) = (geteuid(), getegid());
    let say = |step: &str, error: io::Error| format!("{step}: {error}");
    if uid.is_root() {
        unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| say("unshare", errno.into()))?;
    } else {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
            .map_err(|errno| say("user namespaces are not to be had here", errno.into()))?;
        fs::write("/proc/self/setgroups", "deny").map_err(|error| say("setgroups", error))?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).map_err(|error| say("uid_map", error))?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).map_err(|error| say("gid_map", error))?;
    }
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|errno| say("private mounts", errno.into()))
}

fn send(socket: &OwnedFd, device: &OwnedFd) {
    let descriptors = [device.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let _ = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(b"f")], &rights, MsgFlags::empty(), None);
}

fn failed(step: &str, error: io::Error) -> NamespaceError {
    NamespaceError { step: step.to_owned(), error }
}
