//! A port that can be opened, shut and clogged while its number stays ours.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, connect, getsockname, listen, setsockopt,
    socket, sockopt,
};

pub(super) struct Door {
    pub(super) address: SocketAddr,
    /// Bound, and listens never: nobody else gets the port.
    _ours: OwnedFd,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Open,
    /// Refuses.
    Shut,
    /// Does not even do that.
    Clogged,
}

enum State {
    Open(TcpListener),
    Shut,
    /// With those that fill its queue.
    Clogged(#[expect(dead_code)] TcpListener, #[expect(dead_code)] Vec<OwnedFd>),
}

fn bound(address: SockaddrIn, flags: SockFlag) -> OwnedFd {
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags | SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
    setsockopt(&socket, sockopt::ReusePort, &true).unwrap();
    bind(socket.as_raw_fd(), &address).unwrap();
    socket
}

fn listening(address: SocketAddr, backlog: i32) -> TcpListener {
    let SocketAddr::V4(address) = address else { unreachable!("it is ours") };
    let socket = bound(address.into(), SockFlag::empty());
    listen(&socket, Backlog::new(backlog).unwrap()).unwrap();
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).unwrap();
    listener
}

impl Door {
    pub(super) fn new() -> Self {
        let ours = bound(SockaddrIn::new(127, 0, 0, 1, 0), SockFlag::empty());
        let address: SockaddrIn = getsockname(ours.as_raw_fd()).unwrap();
        let address = SocketAddr::V4(address.into());
        Self { address, _ours: ours, state: State::Open(listening(address, 128)) }
    }

    pub(super) fn is(&self) -> Way {
        match self.state {
            State::Open(_) => Way::Open,
            State::Shut => Way::Shut,
            State::Clogged(..) => Way::Clogged,
        }
    }

    pub(super) fn make(&mut self, way: Way) {
        if self.is() == way {
            return;
        }
        self.state = State::Shut;
        self.state = match way {
            Way::Open => State::Open(listening(self.address, 128)),
            Way::Shut => State::Shut,
            Way::Clogged => {
                let listener = listening(self.address, 0);
                State::Clogged(listener, (0..3).map(|_| knocking(self.address)).collect())
            }
        };
    }

    /// Whoever has come.
    pub(super) fn accept(&self) -> Option<TcpStream> {
        let State::Open(listener) = &self.state else { return None };
        let (stream, _) = listener.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        Some(stream)
    }
}

/// Takes a place in the queue, or waits for one.
fn knocking(address: SocketAddr) -> OwnedFd {
    let SocketAddr::V4(address) = address else { unreachable!("it is ours") };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    match connect(socket.as_raw_fd(), &SockaddrIn::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => socket,
        Err(error) => panic!("{error}"),
    }
}
