//! A connection to a server: TCP, a Unix socket, or TLS over TCP. Its failures are told without the
//! address, which is a part of the secret. Uses tokio and rustls.

use std::io;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Stop;

pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

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

/// Not here yet.
pub(super) async fn tls(_: TcpStream, _: &str, _: Trust) -> Result<Stream, Stop> {
    Err(Stop::Unknown("its server is spoken to over TLS, which is not tried".into()))
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
