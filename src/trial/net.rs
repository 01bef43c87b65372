//! A connection to a server: TCP, a Unix socket, or TLS over TCP. Its failures are told without the
//! address, which is a part of the secret. Uses tokio and `net`.

use std::io;
use std::path::Path;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use super::Stop;
use crate::net::{TlsError, Wire, encrypt};

pub(super) type Stream = Box<dyn Wire>;

/// Whose certificates are believed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Those that an authority of this machine vouches for.
    Authorities,
    /// Anybody's, as drivers do that only encrypt. No password may be sent in the clear then.
    Anybody,
}

pub(super) async fn tcp(host: &str, port: u16) -> Result<TcpStream, Stop> {
    TcpStream::connect((host, port)).await.map_err(unreached)
}

pub(super) async fn unix(path: &Path) -> Result<Stream, Stop> {
    Ok(Box::new(UnixStream::connect(path).await.map_err(unreached)?))
}

fn unreached(error: io::Error) -> Stop {
    Stop::Fails(format!("no connection to its server: {error}"))
}

/// Of a server that anybody may be, nothing is believed.
pub(super) async fn tls(stream: TcpStream, host: &str, trust: Trust) -> Result<Stream, Stop> {
    match trust {
        Trust::Authorities => encrypt(stream, host).await.map_err(unbelieved),
        Trust::Anybody => {
            Err(Stop::Unknown("nothing says that it is the right server: that is not tried".into()))
        }
    }
}

fn unbelieved(error: TlsError) -> Stop {
    match error {
        TlsError::Expired { on } => Stop::Fails(format!("the certificate of its server has expired on {on}")),
        TlsError::NotYet { from } => {
            Stop::Fails(format!("the certificate of its server is not valid before {from}"))
        }
        TlsError::OtherName { .. } => Stop::Fails("the certificate of its server is for another name".into()),
        // Whoever uses it may know that one.
        TlsError::UnknownCa { issuer } => Stop::Unknown(format!(
            "the certificate of its server is from an authority that this machine does not know ({issuer})"
        )),
        TlsError::AsksForOurs => Stop::Unknown("its server asks for a certificate, too".into()),
        TlsError::NotTls => Stop::strange("TLS"),
        other => Stop::Fails(format!("no TLS with its server: {other}")),
    }
}

/// So many bytes; no server has to say more than 64 KiB in one piece here.
pub(super) async fn take(stream: &mut Stream, length: usize, who: &str) -> Result<Vec<u8>, Stop> {
    if length > 1 << 16 {
        return Err(Stop::strange(who));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(|_| Stop::strange(who))?;
    Ok(bytes)
}
