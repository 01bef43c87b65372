//! Why there is no answer from a server, in words that somebody can act on. Nothing in them was sent or
//! received but what is public: names, dates and hashes of certificates. Uses hyper's and rustls' errors.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::json::JsonError;
use super::tls::TlsError;
use crate::config::Address;

/// A request that has no answer. Displays as `HOST:PORT: what`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{peer}: {kind}")]
pub struct NetError {
    /// Host and port of the server.
    pub peer: String,
    pub kind: NetErrorKind,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetErrorKind {
    #[error(
        "its name cannot be resolved ({0}): check the host in `address`, and the resolver of this machine"
    )]
    Dns(String),
    #[error(
        "the connection is refused: nothing listens there; check that it runs, and the port in `address`"
    )]
    Refused,
    #[error("it cannot be reached ({0})")]
    Unreachable(String),
    #[error(
        "this process may make no connections to a network: under systemd, add \
         systemd/secretfs.service.d/network.conf to its unit"
    )]
    ShutIn,
    #[error("{0}")]
    Tls(TlsError),
    #[error("{phase} has taken longer than {limit:?}")]
    Timeout { phase: Phase, limit: Duration },
    #[error("it has closed the connection before all of its answer was there")]
    Reset,
    #[error("{0} of its answer is too large")]
    TooLarge(Part),
    /// It says what no server of HTTP, or of this kind, says.
    #[error("{0}")]
    Protocol(String),
    #[error("the proxy {0}")]
    Proxy(String),
    /// Nothing was sent: a name cannot be a part of a path.
    #[error("{0}")]
    Name(&'static str),
}

/// What was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Files,
    Resolve,
    Connect,
    Tunnel,
    Handshake,
    Head,
    Body,
}

/// What is bounded in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Head,
    Body,
}

/// Of an answer that is not what it should be.
impl From<JsonError> for NetErrorKind {
    fn from(error: JsonError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// The same before it is known whom it is about.
pub(super) type Fault = NetErrorKind;

impl NetErrorKind {
    pub(super) fn of(self, address: &Address) -> NetError {
        let host =
            if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
        NetError { peer: format!("{host}:{}", address.port), kind: self }
    }

    /// What a socket says, or TLS by way of one.
    pub(super) fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::Tls(TlsError::of(error));
        }
        match error.kind() {
            _ if error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) && is_shut_in() => Self::ShutIn,
            Kind::ConnectionRefused => Self::Refused,
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::UnexpectedEof => Self::Reset,
            kind => Self::Unreachable(kind.to_string()),
        }
    }

    pub(super) fn of_http(error: &hyper::Error) -> Self {
        if let Some(io) = io_error(error) {
            return Self::of_io(io);
        }
        match () {
            () if error.is_parse_too_large() => Self::TooLarge(Part::Head),
            () if error.is_parse() => Self::strange("it does not speak HTTP: is this the right port?"),
            () if error.is_user() => Self::strange("the request cannot be put into HTTP"),
            () => Self::Reset,
        }
    }

    /// What the resolver of the system says, without the words that everybody puts before it. It says
    /// nothing of what this process may do.
    pub(super) fn of_lookup(error: &io::Error) -> Self {
        if is_shut_in() {
            return Self::ShutIn;
        }
        let text = error.to_string();
        Self::Dns(text.rsplit_once(": ").map_or(&*text, |(_, end)| end).to_owned())
    }

    pub(super) fn strange(what: &str) -> Self {
        Self::Protocol(what.to_owned())
    }
}

/// Whether this process is refused every socket of a network (`RestrictAddressFamilies=`).
pub fn is_shut_in() -> bool {
    let is_refused = |family| {
        let made = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
        matches!(made, Err(Errno::EAFNOSUPPORT))
    };
    [AddressFamily::Inet, AddressFamily::Inet6].into_iter().all(is_refused)
}

fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        source = error.source();
    }
    None
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => "reading the files of `tls`",
            Self::Resolve => "resolving its name",
            Self::Connect => "the TCP connection",
            Self::Tunnel => "the connection through the proxy",
            Self::Handshake => "the TLS handshake",
            Self::Head => "the beginning of its answer",
            Self::Body => "the body of its answer",
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "the head",
            Self::Body => "the body",
        })
    }
}
