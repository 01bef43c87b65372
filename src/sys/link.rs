//! A socket between a process and its child: messages, and descriptors with them (unix(7),
//! SCM_RIGHTS). Closed by exec, so its end tells that a forked child has become its command; a
//! program that shall have one gets it as its stdin.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    setsockopt, socketpair,
};
use nix::sys::stat::fstat;
use nix::sys::time::TimeVal;

/// One end.
pub struct Link(OwnedFd);

/// The longest message; what is longer is cut.
const MOST_BYTES: usize = 16 * 1024;

impl Link {
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(one), Self(other)))
    }

    /// The link that this process was given as its stdin, which is /dev/null from now on.
    pub fn of_stdin() -> io::Result<Self> {
        let link = io::stdin().as_fd().try_clone_to_owned()?;
        nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Self(link))
    }

    /// Whether there is somebody at the other end at all.
    pub fn is_socket(&self) -> bool {
        let kind = fstat(&self.0).map(|meta| meta.st_mode & libc::S_IFMT);
        kind == Ok(libc::S_IFSOCK)
    }

    /// From now on nothing is waited for at this end, but an error tells of it (`WouldBlock`).
    pub fn wait_never(&self) -> io::Result<()> {
        fcntl(&self.0, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(())
    }

    /// From now on the other end is waited for until it takes a message, but no longer.
    pub fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        let time = TimeVal::new(time.as_secs().cast_signed(), 0);
        Ok(setsockopt(&self.0, SendTimeout, &time)?)
    }

    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        self.send_all(message, &[])
    }

    /// Gives a descriptor away.
    pub fn hand_over(&self, descriptor: OwnedFd) -> io::Result<()> {
        self.send_with(b"d", descriptor.as_fd())
    }

    /// A message with a copy of a descriptor.
    pub fn send_with(&self, message: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.send_all(message, &[ControlMessage::ScmRights(&[descriptor.as_raw_fd()])])
    }

    /// The next message, with its descriptor; `None` if the other end is gone.
    pub fn receive(&self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let (message, descriptor) = receive(&self.0, MOST_BYTES)?;
        Ok((!message.is_empty() || descriptor.is_some()).then_some((message, descriptor)))
    }

    fn send_all(&self, message: &[u8], control: &[ControlMessage<'_>]) -> io::Result<()> {
        let message = &message[..message.len().min(MOST_BYTES)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(message)], control, flags, None)?;
        Ok(())
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> Self {
        link.0
    }
}

impl From<OwnedFd> for Link {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

/// One message of a socket, and the descriptor that came with it.
pub fn receive(socket: &OwnedFd, most: usize) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![0; most];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let length = message.bytes;
    let descriptor = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        _ => None,
    });
    let descriptor = descriptor.map(super::own);
    bytes.truncate(length);
    Ok((bytes, descriptor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_descriptors_and_the_end_arrive_in_order() {
        let (one, other) = Link::pair().unwrap();
        one.send(b"hello").unwrap();
        one.hand_over(File::open("/dev/null").unwrap().into()).unwrap();
        drop(one);
        let (message, descriptor) = other.receive().unwrap().unwrap();
        assert_eq!((&message[..], descriptor.is_none()), (&b"hello"[..], true));
        assert!(other.receive().unwrap().unwrap().1.is_some());
        assert!(other.receive().unwrap().is_none());
    }
}
